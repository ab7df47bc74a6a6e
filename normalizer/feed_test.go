package normalizer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

func TestReaderThatLosesItsPlaceIsOpenedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 5 {
			w.add("panko", "test", "a")
		}
		lost := false
		w.onNext = func(next []event.Stored) ([]event.Stored, error) {
			if !lost && len(next) == 5 {
				lost = true
				return slices.Delete(next, 2, 3), nil
			}
			return next, nil
		}
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"panko 3 4"}, w.gaps); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"starting", "live"}, w.states()); diff != "" {
			t.Errorf("a gap that is none was reported: %s", diff)
		}
	})
}

// A gap that turned out to be none says nothing about the next one, hours of good work later.
func TestReaderThatLosesItsPlaceAgainIsOpenedAnewAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onNext = func(next []event.Stored) ([]event.Stored, error) {
			if len(next) == 3 {
				return slices.Delete(next, 1, 2), nil
			}
			return next, nil
		}
		addThree := func() {
			for range 3 {
				w.numbers["panko"]++
				n := w.numbers["panko"]
				r := event.Raw{ID: event.ID(fmt.Sprint(n)), Received: time.Now(), Format: "test", Body: []byte("a")}
				w.store(r.Message(testProvider, "panko", n, event.BodyRef{}))
			}
		}
		w.note(addThree)
		w.run(w.service(nil), func(ctx context.Context) {
			w.await(ctx, "the first events", w.allDone)
			w.note(addThree)
			w.await(ctx, "the end", w.allDone)
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"panko 2 3", "panko 5 6"}, w.gaps); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"starting", "live"}, w.states()); diff != "" {
			t.Errorf("a gap that is none was reported: %s", diff)
		}
	})
}

func TestMissingEventsStopTheProviderUntilAnOperatorActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		w.add("amqp", "test", "a")
		w.lose("panko")
		w.add("panko", "test", "a")
		w.add("amqp", "test", "a")
		w.run(w.service(nil), func(ctx context.Context) {
			w.await(ctx, "stopped", func() bool {
				return len(w.statuses) > 0 && w.statuses[len(w.statuses)-1].State == event.StateStopped
			})
			reason := "raw-expired: source panko: expected event 2, found 3"
			if got := w.statuses[len(w.statuses)-1].Reason; got != reason {
				t.Errorf("reason %q", got)
			}
			if len(w.outcomes) != 2 {
				t.Errorf("%d outcomes before the gap", len(w.outcomes))
			}
			// It looks again, and says nothing new while nothing is new.
			w.await(ctx, "more looks", func() bool { return len(w.gaps) >= 5 })
			w.note(func() {
				w.cursor = cloneCursor(w.cursor)
				w.cursor.Sources["panko"] = event.SourcePosition{Position: 2}
				w.cursor.Sequence++
			})
			w.await(ctx, "the end", w.allDone)
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"starting", "live", "stopped", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
	})
}

// A number that was there before is skipped also where it stands behind in the stream; the cursor moves over it.
func TestNumbersThatComeAgainAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 3 {
			w.add("panko", "test", "a")
		}
		w.numbers["panko"] = 1
		for range 2 {
			w.add("panko", "test", "again")
		}
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		var got []string
		for _, o := range w.outcomes {
			got = append(got, string(o.Raw.Body))
		}
		if diff := cmp.Diff([]string{"a", "a", "a"}, got); diff != "" || w.skipped != 2 {
			t.Errorf("skipped %d: %s", w.skipped, diff)
		}
	})
}

func TestWhatTheFeedRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		states []string
	}{
		{"shorter than the cursor says", &event.Error{Kind: event.Regressed, Op: "open"},
			[]string{"starting", "backoff", "stopped", "live"}},
		{"aged out", &event.Error{Kind: event.Expired, Op: "open"}, []string{"starting", "stopped", "live"}},
		{"unreachable", &event.Error{Kind: event.Unavailable, Op: "open"}, []string{"starting", "backoff", "live"}},
		{"without a kind", errors.New("odd"), []string{"starting", "backoff", "live"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.add("panko", "test", "a")
				opened := 0
				w.onFeed = func(event.NormalizedCursor) error {
					if opened++; opened <= 20 {
						return c.err
					}
					return nil
				}
				w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
				if diff := cmp.Diff(c.states, w.states()); diff != "" {
					t.Error(diff)
				}
				if err := w.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A reader that finds the gap by itself is believed after it was opened anew, like a gap found here.
func TestGapFoundByTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		reads := 0
		w.onNext = func(next []event.Stored) ([]event.Stored, error) {
			if reads++; reads <= 10 {
				return nil, &event.Error{Kind: event.Expired, Op: "read"}
			}
			return next, nil
		}
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		if diff := cmp.Diff([]string{"starting", "live", "stopped", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
		if len(w.gaps) != 10 || w.gaps[0] != " 0 0" {
			t.Errorf("gaps: %q", w.gaps)
		}
	})
}
