package normalizer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// look is how often cursors are looked at.
const look = 10 * time.Second

// What has stopped goes on soon after an operator has mended the cursor, however long it has been stopped.
func TestStoppedGoesOnWhenItsCursorIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		w.lose("panko")
		w.add("panko", "test", "b")
		service := w.service(nil)
		service.cfg.Look = look
		w.run(service, func(ctx context.Context) {
			<-time.After(24*time.Hour - time.Minute)
			if diff := cmp.Diff([]string{"starting", "live", "stopped"}, w.states()); diff != "" {
				t.Error(diff)
			}
			w.note(func() {
				at := w.cursor.Sources["panko"]
				at.Position = 2
				w.cursor.Sources["panko"] = at
				w.cursor.Sequence++
			})
			mended := time.Now()
			w.await(ctx, "the end", w.allDone)
			if took := time.Since(mended); took > look {
				t.Errorf("it went on after %v", took)
			}
		})
		if diff := cmp.Diff([]string{"starting", "live", "stopped", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
	})
}

// Who has nothing to write sees all the same that an operator has paused it.
func TestIdleNoticesAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		pause := &event.Pause{By: "ada", Why: "upgrade", At: time.Now()}
		var paused bool
		w.onOpen = func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if paused {
				return pause.Err()
			}
			return nil
		}
		service := w.service(nil)
		service.cfg.Look = look
		w.run(service, func(ctx context.Context) {
			w.await(ctx, "the end", w.allDone)
			<-time.After(time.Hour)
			w.note(func() { paused = true })
			<-time.After(look)
			synctest.Wait()
			if diff := cmp.Diff([]string{"starting", "live", "paused"}, w.states()); diff != "" {
				t.Error(diff)
			}
			w.note(func() { paused = false })
			<-time.After(lookPaused)
			synctest.Wait()
			if diff := cmp.Diff([]string{"starting", "live", "paused", "live"}, w.states()); diff != "" {
				t.Error(diff)
			}
			w.note(func() { w.cursor.Sequence++ })
			<-time.After(2 * look)
			synctest.Wait()
			if w.fenced != 1 {
				t.Errorf("another writer was noticed %d times", w.fenced)
			}
		})
	})
}
