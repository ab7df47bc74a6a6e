package collectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stackstream/event"
)

// shard runs one source of the chosen kind.
type shard struct {
	*Collector
	Shard
	choice   event.Choice
	say      *reporter
	kept     *kept
	asked    bool // for the lease, before
	progress bool // the loop has committed events since it was started

	mu      sync.Mutex
	live    bool // the loop has said so
	trouble bool // what the source reports
	what    string
}

func (s *shard) run(ctx context.Context) error {
	longest := cmp.Or(s.Spec.MaxPause, maxPause)
	wait := newBackOff(longest)
	s.say.state(s.Name, event.StateStarting, "")
	for {
		start := time.Now()
		s.progress = false
		err := s.hold(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			err = errors.New("the lease was lost")
		case errors.Is(err, event.Fenced) && s.chosenAnew(ctx, &s.choice):
			return errChosenAnew
		case event.KindOf(err) == event.Paused:
			wait.Reset()
			s.say.state(s.Name, event.StatePaused, event.PauseReason(err))
			if pause(ctx, lookPaused) != nil {
				return nil
			}
			continue
		}
		if s.progress || time.Since(start) > 2*longest {
			wait.Reset()
		}
		s.failed(err)
		if pause(ctx, pauseFor(wait, err)) != nil {
			return nil
		}
	}
}

// hold waits for the lease and runs the loop under it. Meanwhile it reads what the source would have to know. The first time
// it asks for the lease only when it knows: a process that was started anew and takes back what is its share would else have
// the source pause for as long as that takes. Later it asks at once, since a queue may be waiting to be declared again.
func (s *shard) hold(ctx context.Context) error {
	standby, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		err := s.kept.keep(standby, s.writer().Open, sync.OnceFunc(func() { close(ready) }))
		if err != nil {
			s.Deps.Log.Debug().Err(err).Str("provider", string(s.Provider)).Str("source", string(s.Name)).Msg("standing by")
		}
	}()
	end := func() { cancel(); <-ended }
	defer end()
	if !s.asked {
		s.asked = true
		limit := time.NewTimer(keepFirst)
		defer limit.Stop()
		select {
		case <-ready:
		case <-limit.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Deps.Lease.Hold(ctx, LeaseKey(s.Provider, s.Name), s.holding, func(ctx context.Context) error {
		end()
		return s.loop(ctx)
	})
}

func (s *shard) writer() Writer {
	fence := event.Fence{Subject: event.ChoiceSubject(s.Provider), Sequence: s.choice.Sequence}
	return s.Deps.NewWriter(s.Provider, s.Name, fence)
}

// loop is the work that the lease is held for.
func (s *shard) loop(ctx context.Context) error {
	var source Source
	s.report(false, "")
	if err := guard(func() (err error) { source, err = s.New(s.report); return err }); err != nil {
		return fmt.Errorf("make the source: %w", err)
	}
	hooks := s.Deps.Hooks
	hooks.Committed = func(p event.Provider, name event.Source, c Commit) {
		s.progress = s.progress || c.Events > 0
		s.Deps.Hooks.committed(p, name, c)
	}
	loop := &Loop{
		Provider: s.Provider, Name: s.Name, Source: source, Spec: s.Spec,
		Writer: s.writer(), Memory: s.Deps.Memory, kept: s.kept, atLeast: s.choice.Sequence, look: s.writer().Open,
		Options: s.Options, Hooks: hooks, Log: s.Deps.Log,
		Report: s.state,
	}
	defer s.state(event.StateStarting, "")
	return loop.Run(ctx)
}

// state is what the loop reports; while it is live, what the source reports is part of it.
func (s *shard) state(state event.State, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live = state == event.StateLive; s.live {
		s.sayLive()
	} else if state != event.StateStarting {
		s.say.state(s.Name, state, reason)
	}
}

// report is the source's Report.
func (s *shard) report(trouble bool, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble, s.what = trouble && what != "", what
	if s.live {
		s.sayLive()
	}
}

func (s *shard) sayLive() {
	state := event.StateLive
	if s.trouble {
		state = event.StateDegraded
	}
	s.say.state(s.Name, state, s.what)
}

func (s *shard) holding(held bool, by string) {
	if !held {
		s.say.state(s.Name, event.StateStandby, "held by "+by)
		return
	}
	s.say.working(s.Name)
}

func (s *shard) failed(err error) {
	s.Deps.Hooks.failed(s.Provider, s.Name, err)
	s.say.state(s.Name, event.StateBackoff, err.Error())
	var p *PanicError
	if errors.As(err, &p) {
		s.Deps.Log.Error().Err(err).Str("provider", string(s.Provider)).Str("source", string(s.Name)).
			Bytes("stack", p.Stack).Msg("a source panicked")
	}
}
