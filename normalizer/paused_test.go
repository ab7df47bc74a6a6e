package normalizer

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

func TestPausedProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		var paused atomic.Pointer[event.Pause]
		paused.Store(&event.Pause{By: "ada", Why: "upgrade", At: time.Now()})
		w.onOpen = func(context.Context) error { return paused.Load().Err() }
		w.run(w.service(nil), func(ctx context.Context) {
			<-time.After(time.Hour)
			if diff := cmp.Diff([]string{"starting", "paused"}, w.states()); diff != "" {
				t.Error(diff)
			}
			paused.Store(nil)
			w.await(ctx, "the end", w.allDone)
		})
		if diff := cmp.Diff([]string{"starting", "paused", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
		if err := w.check(); err != nil {
			t.Error(err)
		}
	})
}
