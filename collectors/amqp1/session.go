package amqp1

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/sync/errgroup"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/broker"
)

// rejectingFor is how long it counts as trouble that something was rejected.
const rejectingFor = 10 * time.Minute

// session is one Run: a link for each address, and what they share.
type session struct {
	*Source
	says    *collectors.Conditions
	emitter collectors.Emit
	turn    chan struct{} // has a token while nobody emits

	mu       sync.Mutex
	state    state
	dirty    bool
	errs     []error     // why an address has no link; nil if it has one, or has not failed yet
	up       []bool      // it has one
	shown    []time.Time // up to when everything of an address was handed over
	rejected time.Time   // when something was last rejected
	over     error       // why nothing is taken from us any more
	messages int         // held, of all links
	bytes    int
}

// What may be wrong beside the links, each of which has a condition of its own, by its number, before these.
const (
	conditionRejecting = iota
	// From here on it is worth knowing and no more.
	conditionPresettled
	conditionMute
	conditionsCount
)

func newSession(s *Source, st state, emit collectors.Emit) *session {
	n := len(s.cfg.Addresses)
	sess := &session{
		Source: s, state: st, emitter: emit, turn: make(chan struct{}, 1),
		says: collectors.NewConditions(s.opts.Report, n+conditionsCount, n+conditionPresettled),
		errs: make([]error, n), up: make([]bool, n), shown: make([]time.Time, n),
	}
	sess.turn <- struct{}{}
	return sess
}

// run works until ctx ends, or no address has a link.
func (s *session) run(ctx context.Context) error {
	if s.opts.Hooks.Links != nil {
		defer s.opts.Hooks.Links(0, len(s.cfg.Addresses))
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.cfg.Addresses {
		group.Go(func() error { return s.keep(ctx, i) })
	}
	return group.Wait()
}

// keep has a link to an address, again and again.
func (s *session) keep(ctx context.Context, i int) error {
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(500*time.Millisecond), backoff.WithMaxInterval(maxPause), backoff.WithMaxElapsedTime(0))
	for {
		began := time.Now()
		err := newLink(s, i).run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.down(i, err); err != nil {
			return err
		}
		if time.Since(began) > 2*maxPause {
			wait.Reset()
		}
		if err := pause(ctx, wait.NextBackOff()); err != nil {
			return err
		}
	}
}

// pause waits for d, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// linked takes note that an address has a link.
func (s *session) linked(i int) {
	s.mu.Lock()
	s.errs[i], s.up[i] = nil, true
	s.tellLinks()
	s.mu.Unlock()
	s.says.Set(i, "")
}

// down takes note that an address has no link, and why. An error says that none has one, or that there is no use in one.
func (s *session) down(i int, err error) error {
	s.mu.Lock()
	if s.over != nil {
		s.mu.Unlock()
		return s.over
	}
	if s.up[i] && s.opts.Hooks.Lost != nil {
		s.opts.Hooks.Lost()
	}
	s.errs[i], s.up[i] = err, false
	s.tellLinks()
	var all []string
	kind := event.Invalid
	for j, err := range s.errs {
		if err == nil {
			all = nil
			break
		}
		if event.KindOf(err) != event.Invalid {
			kind = event.Unavailable
		}
		if text := s.lacks(j, err); j == 0 || text != all[len(all)-1] {
			all = append(all, text)
		}
	}
	errs := errors.Join(s.errs...)
	s.mu.Unlock()
	switch {
	case all == nil:
		s.says.Set(i, s.lacks(i, err))
		return nil
	case len(s.errs) == 1:
		return err
	}
	return &event.Error{Kind: kind, Op: "receive", Err: &broker.Explained{Text: strings.Join(all, "; "), Err: errs}}
}

func (s *session) lacks(i int, err error) string {
	return "no link to " + s.cfg.Addresses[i] + ": " + err.Error()
}

// tellLinks is called with mu held.
func (s *session) tellLinks() {
	if s.opts.Hooks.Links == nil {
		return
	}
	n := 0
	for _, up := range s.up {
		if up {
			n++
		}
	}
	s.opts.Hooks.Links(n, len(s.up))
}

// hold takes note of messages that are held from now on, or no longer.
func (s *session) hold(messages, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages, s.bytes = s.messages+messages, s.bytes+bytes
	if s.opts.Hooks.Held != nil {
		s.opts.Hooks.Held(s.messages, s.bytes)
	}
}

// emit hands over a batch of one of the links, one at a time.
func (s *session) emit(ctx context.Context, b collectors.Batch) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	b.Cursor = s.cursor()
	b.Urgent = b.Urgent || b.Cursor != nil
	err := s.emitter(ctx, b)
	if err != nil {
		s.mu.Lock()
		s.over = err
		s.mu.Unlock()
	}
	return err
}

// cursor returns the state if it changed since it was last asked for.
func (s *session) cursor() event.Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	s.dirty = false
	return s.state.cursor()
}

// reject counts a message that will be rejected once the count is durable.
func (s *session) reject(i int, why *verdict) {
	s.mu.Lock()
	s.state.Rejected[why.reason]++
	s.dirty = true
	s.rejected = time.Now()
	s.mu.Unlock()
	if s.opts.Hooks.Rejected != nil {
		s.opts.Hooks.Rejected(why.reason, 1)
	}
	s.note(conditionRejecting, "messages from "+s.cfg.Addresses[i]+" were rejected: "+why.text)
}

func (s *session) note(condition int, text string) { s.says.Set(len(s.cfg.Addresses)+condition, text) }

// calm ends the trouble about rejected messages after a while.
func (s *session) calm(now time.Time) {
	s.mu.Lock()
	over := !s.rejected.IsZero() && now.Sub(s.rejected) > rejectingFor
	if over {
		s.rejected = time.Time{}
	}
	s.mu.Unlock()
	if over {
		s.note(conditionRejecting, "")
	}
}

// showed takes note that everything of an address up to a time was handed over, and returns up to when that is so of all.
func (s *session) showed(i int, at time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown[i] = at
	least := at
	for _, t := range s.shown {
		if t.Before(least) {
			least = t
		}
	}
	return least // the zero time if one of them never was
}
