package panko

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// numbered puts n events a second apart that end a minute ago, and returns their ids.
func numbered(t *testing.T, s *standin.Service, n int) []string {
	t.Helper()
	var ids []string
	first := time.Now().Add(-time.Minute - time.Duration(n)*time.Second)
	for i := range n {
		id := fmt.Sprintf("e%04d", i)
		s.Put(made(t, id, first.Add(time.Duration(i)*time.Second)))
		ids = append(ids, id)
	}
	return ids
}

func wantIDs(t *testing.T, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// queries records what Panko is asked.
func queries(s *standin.Service) *[]string {
	var asked []string
	s.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/events" {
			asked = append(asked, r.URL.RawQuery)
		}
		return false
	})
	return &asked
}

func TestReadsPageByPage(t *testing.T) {
	s := standin.New(standin.Options{})
	want := numbered(t, s, 25)
	asked := queries(s)
	var out sink
	if err := out.once(t, local(t, s, func(c *Config) { c.Limit = 10 })); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, out.ids(), want)
	plain := "sort=generated:asc&limit=10&q.field=all_tenants&q.op=eq&q.value=True"
	wantIDs(t, *asked, []string{plain, plain + "&marker=e0009", plain + "&marker=e0019", plain + "&marker=e0024"})
}

func TestASecondRunReadsBackTheOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		numbered(t, s, 25)
		src := local(t, s, func(c *Config) { c.Overlap = 3 * time.Second; c.AllTenants = false })
		var out sink
		if err := out.once(t, src); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		time.Sleep(10 * time.Second)
		out.batches = nil
		asked := queries(s)
		if err := out.once(t, src); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, out.ids(), []string{"e0021", "e0022", "e0023", "e0024"})
		newest := begin.Add(-time.Minute - time.Second)
		from := newest.Add(-3 * time.Second).UTC().Format("2006-01-02T15:04:05.000000")
		if want := "&q.field=start_timestamp&q.op=ge&q.value=" + strings.ReplaceAll(from, ":", "%3A"); !strings.Contains((*asked)[0], want) {
			t.Errorf("asked %s, want %s in it", (*asked)[0], want)
		}
		last := out.batches[len(out.batches)-1]
		if want := time.Now().Add(-3 * time.Second); !last.Watermark.Equal(want) || len(last.Events) > 0 {
			t.Errorf("the last batch has the watermark %s, want the run's beginning less the overlap, %s", last.Watermark, want)
		}
		for i, b := range out.batches {
			if !b.Floor.Equal(newest.Add(-3 * time.Second)) {
				t.Errorf("batch %d has the floor %s", i, b.Floor)
			}
		}
	})
}

func TestNoWatermarkBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		numbered(t, s, 30)
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("marker") == "e0019" {
				http.Error(w, "gone for good", http.StatusBadRequest)
				return true
			}
			return false
		})
		var out sink
		err := out.once(t, local(t, s, func(c *Config) { c.Limit = 10 }))
		if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "answered 400: gone for good") {
			t.Errorf("error is %v", err)
		}
		for _, b := range out.batches {
			if !b.Watermark.IsZero() {
				t.Errorf("a run that failed has a watermark: %s", b.Watermark)
			}
		}
		if len(out.ids()) != 20 {
			t.Errorf("%d events were handed over before the error", len(out.ids()))
		}
		s.Intercept(nil)
		out.batches = nil
		if err := out.once(t, local(t, s, nil)); err != nil {
			t.Fatal(err)
		}
		if ids := out.ids(); !slices.Contains(ids, "e0020") || ids[len(ids)-1] != "e0029" {
			t.Errorf("after the error it went on with %v", ids)
		}
	})
}

func TestEqualTimesAcrossPages(t *testing.T) {
	s := standin.New(standin.Options{})
	at := time.Now().Add(-time.Hour)
	var want []string
	for i := range 23 {
		id := fmt.Sprintf("same-%02d", i)
		s.Put(made(t, id, at))
		want = append(want, id)
	}
	var out sink
	src := local(t, s, func(c *Config) { c.Limit = 5; c.Overlap = 0 })
	if err := out.once(t, src); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, out.ids(), want)
	// One more of the same microsecond must be seen even without any overlap.
	s.Put(made(t, "same-99", at))
	if err := out.once(t, src); err != nil {
		t.Fatal(err)
	}
	if ids := out.ids(); ids[len(ids)-1] != "same-99" {
		t.Errorf("last event is %s", ids[len(ids)-1])
	}
}

func TestShortPagesAreNotTheEnd(t *testing.T) {
	s := standin.New(standin.Options{Seed: 5})
	want := numbered(t, s, 200)
	s.SetFaults(standin.Faults{ShortPages: true})
	var out sink
	if err := out.once(t, local(t, s, func(c *Config) { c.Limit = 20 })); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, out.ids(), want)
}

func TestAnEventInTheFutureHidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		src := local(t, s, nil)
		s.Put(made(t, "future", time.Now().Add(24*time.Hour)))
		var out sink
		for i := range 5 {
			s.Put(made(t, "now"+strconv.Itoa(i), time.Now()))
			time.Sleep(20 * time.Second)
			if err := out.once(t, src); err != nil {
				t.Fatal(err)
			}
			if floor := out.from.Floor; time.Now().Add(-30 * time.Second).Before(floor) {
				t.Fatalf("floor %s", floor)
			}
		}
		seen := out.ids()
		for i := range 5 {
			if !slices.Contains(seen, "now"+strconv.Itoa(i)) {
				t.Errorf("event %d was hidden", i)
			}
		}
	})
}

