package ceilometer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// Moments that fill a page or several, at its beginning, over its end, alone and one after the other.
func TestPagesFullOfOneMoment(t *testing.T) {
	for _, sizes := range [][]int{
		{9}, {10}, {11}, {100}, {3, 10, 4}, {3, 17, 4}, {10, 10, 10}, {1, 9, 1, 40, 1, 39, 2}, {25, 25}, {1, 160}, {160, 1}, {5, 12},
	} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := cloud()
				for i, n := range sizes {
					for j := range n {
						s.Put(telemetrytest.Made(t, fmt.Sprintf("%02d-%03d", i, j), time.Now().Add(time.Duration(i)*time.Microsecond)))
					}
				}
				time.Sleep(time.Minute)
				var n telemetrytest.Counter
				var out telemetrytest.Sink
				src := local(t, s, func(c *Config) { c.Limit, c.MaxLimit, c.Overlap = 10, 160, 0 }, n.Hooks())
				for range 3 {
					err := out.Once(t, src)
					if slices.Max(sizes) == 160 {
						// 160 are the most that may be asked for: nothing tells whether there are more.
						if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "a page of 160 records") ||
							!strings.Contains(err.Error(), "(see max_limit)") {
							t.Fatalf("the error is %v", err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				wantAll(t, s, &out)
				if largest := slices.Max(sizes); largest >= 10 && n.Get("size") == 0 || largest < 9 && n.Get("size") > 0 {
					t.Errorf("asked for more %d times", n.Get("size"))
				}
			})
		})
	}
}

// More events of one moment than may be asked for stop the source: what lies behind is not passed, however often it is tried.
func TestMoreOfOneMomentThanAllowed(t *testing.T) {
	for name, test := range map[string]struct {
		opts   standin.Options
		change func(*Config)
		body   int
		want   string
	}{
		"by max_limit": {change: func(c *Config) { c.Limit, c.MaxLimit = 10, 40 }, want: "(see max_limit)"},
		"by the service": {opts: standin.Options{MaxLimit: 20}, change: func(c *Config) { c.Limit = 10 },
			want: "it shows no more at once, and there is no way to ask for the rest"},
		"by the service, below limit": {opts: standin.Options{MaxLimit: 20}, change: func(c *Config) { c.Limit = 500 },
			want: "it shows no more at once, and there is no way to ask for the rest"},
		"by max_body": {change: func(c *Config) { c.Limit, c.MaxBody = 10, 64<<10 }, body: 2000, want: "larger than max_body"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.opts.Ceilometer = true
				s := standin.New(test.opts)
				first := time.Now()
				put := func(id string, at time.Time) {
					e := telemetrytest.Made(t, id, at)
					e.Body = []byte(strings.TrimSuffix(string(e.Body), "}") + `, "x": "` + strings.Repeat("x", test.body) + `"}`)
					s.Put(e)
				}
				for i := range 30 {
					put(fmt.Sprintf("before-%02d", i), first.Add(time.Duration(i)*time.Second))
				}
				moment := first.Add(time.Minute)
				for i := range 60 {
					put(fmt.Sprintf("same-%02d", i), moment)
				}
				put("behind", moment.Add(time.Second))
				time.Sleep(time.Hour)
				src := local(t, s, test.change)
				var out telemetrytest.Sink
				for range 3 {
					err := out.Once(t, src)
					if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), test.want) ||
						!strings.Contains(err.Error(), moment.UTC().Format(time.RFC3339)) {
						t.Fatalf("the error is %v, want %q", err, test.want)
					}
				}
				for _, b := range out.Batches {
					if !b.Watermark.IsZero() || b.Floor.After(moment) {
						t.Errorf("the watermark is %s and the floor %s, behind what could not be read", b.Watermark, b.Floor)
					}
				}
				if ids := out.IDs(); slices.Contains(ids, "behind") || !slices.Contains(ids, "before-29") {
					t.Errorf("handed over were %v", ids)
				}
				for i := range 60 {
					s.Remove(fmt.Sprintf("same-%02d", i))
				}
				put("same", moment)
				if err := out.Once(t, src); err != nil || !slices.Contains(out.IDs(), "behind") || !slices.Contains(out.IDs(), "same") {
					t.Errorf("when they are gone it is %v, with %v", err, out.IDs())
				}
			})
		})
	}
}

// What the service shows in no order, and of many events any, comes all the same, in order.
func TestNoOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cloud()
		s.SetFaults(standin.Faults{Unordered: true})
		var n telemetrytest.Counter
		src := local(t, s, func(c *Config) { c.Limit, c.MaxLimit = 20, 100 }, n.Hooks())
		var out telemetrytest.Sink
		made := 0
		for range 10 {
			for i := range 150 {
				made++
				s.Put(telemetrytest.Made(t, fmt.Sprintf("e%05d", made), time.Now()))
				if i%7 != 0 {
					time.Sleep(50 * time.Millisecond)
				}
			}
			if err := out.Once(t, src); err != nil {
				t.Fatal(err)
			}
		}
		var ids []string
		known := map[string]bool{}
		for _, id := range out.IDs() {
			if !known[id] {
				ids = append(ids, id)
			}
			known[id] = true
		}
		if len(ids) != made {
			t.Errorf("%d came of %d", len(ids), made)
		}
		var last time.Time
		for _, e := range out.Events()[:150] {
			if e.Time.Before(last) {
				t.Errorf("%s of %s came behind %s", e.ID, e.Time, last)
			}
			last = e.Time
		}
		if pages := n.Get("page"); pages > 1500 {
			t.Errorf("%d pages for %d events", pages, made)
		}
	})
}
