package backfill_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/collectors/backfill"
	"stackstream/event"
)

func TestAddsWhatIsMissing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		there := without(all, func(i int) bool { return i%10 > 2 }) // 30 % are not
		w := newWorld(t, midnight.Add(-time.Hour), there...)
		before := w.Cursor(cloud, live)
		j := w.job("gap", second(10), second(90), &service{records: all, overlap: 3 * time.Second})
		o, err := j.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if o.Raw != 56 || o.Older != 0 || o.Before != nil {
			t.Errorf("the outlook is %+v", o)
		}
		done, err := j.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		want := idsOf(without(all, func(i int) bool { return i%10 <= 2 && i >= 10 && i < 90 }))
		if diff := cmp.Diff(want, w.added("gap")); diff != "" {
			t.Errorf("added (-want +got):\n%s", diff)
		}
		if done.Shown != 80 || done.There != 56 || done.Added != 24 || done.Done.IsZero() {
			t.Errorf("it says %+v", done)
		}
		w.once()
		if diff := cmp.Diff(before, w.Cursor(cloud, live)); diff != "" {
			t.Errorf("the live cursor was changed:\n%s", diff)
		}
		own := w.Cursor(cloud, "backfill-gap")
		if s, err := backfill.ReadState(own.Cursor); err != nil || !own.Retired || s.Done.IsZero() || s.Shown != 80 {
			t.Errorf("its cursor is %+v (%v)", own, err)
		}
		// Once more there is nothing to do.
		if o, err := w.job("gap", second(10), second(90), &service{records: all}).Look(t.Context()); err != nil || o.Before == nil ||
			o.Before.Done.IsZero() || o.Added != 24 {
			t.Errorf("a second look says %+v, %v", o, err)
		}
	})
}

// An event without a time belongs to no range, unless the service's records have none at all.
func TestEventsWithoutATime(t *testing.T) {
	for _, timeless := range []bool{false, true} {
		t.Run(fmt.Sprint(timeless), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				all := history(0, 99)
				for i := 0; i < len(all); i += 10 {
					all[i].Time = time.Time{}
				}
				w := newWorld(t, midnight.Add(-time.Hour), all[0], all[1])
				j := w.job("gap", second(0), second(90), &service{records: all})
				j.Timeless = timeless
				done, err := run(t.Context(), j)
				if err != nil {
					t.Fatal(err)
				}
				added, left := uint64(80), uint64(9)
				if timeless {
					added, left = 89, 0
				}
				if done.Added != added || done.Timeless != left {
					t.Errorf("%d added, %d left out; want %d and %d", done.Added, done.Timeless, added, left)
				}
				w.once()
			})
		})
	}
}

// A service that answers with errors that may pass is asked again; one that refuses ends the job.
func TestErrorsOfTheService(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		s := &service{records: all}
		s.fail = func() error {
			if s.pages%2 == 0 {
				return &event.Error{Kind: event.Unavailable, Op: "ask", Err: errBoom}
			}
			return nil
		}
		if done, err := run(t.Context(), w.job("gap", second(0), second(90), s)); err != nil || done.Added != 90 {
			t.Errorf("%+v, %v", done, err)
		}
		if !slices.Contains(w.waits, "ask: unavailable: boom") || w.waits[len(w.waits)-1] != "" {
			t.Errorf("it said %q", w.waits)
		}
		s.fail = func() error { return &event.Error{Kind: event.Invalid, Op: "ask", Err: errBoom} }
		if _, err := run(t.Context(), w.job("again", second(0), second(90), s)); !errors.Is(err, errBoom) {
			t.Errorf("error %v", err)
		}
	})
}

// A job that was removed leaves its number: an event of another job of the name must not get one that was given.
func TestRemovedJobsKeepTheirNumber(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		if _, err := run(t.Context(), w.job("gap", second(0), second(50), &service{records: all})); err != nil {
			t.Fatal(err)
		}
		writer := w.NewWriter(cloud, "backfill-gap", event.Fence{})
		c, err := writer.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before, err := backfill.Remove(&c, time.Now())
		if err != nil || before.Shown != 50 || !c.Retired {
			t.Fatalf("%+v, %v", before, err)
		}
		if _, err := backfill.Remove(&c, time.Now()); err == nil {
			t.Error("it can be removed twice")
		}
		if _, err := writer.Commit(t.Context(), nil, c.Progress); err != nil {
			t.Fatal(err)
		}
		done, err := run(t.Context(), w.job("gap", second(0), second(90), &service{records: all}))
		if err != nil || done.Added != 40 || done.There != 50 || done.Shown != 90 {
			t.Errorf("%+v, %v", done, err)
		}
		if got := w.added("gap"); len(got) != 90 {
			t.Errorf("%d were added in all", len(got))
		}
		w.once()
	})
}

func TestTryWritesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour), all[:30]...)
		commits := w.Commits()
		s := &service{records: all, overlap: 5 * time.Second}
		s.fail = func() error {
			if s.pages == 2 {
				return &event.Error{Kind: event.Unavailable, Op: "ask", Err: errBoom}
			}
			return nil
		}
		j := w.job("gap", second(0), second(90), s)
		o, err := j.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var missing []event.ID
		done, err := j.Try(t.Context(), o, func(e event.Raw) { missing = append(missing, e.ID) })
		if err != nil || done.Shown != 90 || done.There != 30 || !slices.Equal(missing, idsOf(all[30:90])) {
			t.Errorf("%+v, %v, missing %v", done, err, missing)
		}
		if w.Commits() != commits {
			t.Error("something was written")
		}
	})
}

// What is held takes little for each event of the range, and nothing for others.
func TestHeldIsSmall(t *testing.T) {
	const n = 50_000
	if took := heldBytes(n); took > 64*n {
		t.Errorf("%d bytes for each", took/n)
	}
}

func heldBytes(n int) uint64 {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	held := backfill.NewHeld(second(0), second(n))
	for i := range n {
		held.Take(event.Seen{ID: event.ID(fmt.Sprintf("0f4e1b9e-4b1c-4d0e-9c1e-%012d", i)), Time: second(i)})
		held.Take(event.Seen{ID: event.ID(fmt.Sprintf("ffffffff-4b1c-4d0e-9c1e-%012d", i)), Time: second(n + i + 100_000)})
	}
	took := heap() - before
	runtime.KeepAlive(held)
	return took
}

func BenchmarkAMillionHeld(b *testing.B) {
	for range b.N {
		b.ReportMetric(float64(heldBytes(1_000_000))/(1<<20), "MiB")
	}
}