func TestEventsWithoutTimeAreHandedOver(t *testing.T) {
	s := standin.New(standin.Options{})
	odd := `[{"message_id": "a", "generated": null}, {"generated": "2026-01-01T00:00:00"}, {"message_id": "b", "generated": "soon"}]`
	calls := 0
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v2/events" {
			return false
		}
		if calls++; calls > 1 {
			odd = "[]"
		}
		_, _ = w.Write([]byte(odd))
		return true
	})
	var n counter
	src := local(t, s, nil)
	src.opts.Hooks = n.hooks()
	var out sink
	if err := out.once(t, src); err != nil {
		t.Fatal(err)
	}
	if len(out.events()) != 3 || n.get("no-time") != 2 || n.get("no-id") != 1 {
		t.Errorf("handed over %v, counted %v", out.ids(), n.n)
	}
	var at cursor
	if err := json.Unmarshal(out.from.Cursor, &at); err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); !at.Generated.Equal(want) {
		t.Errorf("cursor is %s", out.from.Cursor)
	}
}

func TestPagingThatLeadsNowhereIsAnError(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pages []string
		want  string
	}{
		{"the marker is ignored", []string{`[{"message_id":"a"},{"message_id":"b"}]`, `[{"message_id":"a"},{"message_id":"b"}]`},
			"the page after marker b ends with the same event as one before it"},
		{"in a circle", []string{`[{"message_id":"a"}]`, `[{"message_id":"b"}]`, `[{"message_id":"a"}]`},
			"the page after marker a ends with the same event"},
		{"nothing new", []string{`[{"message_id":"a"},{"message_id":"b"}]`, `[{"message_id":"b"},{"message_id":"a"}]`},
			"the page after marker b has no event that was not on the one before it"},
		{"no ids on a full page", []string{`[{"x":1},{"x":2}]`}, "no message_id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := standin.New(standin.Options{})
			calls := 0
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v2/events" {
					return false
				}
				_, _ = w.Write([]byte(tc.pages[min(calls, len(tc.pages)-1)]))
				calls++
				return true
			})
			var out sink
			err := out.once(t, local(t, s, func(c *Config) { c.Limit = 2 }))
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
			if len(out.events()) == 0 {
				t.Error("what was on the pages is not handed over")
			}
		})
	}
}

func TestALostMarkerBeginsAgainAtTheCursor(t *testing.T) {
	s := standin.New(standin.Options{})
	want := numbered(t, s, 30)
	removed := false
	s.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("marker") == "e0019" && !removed {
			removed = true
			s.Remove("e0019")
		}
		return false
	})
	var n counter
	src := local(t, s, func(c *Config) { c.Limit = 10; c.Overlap = 2 * time.Second })
	src.opts.Hooks = n.hooks()
	var out sink
	if err := out.once(t, src); err != nil {
		t.Fatal(err)
	}
	got := slices.Compact(slices.Sorted(slices.Values(out.ids())))
	wantIDs(t, got, want)
	if n.get("marker") != 1 || len(out.ids()) != 32 {
		t.Errorf("began again %d times and handed over %d events", n.get("marker"), len(out.ids()))
	}
}

func TestPagesThatAreTooLargeAreAskedForInParts(t *testing.T) {
	s := standin.New(standin.Options{})
	var want []string
	for i := range 40 {
		id := fmt.Sprintf("big-%02d", i)
		body := fmt.Sprintf(`{"message_id": %q, "event_type": "x", "generated": %q, "traits": [], "raw": {"x": %q}}`,
			id, time.Now().Add(time.Duration(i-100)*time.Second).UTC().Format(timeFormat), strings.Repeat("x", 9000))
		e, err := standin.ParseEvent([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		s.Put(e)
		want = append(want, id)
	}
	var n counter
	src := local(t, s, func(c *Config) { c.MaxBody = 64 << 10 })
	src.opts.Hooks = n.hooks()
	var out sink
	if err := out.once(t, src); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, out.ids(), want)
	if n.get("size") == 0 {
		t.Error("no page was too large")
	}
	huge, err := standin.ParseEvent([]byte(`{"message_id": "huge", "generated": "` +
		time.Now().UTC().Format(timeFormat) + `", "raw": "` + strings.Repeat("x", 70_000) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	s.Put(huge)
	if err := out.once(t, src); !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "larger than max_body") {
		t.Errorf("an event larger than max_body: %v", err)
	}
}

func TestFilter(t *testing.T) {
	s := standin.New(standin.Options{})
	numbered(t, s, 10)
	var out sink
	err := out.once(t, local(t, s, func(c *Config) {
		c.EventTypes.Include, c.EventTypes.Exclude = []string{"test.e000*"}, []string{"/[02468]$/"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, out.ids(), []string{"e0001", "e0003", "e0005", "e0007", "e0009"})
	filtered := 0
	for _, b := range out.batches {
		filtered += b.Filtered
	}
	var at cursor
	if err := json.Unmarshal(out.from.Cursor, &at); err != nil || filtered != 5 {
		t.Errorf("%d events were counted as filtered (%v)", filtered, err)
	}
}

func TestARunEndsOnABusyCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		n := 0
		s.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/events" {
				n++
				time.Sleep(time.Millisecond)
				s.Put(made(t, fmt.Sprintf("e%04d", n), time.Now())) // one more between any two pages
			}
			return false
		})
		var out sink
		if err := out.once(t, local(t, s, nil)); err != nil {
			t.Fatal(err)
		}
		if n > 3 {
			t.Errorf("the run asked for %d pages", n)
		}
	})
}
