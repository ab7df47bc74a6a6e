package normalizer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"

	"stackstream/event"
)

// worker is the loop of one provider.
type worker struct {
	cfg        *Config
	provider   event.Provider
	log        zerolog.Logger
	committer  Committer
	conversion Conversion
	// stuck is the cursor at which something stopped the provider, nil if nothing did. While it has not moved, the
	// provider is not called live again before a batch has been committed.
	stuck *event.StreamSeq

	mu    sync.Mutex
	shown event.Status // as last reported

	// converting numbers the conversion in progress, 0 between two.
	converting atomic.Uint64
	converted  uint64 // only the reading goroutine counts
}

func newWorker(cfg *Config, p event.Provider) *worker {
	return &worker{
		cfg: cfg, provider: p, committer: cfg.Committer(p),
		conversion: Conversion{Converters: cfg.Converters, Bodies: cfg.Bodies},
		log:        cfg.Log.With().Str("provider", string(p)).Str("role", string(event.RoleNormalizer)).Logger(),
	}
}

// run holds the lease and works, until ctx ends.
func (w *worker) run(ctx context.Context) {
	w.show(event.StateStarting, "")
	pause, left := newBackOff(), newBackOff()
	for ctx.Err() == nil {
		err := w.hold(ctx, func(ctx context.Context) error {
			pause.Reset()
			return w.work(ctx)
		})
		switch {
		case ctx.Err() != nil:
			return
		case isNewer(err):
			wait(ctx, left.NextBackOff())
			continue
		case err != nil:
			w.show(event.StateBackoff, "lease: "+err.Error())
		}
		left.Reset()
		wait(ctx, pause.NextBackOff())
	}
}

// hold calls work while the lease is held.
func (w *worker) hold(ctx context.Context, work func(ctx context.Context) error) error {
	if w.cfg.Lease == nil {
		return work(ctx)
	}
	return w.cfg.Lease.Hold(ctx, "normalizer."+string(w.provider), w.holding, work)
}

func (w *worker) holding(held bool, by string) {
	switch {
	case held && w.state() == event.StateStopped:
		// That stays the news until there is another.
	case held:
		w.stuck = nil
		w.show(event.StateStarting, "")
	case by == "":
		w.show(event.StateStandby, "another process holds the lease")
	default:
		w.show(event.StateStandby, "the lease is held by "+by)
	}
}

// believed is for how long RAW has to look shorter than it was before we believe it: a server that has just become its leader,
// or no longer is and does not know, shows less than there is.
const believed = 30 * time.Second

// lookPaused is how often a provider that an operator has paused is looked at, whether it may go on.
const lookPaused = 5 * time.Second

// work runs one session after the other until ctx ends: each reads the cursor and goes on from there. It returns an error
// only for what a newer version has written, for which that version should have the lease.
func (w *worker) work(ctx context.Context) error {
	pause, stopped := newBackOff(), newStoppedBackOff()
	missing := false        // the last session ended because raw events are missing
	var regressed time.Time // since when every session ends because RAW is shorter than it was
	for ctx.Err() == nil {
		s := session{worker: w}
		err := s.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if s.progress {
			pause.Reset()
			stopped.Reset()
			missing, w.stuck = false, nil
		}
		before := missing
		kind := event.KindOf(err)
		missing = kind == event.Expired
		if missing {
			w.cfg.Hooks.sequenceGap(w.provider, err)
		}
		if kind != event.Regressed || s.progress {
			regressed = time.Time{}
		} else if regressed.IsZero() {
			regressed = time.Now()
		}
		switch {
		case kind == event.Paused:
			w.show(event.StatePaused, event.PauseReason(err))
			pause.Reset()
			wait(ctx, lookPaused)
		case missing && !before:
			// The cursor is read and the feed placed anew before anything is said: a reader may have lost its place.
		case kind == event.Regressed && time.Since(regressed) < believed:
			w.show(event.StateBackoff, err.Error())
			wait(ctx, min(pause.NextBackOff(), believed/4))
		case missing || kind == event.Regressed || kind == event.Invalid:
			if s.opened {
				w.stuck = &s.cursor.Sequence
			}
			w.show(event.StateStopped, err.Error())
			if isNewer(err) {
				return err
			}
			if w.moved(ctx, &s, stopped.NextBackOff()) {
				stopped.Reset()
				missing = false
			}
		default:
			if kind == event.Fenced {
				w.cfg.Hooks.fenced(w.provider)
			}
			w.show(event.StateBackoff, err.Error())
			wait(ctx, pause.NextBackOff())
		}
	}
	return nil
}

// moved waits for a while, or until the cursor of a session is no longer the one it began with: an operator has mended it. It
// tells whether that is so.
func (w *worker) moved(ctx context.Context, s *session, limit time.Duration) bool {
	if w.cfg.Look <= 0 {
		wait(ctx, limit)
		return false
	}
	end := time.Now().Add(limit)
	for left := limit; left > 0; left = time.Until(end) {
		wait(ctx, min(w.cfg.Look, left))
		if ctx.Err() != nil {
			return false
		}
		now, err := w.committer.Open(ctx)
		if event.KindOf(err) == event.Paused || err == nil && (!s.began || now.Sequence != s.cursor.Sequence) {
			return true
		}
	}
	return false
}

// isNewer tells whether err comes from something that a newer version of stackstream has written.
func isNewer(err error) bool {
	var newer *event.NewerError
	return errors.As(err, &newer)
}

// state is the one last reported.
func (w *worker) state() event.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown.State
}

// show reports the state if it or its reason is new. One line is logged for it.
func (w *worker) show(state event.State, reason string) {
	status := event.Status{Provider: w.provider, Role: event.RoleNormalizer, State: state, Reason: reason}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shown == status {
		return
	}
	w.shown = status
	level := zerolog.InfoLevel
	switch state {
	case event.StateBackoff:
		level = zerolog.WarnLevel
	case event.StateStopped:
		level = zerolog.ErrorLevel
	}
	w.log.WithLevel(level).Str("state", string(state)).Str("reason", reason).Msg("normalizer state changed")
	w.cfg.Hooks.status(status)
}

// beat reports that the provider's loop is alive until it is ended. Everything in the loop but a conversion waits on a context, so a
// conversion that does not end is what can hold it up. A goroutine for that would be one more stack per provider.
func (w *worker) beat() (end func()) {
	if w.cfg.Hooks.Beat == nil {
		return func() {}
	}
	p := &pulse{worker: w}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(BeatEvery, p.beat)
	p.tell()
	return p.end
}

// pulse is what beats for a worker.
type pulse struct {
	*worker

	mu    sync.Mutex
	timer *time.Timer
	ended bool
	last  uint64 // conversion that was in progress
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.tell()
		p.timer.Reset(BeatEvery)
	}
}

func (p *pulse) tell() {
	now := p.converting.Load()
	if now == 0 || now != p.last {
		p.cfg.Hooks.Beat(p.provider)
	}
	p.last = now
}

// end returns when nothing is told any more.
func (p *pulse) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
}

func newBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(30*time.Second), backoff.WithMaxElapsedTime(0))
}

// newStoppedBackOff is for what only an operator can mend: it is looked at again now and then.
func newStoppedBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(10*time.Second), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(2*time.Minute), backoff.WithMaxElapsedTime(0))
}

// wait returns after d or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
