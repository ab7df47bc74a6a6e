package collectors_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// pausable is a Writer whose cursor may have a pause.
type pausable struct {
	collectors.Writer
	pause *atomic.Pointer[event.Pause]
}

func (p pausable) Open(ctx context.Context) (event.RawCursor, error) {
	if err := p.pause.Load().Err(); err != nil {
		return event.RawCursor{}, err
	}
	return p.Writer.Open(ctx)
}

func TestPausedCollectors(t *testing.T) {
	pause := &event.Pause{By: "ada", Why: "upgrade", At: midnight}
	said := "since " + midnight.UTC().Format(time.RFC3339) + " by ada: upgrade"

	bubble(t, "a source waits until it may go on, and says so once", func(t *testing.T) {
		f := newFleet()
		c := f.collector("a", "panko", kind("panko", emits(collectors.Batch{Events: raws(1, 5)})))
		var paused atomic.Pointer[event.Pause]
		paused.Store(pause)
		newWriter := c.Deps.NewWriter
		c.Deps.NewWriter = func(p event.Provider, s event.Source, fence event.Fence) collectors.Writer {
			return pausable{newWriter(p, s, fence), &paused}
		}
		stop := run(t, c)
		after(time.Hour)
		states := []string{"a/: starting", "a/: live configured", "a/panko: starting", "a/panko: paused " + said}
		f.wantStates(t, states...)
		if got := f.log.IDs(cloud); len(got) > 0 {
			t.Errorf("RAW has %v", got)
		}
		paused.Store(nil)
		after(30 * time.Second)
		f.wantStates(t, append(states, "a/panko: live")...)
		if got := f.log.IDs(cloud); !slices.Equal(got, ids(1, 5)) {
			t.Errorf("RAW has %v", got)
		}
		stop()
	})

	bubble(t, "a provider's sources are stopped by its choice", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", "panko", kind("panko", slowly(
			collectors.Batch{Events: raws(1, 5)}, collectors.Batch{Events: raws(6, 9)}))))
		choice := f.choice(t)
		choice.Paused = pause
		if _, err := f.log.WriteChoice(t.Context(), cloud, choice); err != nil {
			t.Fatal(err)
		}
		after(time.Hour)
		if got := f.states.all(); got[len(got)-1] != "a/: paused "+said {
			t.Errorf("states %v", got)
		}
		before := len(f.log.IDs(cloud))
		choice = f.choice(t)
		choice.Paused = nil
		if _, err := f.log.WriteChoice(t.Context(), cloud, choice); err != nil {
			t.Fatal(err)
		}
		after(time.Hour)
		if got := f.log.IDs(cloud); before == 9 || !slices.Equal(got, ids(1, 9)) {
			t.Errorf("RAW had %d events, and has %v", before, got)
		}
		stop()
	})

	bubble(t, "a provider that never collected asks nobody, and its pause stays", func(t *testing.T) {
		f := newFleet()
		if _, err := f.log.WriteChoice(t.Context(), cloud, event.Choice{Paused: pause}); err != nil {
			t.Fatal(err)
		}
		asked := refusing("not asked")
		asked.available = func(context.Context) error { t.Error("the service was asked"); return nil }
		for _, want := range []string{collectors.Auto, "panko"} {
			stop := run(t, f.collector("a", want, kind("panko", asked)))
			after(time.Hour)
			stop()
			if got := f.choice(t); got.Paused == nil || got.Kind != "" {
				t.Errorf("the choice is %+v", got)
			}
		}
		f.wantStates(t, "a/: starting", "a/: paused "+said, "a/: starting", "a/: paused "+said)
	})
}
