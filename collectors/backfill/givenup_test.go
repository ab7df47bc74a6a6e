package backfill_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// give gives up events of a source.
func (w *world) give(s event.Source, from, to event.Seq) {
	w.archive.given.Gaps = append(w.archive.given.Gaps, event.RawGap{Source: s, From: from, To: to})
	w.archive.given.At = time.Now()
}

// A job that was interrupted reads all of its range again if more was given up meanwhile, also of what it has added itself.
func TestWhatIsGivenUpBetweenTwoRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour), all[:50]...) // 1 to 50
		s := &service{records: all, page: 5}
		s.fail = func() error {
			if s.pages == 15 {
				return &event.Error{Kind: event.Invalid, Err: errBoom}
			}
			return nil
		}
		if done, err := run(t.Context(), w.job("gap", second(0), second(100), s)); err == nil || done.Added != 20 {
			t.Fatalf("%+v, %v", done, err)
		}
		time.Sleep(time.Minute)
		w.give(live, 41, 45)
		w.give("backfill-gap", 1, 3)
		s = &service{records: all, page: 5}
		done, err := run(t.Context(), w.job("gap", second(0), second(100), s))
		if err != nil || done.Added != 58 || done.Done.IsZero() {
			t.Errorf("%+v, %v", done, err)
		}
		want := idsOf(all[50:70])
		want = append(want, idsOf(all[40:45])...)
		want = append(want, idsOf(all[50:53])...)
		want = append(want, idsOf(all[70:])...)
		if diff := cmp.Diff(want, w.added("gap")); diff != "" {
			t.Errorf("added (-want +got):\n%s", diff)
		}
	})
}

// As long as RAW drops what is not normalized a job neither begins nor ends.
func TestWhatIsStillToBeGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour), all[:50]...)
		gone := &event.Error{Kind: event.Expired, Err: errBoom}
		w.archive.stops = gone
		s := &service{records: all}
		j := w.job("gap", second(0), second(100), s)
		if _, err := j.Look(t.Context()); event.KindOf(err) != event.Expired || s.pages > 0 {
			t.Errorf("it begins: %v", err)
		}
		w.archive.stops = nil
		s.behind = func() { w.archive.stops = gone }
		done, err := run(t.Context(), j)
		if event.KindOf(err) != event.Expired || !strings.Contains(err.Error(), "the same command goes on") || !done.Done.IsZero() {
			t.Errorf("%+v, %v", done, err)
		}
		time.Sleep(time.Minute)
		w.archive.stops = nil
		w.give(live, 11, 20)
		if done, err = run(t.Context(), w.job("gap", second(0), second(100), &service{records: all})); err != nil || done.Added != 60 {
			t.Errorf("%+v, %v", done, err)
		}
	})
}
