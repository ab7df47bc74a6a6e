package author

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/cassette"
)

// outcome is what came of a scenario.
type outcome struct {
	events []event.StoredRaw
	log    []asking
	err    error
	// injected says that the fault happened.
	injected bool
}

// patience is how often a run is tried again until the source is taken for one that does not recover.
const patience = 12

// scenario plays all runs, and one more, with a fault, until each has succeeded.
func (t *tester) scenario(ctx context.Context, f *fault) *outcome {
	clocks := t.clocks()
	now := &clock{now: clocks[0]}
	svc := &service{
		model: t.model, clock: now, told: clocks, before: t.replay.before, fault: f,
		sessions: map[string]*session{}, served: map[string]sheet{},
		others: &cassette.Player{Cassette: t.cassette, Login: isLogin, Ignore: t.proofParameters(), Again: true},
		world:  world{hidden: map[*unit]bool{}, late: map[*unit]bool{}},
	}
	l := &ledger{}
	out := &outcome{}
	var source *httppoll.Source
	for run := range len(clocks) + 1 {
		last := run == len(clocks)
		svc.world.run = max(svc.world.run, min(run, len(clocks)-1))
		if last {
			now.reach(now.Now().Add(t.Config.Schedule.Every))
		} else {
			now.reach(clocks[run])
		}
		if f != nil && f.unit != nil {
			svc.world.hidden[f.unit], svc.world.late[f.unit] = run <= f.run, run > f.run
		}
		svc.world.reversed = f != nil && f.kind.name == faultReordered && run == f.run
		if source, out.err = t.recover(ctx, svc, source, l); out.err != nil {
			break
		}
	}
	out.events, out.log = l.all(), svc.log
	out.injected = f == nil || !f.kind.request || svc.injected
	return out
}

// recover polls until a run succeeds, as the poller and the collector do: what may pass is tried again by the same source, all
// else by a new one, after what the service asked for, or growing pauses.
func (t *tester) recover(ctx context.Context, svc *service, source *httppoll.Source, l *ledger) (*httppoll.Source, error) {
	pause := time.Second
	said := ""
	for try, waits := 0, 0; try < patience && waits < patience*100; try++ {
		if source == nil {
			svc.waits.report(false, "")
			var err error
			if source, err = t.model.reader.Anew(httppoll.Options{
				Version: t.Version, Format: app.HTTPFormat(string(t.Kind), t.Provider), Report: svc.waits.report,
				Transport: func(http.RoundTripper) http.RoundTripper { return svc },
				Clock:     httppoll.Clock{Now: svc.clock.Now, Pause: svc.clock.Pause},
			}); err != nil {
				return nil, err
			}
		}
		runCtx, cancel := context.WithCancel(ctx)
		svc.kill = cancel
		failed := t.poll(runCtx, source, l)
		cancel()
		why, wait, again := svc.waits.again(failed, pause)
		said = why
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case failed == nil && !again:
			return source, nil
		case failed == nil: // the rest is read when its time has come
			try, waits = try-1, waits+1
			_ = svc.clock.Pause(ctx, max(t.Config.Schedule.Every, time.Minute))
			continue
		case !again || wait > 30*time.Second:
			source = nil
		}
		pause = min(2*pause, time.Minute)
		_ = svc.clock.Pause(ctx, wait)
	}
	return nil, fmt.Errorf("does not recover: %s", said)
}
