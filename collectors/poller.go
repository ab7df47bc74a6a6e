package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"stackstream/event"
)

const (
	// pollTries is how often a run is tried until its failure ends the source, and so becomes visible.
	pollTries = 3
	// pollPatience is the longest pause within a run; who asks for more makes it fail.
	pollPatience = 30 * time.Second
)

// Poller makes a Source's Run of one function that asks the service once.
//
// The first run begins at once, the others Every apart. A run that takes longer makes the ones it covers fall out; it
// delays no later one, and runs never overlap. A run that fails with a transient error (kind event.Unavailable, or a
// RetryAfter) is tried again after a short pause, from the last batch it handed over, until it failed three times
// without moving its cursor in between. Any other failure ends Run at once with the error: the Collector shows it,
// waits, and begins again behind what is durable. So a service that refuses shows in the status after seconds, and one
// hiccup does not.
type Poller struct {
	// Every is the time from the beginning of one run to that of the next.
	Every time.Duration
	// Jitter delays each run but the first by a random time below it (and below half of Every), so that many pollers
	// do not ask at once.
	Jitter time.Duration
	// MaxRun ends a run that takes longer, not counting the time that it waits in emit.
	MaxRun time.Duration
	// Fetch is one run: it hands over everything after from that the service shows now, and returns nil when it has
	// seen all of it. An error ends the run; what was handed over before stays.
	Fetch func(ctx context.Context, from event.From, emit Emit) error
}

// Quiet is the longest time in which a healthy poller hands over nothing: the value for Spec.Quiet. Every completed run
// hands over at least an empty batch, and three times as long, which the loop waits, has room for a run's retries.
func (p *Poller) Quiet() time.Duration { return p.Every + p.Jitter + p.MaxRun + pollPatience }

// Run polls until ctx ends (nil) or a run fails.
func (p *Poller) Run(ctx context.Context, from event.From, emit Emit) error {
	start := time.Now()
	for {
		err := apart(func() error { return p.poll(ctx, &from, emit) })
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		next := p.Every - time.Since(start)%p.Every
		if jitter := min(p.Jitter, p.Every/2); jitter > 0 {
			next += rand.N(jitter)
		}
		if pause(ctx, next) != nil {
			return nil
		}
	}
}

// poll is one run with its retries.
func (p *Poller) poll(ctx context.Context, from *event.From, emit Emit) error {
	wait := newBackOff(10 * time.Second)
	for try := 1; ; try++ {
		began := from.Cursor
		emitted, err := p.once(ctx, from, emit)
		if err == nil && !emitted {
			err = emit(ctx, Batch{})
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !bytes.Equal(began, from.Cursor) {
			try = 1
			wait.Reset()
		}
		delay := pauseFor(wait, err)
		if try >= pollTries || delay > pollPatience || !transient(err) {
			return err
		}
		if err := pause(ctx, delay); err != nil {
			return err
		}
	}
}

// once calls Fetch, moves from along with what it hands over, and tells whether it handed over anything.
func (p *Poller) once(ctx context.Context, from *event.From, emit Emit) (emitted bool, err error) {
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tooLong := &event.Error{
		Kind: event.Unavailable, Op: "poll", Err: fmt.Errorf("the run took longer than %s", p.MaxRun),
	}
	left, since := p.MaxRun, time.Now()
	timer := time.AfterFunc(left, func() { cancel(tooLong) })
	defer timer.Stop()
	err = p.Fetch(runCtx, *from, func(_ context.Context, b Batch) error {
		timer.Stop()
		left -= time.Since(since)
		// The outer ctx: a batch that was read is handed over, however long the queue is full.
		if err := emit(ctx, b); err != nil {
			return err
		}
		emitted = true
		if b.Cursor != nil {
			from.Cursor = b.Cursor
		}
		from.Floor = later(from.Floor, b.Floor)
		since = time.Now()
		timer.Reset(left)
		return nil
	})
	if err != nil && errors.Is(context.Cause(runCtx), tooLong) {
		err = tooLong
	}
	return emitted, err
}

// transient tells whether asking again soon may help.
func transient(err error) bool {
	var asked *RetryAfter
	return errors.Is(err, event.Unavailable) || errors.As(err, &asked)
}

// newBackOff pauses 1 s at first and about most at last, for ever.
func newBackOff(most time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(most),
		backoff.WithMaxElapsedTime(0),
	)
}

// pauseFor is the next pause after err: longer where the service asked for it.
func pauseFor(wait backoff.BackOff, err error) time.Duration {
	delay := wait.NextBackOff()
	var asked *RetryAfter
	if errors.As(err, &asked) {
		delay = max(delay, asked.After)
	}
	return delay
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
