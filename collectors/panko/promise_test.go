package panko

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/internal/openstack/standin"
)

// listed writes events one second apart, with the given numbers.
func listed(first time.Time, numbers ...int) []byte {
	var all []string
	for _, n := range numbers {
		at := first.Add(time.Duration(n) * time.Second).UTC().Format(timeFormat)
		all = append(all, fmt.Sprintf(`{"message_id": "e%04d", "event_type": "x", "generated": %q}`, n, at))
	}
	return []byte("[" + strings.Join(all, ",") + "]")
}

func TestWhatIsOlderThanAskedForIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		first := time.Now().Add(-time.Hour)
		telemetrytest.Answer(s, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("marker") != "" {
				_, _ = w.Write([]byte("[]"))
				return
			}
			_, _ = w.Write(listed(first, 0, 1, 100, 101)) // whatever the time that is asked for
		})
		var n telemetrytest.Counter
		src := local(t, s, nil, n.Hooks())
		var out telemetrytest.Sink
		for range 2 {
			if err := out.Once(t, src); err != nil {
				t.Fatal(err)
			}
		}
		telemetrytest.Want(t, out.IDs(), []string{"e0000", "e0001", "e0100", "e0101", "e0100", "e0101"})
		if n.Get("too-early") != 2 {
			t.Errorf("counted %d", n.Get("too-early"))
		}
	})
}

func TestPagesFromTheNewestOnLoseNothingWhenOneFails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pages map[string][]int // by marker
	}{
		{"within the pages", map[string][]int{"": {400, 300}, "e0300": {200, 100}}},
		{"behind the first page", map[string][]int{"": {0, 100}, "e0100": {400, 300}, "e0300": {200}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := standin.New(standin.Options{})
			first := time.Now().Add(-time.Hour)
			down := true
			telemetrytest.Answer(s, func(w http.ResponseWriter, r *http.Request) {
				marker := r.URL.Query().Get("marker")
				if down && marker == "e0300" {
					http.Error(w, "no", http.StatusBadRequest)
					return
				}
				from, _ := time.Parse(timeFormat, r.URL.Query().Get("q.value"))
				shown := slices.DeleteFunc(slices.Clone(tc.pages[marker]), func(n int) bool {
					return first.Add(time.Duration(n) * time.Second).Before(from)
				})
				_, _ = w.Write(listed(first, shown...))
			})
			var n telemetrytest.Counter
			src := local(t, s, func(c *Config) { c.AllTenants = false }, n.Hooks())
			var out telemetrytest.Sink
			if err := out.Once(t, src); err == nil {
				t.Fatal("the page that failed is no error")
			}
			down = false
			if err := out.Once(t, src); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"e0100", "e0200", "e0300", "e0400"} {
				if !slices.Contains(out.IDs(), id) {
					t.Errorf("%s is lost; handed over were %v", id, out.IDs())
				}
			}
			if n.Get("disorder") == 0 {
				t.Error("nobody is told")
			}
			if want := first.Add(400*time.Second - 30*time.Second); !out.From.Floor.Equal(want.Truncate(time.Microsecond)) {
				t.Errorf("after all was read the floor is %s, want %s", out.From.Floor, want)
			}
		})
	}
}

func TestPagesOutOfOrderAreReadToTheEnd(t *testing.T) {
	s := standin.New(standin.Options{})
	pages := map[string][]int{"": {400, 300, 5000}, "e5000": {200}} // the last of the first page lies in the future
	first := time.Now().Add(-time.Hour)
	telemetrytest.Answer(s, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(listed(first, pages[r.URL.Query().Get("marker")]...))
	})
	var out telemetrytest.Sink
	if err := out.Once(t, local(t, s, nil)); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Want(t, out.IDs(), []string{"e0400", "e0300", "e5000", "e0200"})
}

// RAW forgets events in the end. What it may have forgotten must not come again from a cloud that has nothing new.
func TestALongQuietCloudDoesNotShowItsLastEventsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		src := local(t, s, nil)
		s.Put(telemetrytest.Made(t, "a", time.Now()), telemetrytest.Made(t, "b", time.Now().Add(10*time.Second)))
		newest := time.Now().Add(10 * time.Second)
		var out telemetrytest.Sink
		once := func(want ...string) {
			t.Helper()
			out.Batches = nil
			if err := out.Once(t, src); err != nil {
				t.Fatal(err)
			}
			telemetrytest.Want(t, out.IDs(), want)
		}
		time.Sleep(20 * time.Second)
		once("a", "b")
		time.Sleep(23 * time.Hour)
		s.Put(telemetrytest.Made(t, "late", newest.Add(-time.Second)))
		once("a", "late", "b")
		time.Sleep(2 * time.Hour)
		once("a", "late", "b") // the run that finds that a day has passed
		once()
		if !out.From.Floor.After(newest) {
			t.Errorf("the floor is %s, so that RAW has to remember what was at %s", out.From.Floor, newest)
		}
		// What was held up somewhere, and is newer than all that was seen, still comes.
		s.Put(telemetrytest.Made(t, "held up", newest.Add(time.Minute)))
		once("held up")
		s.Put(telemetrytest.Made(t, "held up longer", newest.Add(time.Minute-time.Second)))
		once("held up longer", "held up")
		s.Put(telemetrytest.Made(t, "new", time.Now()))
		time.Sleep(time.Second)
		once("held up longer", "held up", "new")
		once("new")
	})
}

func TestFilteredEventsAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standin.New(standin.Options{})
		telemetrytest.Numbered(t, s, 10)
		src := local(t, s, func(c *Config) { c.EventTypes.Exclude, c.Limit = []string{"*"}, 4 })
		var out telemetrytest.Sink
		for range 5 {
			if err := out.Once(t, src); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		filtered := 0
		for _, b := range out.Batches {
			filtered += b.Filtered
		}
		if filtered != 10 {
			t.Errorf("%d of 10 events were counted", filtered)
		}
	})
}

func TestTheEarlierClockCounts(t *testing.T) {
	for _, tc := range []struct {
		name string
		date func(now time.Time) string
		want time.Duration // of the watermark, from now
	}{
		{"Panko does not tell", func(time.Time) string { return "" }, 0},
		{"Panko's is ours in whole seconds", func(now time.Time) string { return now.Add(-time.Second).Format(http.TimeFormat) }, 0},
		{"Panko's is behind", func(now time.Time) string { return now.Add(-10 * time.Minute).Format(http.TimeFormat) }, -10 * time.Minute},
		{"Panko's is ahead", func(now time.Time) string { return now.Add(10 * time.Minute).Format(http.TimeFormat) }, 0},
		{"Panko has no clock", func(time.Time) string { return "Thu, 01 Jan 1970 00:00:00 GMT" }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := standin.New(standin.Options{})
				now := time.Now().UTC()
				s.Put(telemetrytest.Made(t, "a", now.Add(-time.Hour)), telemetrytest.Made(t, "b", now.Add(-5*time.Minute)))
				s.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("Date", tc.date(now))
					return false
				})
				var out telemetrytest.Sink
				if err := out.Once(t, local(t, s, nil)); err != nil {
					t.Fatal(err)
				}
				last := out.Batches[len(out.Batches)-1]
				if want := now.Add(tc.want - 30*time.Second); !last.Watermark.Equal(want) {
					t.Errorf("the watermark is %s, want %s", last.Watermark, want)
				}
				if last.Floor.After(now.Add(tc.want - 30*time.Second)) {
					t.Errorf("the floor is %s", last.Floor)
				}
			})
		})
	}
}
