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

	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

func TestReadsPageByPage(t *testing.T) {
	s := standin.New(standin.Options{})
	want := telemetrytest.Numbered(t, s, 25)
	asked := telemetrytest.Queries(s)
	var out telemetrytest.Sink
	if err := out.Once(t, local(t, s, func(c *Config) { c.Limit = 10 })); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Want(t, out.IDs(), want)
	plain := "sort=generated:asc&limit=10&q.field=all_tenants&q.op=eq&q.value=True"
	telemetrytest.Want(t, *asked, []string{plain, plain + "&marker=e0009", plain + "&marker=e0019", plain + "&marker=e0024"})
}

func TestASecondRunReadsBackTheOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		telemetrytest.Numbered(t, s, 25)
		src := local(t, s, func(c *Config) { c.Overlap = 3 * time.Second; c.AllTenants = false })
		var out telemetrytest.Sink
		if err := out.Once(t, src); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		time.Sleep(10 * time.Second)
		out.Batches = nil
		asked := telemetrytest.Queries(s)
		if err := out.Once(t, src); err != nil {
			t.Fatal(err)
		}
		telemetrytest.Want(t, out.IDs(), []string{"e0021", "e0022", "e0023", "e0024"})
		newest := begin.Add(-time.Minute - time.Second)
		from := newest.Add(-3 * time.Second).UTC().Format("2006-01-02T15:04:05.000000")
		if want := "&q.field=start_timestamp&q.op=ge&q.value=" + strings.ReplaceAll(from, ":", "%3A"); !strings.Contains((*asked)[0], want) {
			t.Errorf("asked %s, want %s in it", (*asked)[0], want)
		}
		last := out.Batches[len(out.Batches)-1]
		if want := time.Now().Add(-3 * time.Second); !last.Watermark.Equal(want) || len(last.Events) > 0 {
			t.Errorf("the last batch has the watermark %s, want the run's beginning less the overlap, %s", last.Watermark, want)
		}
		for i, b := range out.Batches {
			if !b.Floor.Equal(newest.Add(-3 * time.Second)) {
				t.Errorf("batch %d has the floor %s", i, b.Floor)
			}
		}
	})
}

func TestNoWatermarkBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		telemetrytest.Numbered(t, s, 30)
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("marker") == "e0019" {
				http.Error(w, "gone for good", http.StatusBadRequest)
				return true
			}
			return false
		})
		var out telemetrytest.Sink
		err := out.Once(t, local(t, s, func(c *Config) { c.Limit = 10 }))
		if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "answered 400: gone for good") {
			t.Errorf("error is %v", err)
		}
		for _, b := range out.Batches {
			if !b.Watermark.IsZero() {
				t.Errorf("a run that failed has a watermark: %s", b.Watermark)
			}
		}
		if len(out.IDs()) != 20 {
			t.Errorf("%d events were handed over before the error", len(out.IDs()))
		}
		s.Intercept(nil)
		out.Batches = nil
		if err := out.Once(t, local(t, s, nil)); err != nil {
			t.Fatal(err)
		}
		if ids := out.IDs(); !slices.Contains(ids, "e0020") || ids[len(ids)-1] != "e0029" {
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
		s.Put(telemetrytest.Made(t, id, at))
		want = append(want, id)
	}
	var out telemetrytest.Sink
	src := local(t, s, func(c *Config) { c.Limit = 5; c.Overlap = 0 })
	if err := out.Once(t, src); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Want(t, out.IDs(), want)
	// One more of the same microsecond must be seen even without any overlap.
	s.Put(telemetrytest.Made(t, "same-99", at))
	if err := out.Once(t, src); err != nil {
		t.Fatal(err)
	}
	if ids := out.IDs(); ids[len(ids)-1] != "same-99" {
		t.Errorf("last event is %s", ids[len(ids)-1])
	}
}

func TestShortPagesAreNotTheEnd(t *testing.T) {
	s := standin.New(standin.Options{Seed: 5})
	want := telemetrytest.Numbered(t, s, 200)
	s.SetFaults(standin.Faults{ShortPages: true})
	var out telemetrytest.Sink
	if err := out.Once(t, local(t, s, func(c *Config) { c.Limit = 20 })); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Want(t, out.IDs(), want)
}

func TestAnEventInTheFutureHidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		src := local(t, s, nil)
		s.Put(telemetrytest.Made(t, "future", time.Now().Add(24*time.Hour)))
		var out telemetrytest.Sink
		for i := range 5 {
			s.Put(telemetrytest.Made(t, "now"+strconv.Itoa(i), time.Now()))
			time.Sleep(20 * time.Second)
			if err := out.Once(t, src); err != nil {
				t.Fatal(err)
			}
			if floor := out.From.Floor; time.Now().Add(-30 * time.Second).Before(floor) {
				t.Fatalf("floor %s", floor)
			}
		}
		seen := out.IDs()
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
	var n telemetrytest.Counter
	src := local(t, s, nil, n.Hooks())
	var out telemetrytest.Sink
	if err := out.Once(t, src); err != nil {
		t.Fatal(err)
	}
	if len(out.Events()) != 3 || n.Get("no-time") != 2 || n.Get("no-id") != 1 {
		t.Errorf("handed over %v, counted %d and %d", out.IDs(), n.Get("no-time"), n.Get("no-id"))
	}
	var at struct{ Generated time.Time }
	if err := json.Unmarshal(out.From.Cursor, &at); err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); !at.Generated.Equal(want) {
		t.Errorf("cursor is %s", out.From.Cursor)
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
			var out telemetrytest.Sink
			err := out.Once(t, local(t, s, func(c *Config) { c.Limit = 2 }))
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
			if len(out.Events()) == 0 {
				t.Error("what was on the pages is not handed over")
			}
		})
	}
}

func TestALostMarkerBeginsAgainAtTheCursor(t *testing.T) {
	s := standin.New(standin.Options{})
	want := telemetrytest.Numbered(t, s, 30)
	removed := false
	s.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("marker") == "e0019" && !removed {
			removed = true
			s.Remove("e0019")
		}
		return false
	})
	var n telemetrytest.Counter
	src := local(t, s, func(c *Config) { c.Limit = 10; c.Overlap = 2 * time.Second }, n.Hooks())
	var out telemetrytest.Sink
	if err := out.Once(t, src); err != nil {
		t.Fatal(err)
	}
	got := slices.Compact(slices.Sorted(slices.Values(out.IDs())))
	telemetrytest.Want(t, got, want)
	if n.Get("marker") != 1 || len(out.IDs()) != 32 {
		t.Errorf("began again %d times and handed over %d events", n.Get("marker"), len(out.IDs()))
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
	var n telemetrytest.Counter
	src := local(t, s, func(c *Config) { c.MaxBody = 64 << 10 }, n.Hooks())
	var out telemetrytest.Sink
	if err := out.Once(t, src); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Want(t, out.IDs(), want)
	if n.Get("size") == 0 {
		t.Error("no page was too large")
	}
	huge, err := standin.ParseEvent([]byte(`{"message_id": "huge", "generated": "` +
		time.Now().UTC().Format(timeFormat) + `", "raw": "` + strings.Repeat("x", 70_000) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	s.Put(huge)
	if err := out.Once(t, src); !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "larger than max_body") {
		t.Errorf("an event larger than max_body: %v", err)
	}
}

func TestFilter(t *testing.T) {
	s := standin.New(standin.Options{})
	telemetrytest.Numbered(t, s, 10)
	var out telemetrytest.Sink
	err := out.Once(t, local(t, s, func(c *Config) {
		c.EventTypes.Include, c.EventTypes.Exclude = []string{"test.e000*"}, []string{"/[02468]$/"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	telemetrytest.Want(t, out.IDs(), []string{"e0001", "e0003", "e0005", "e0007", "e0009"})
	filtered := 0
	for _, b := range out.Batches {
		filtered += b.Filtered
	}
	var at struct{ Generated time.Time }
	if err := json.Unmarshal(out.From.Cursor, &at); err != nil || filtered != 5 {
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
				s.Put(telemetrytest.Made(t, fmt.Sprintf("e%04d", n), time.Now())) // one more between any two pages
			}
			return false
		})
		var out telemetrytest.Sink
		if err := out.Once(t, local(t, s, nil)); err != nil {
			t.Fatal(err)
		}
		if n > 3 {
			t.Errorf("the run asked for %d pages", n)
		}
	})
}
