package normalizer

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

func TestBodyThatCannotBeReadHoldsUpWhatIsBehindItOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		w.add("panko", "object", "large")
		w.add("panko", "test", "a")
		var down atomic.Bool
		down.Store(true)
		w.onBody = func(event.BodyRef) error {
			if down.Load() {
				return &event.Error{Kind: event.Unavailable, Op: "read body"}
			}
			return nil
		}
		w.run(w.service(nil), func(ctx context.Context) {
			w.await(ctx, "backoff and the event before", func() bool {
				return len(w.outcomes) == 1 && w.statuses[len(w.statuses)-1].State == event.StateBackoff
			})
			synctest.Wait()
			if len(w.outcomes) != 1 {
				t.Errorf("%d outcomes", len(w.outcomes))
			}
			down.Store(false)
			w.await(ctx, "the end", w.allDone)
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"starting", "live", "backoff", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range BatchEvents + 1 {
			w.add("panko", "test", "a")
		}
		for i := range 6 {
			w.add("panko", "object", strings.Repeat(string(rune('a'+i)), BatchBytes*2/5))
		}
		w.add("panko", "test", strings.Repeat("x", 3*BatchBytes))
		w.add("panko", "test", "a")
		w.run(w.service(nil), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		if err := w.check(); err != nil {
			t.Error(err)
		}
		var sizes []int
		for _, b := range w.batches {
			sizes = append(sizes, len(b))
		}
		// The feed counts the bytes of the messages, so that the objects come with what is around them.
		if diff := cmp.Diff([]int{500, 4, 3, 1, 1}, sizes); diff != "" {
			t.Error(diff)
		}
	})
}

// Small bodies that become large are no way to fill the memory: what they became counts.
func TestBatchesOfInflatedEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 10 {
			w.add("panko", "test", "a")
		}
		w.run(w.service(map[string]Converter{"test": inflater{}}), func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		for _, b := range w.batches {
			if len(b) != 2 {
				t.Errorf("a batch of %d events of half of what a batch takes", len(b))
			}
		}
	})
}

type inflater struct{ testConverter }

func (inflater) Convert(raw event.Raw) (Converted, error) {
	c, err := testConverter{}.Convert(raw)
	c.Events[0].Payload = make([]byte, BatchBytes/2)
	return c, err
}
