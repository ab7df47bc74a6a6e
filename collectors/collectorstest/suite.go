package collectorstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
)

// Harness is a fake event service under the test's control, and the source that reads it. The suite waits for what it
// expects and measures nothing, but for patience: the source should poll every few milliseconds, and show a few events
// per page, so that there are borders to get wrong.
type Harness struct {
	// Source builds the source anew against the same service, as a restarted process would.
	Source func() (collectors.Source, error)
	Spec   collectors.Spec
	// Put makes the service show n more events, newer than all before, and returns their identities in the order in
	// which the source is to hand them over.
	Put func(n int) []event.ID
	// Late, if set, makes the service show one more event that belongs before some that it has shown already, yet
	// within what the source promises to read back.
	Late func() event.ID
	// Fail makes the service's next n answers fail in a way that a source has to survive.
	Fail func(n int)
	// Down makes the service unreachable or refusing, until it is called with false.
	Down func(down bool)
	// Forgets says that the service forgets the events that a Done was called for, and shows all others again: it can't go
	// on from an earlier cursor than the last durable one. What was put before the source first ran is kept.
	Forgets bool
}

// patience is how long the suite waits for what a healthy source does at once.
const patience = 30 * time.Second

const (
	provider event.Provider = "conformance"
	source   event.Source   = "source"
)

type check struct {
	name string
	run  func(ctx context.Context, h Harness) error
}

func checks() []check {
	return []check{
		{"says whether its service is available", checkAvailable},
		{"hands over everything once and in order", checkOrder},
		{"goes on at every batch boundary", checkResume},
		{"loses nothing when it is killed at any commit", checkKilled},
		{"shows late events", checkLate},
		{"keeps what it promises about late events", checkPromises},
		{"skips nothing when the service fails", checkErrors},
		{"waits while the queue is full", checkBackpressure},
		{"gives signs of life while nothing happens", checkQuiet},
		{"returns when it is told to end", checkEnd},
	}
}

// TestSource checks that a source keeps the contract. build is called for each check, with an empty service.
func TestSource(t *testing.T, build func(t *testing.T) Harness) {
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			h := build(t)
			if h.Source == nil || h.Put == nil || h.Fail == nil || h.Down == nil {
				t.Fatal("the harness lacks Source, Put, Fail or Down")
			}
			if err := c.run(t.Context(), h); err != nil {
				t.Error(err)
			}
		})
	}
}

func checkAvailable(ctx context.Context, h Harness) error {
	ask := func() error {
		s, err := h.Source()
		if err != nil {
			return fmt.Errorf("build the source: %w", err)
		}
		askCtx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return s.Available(askCtx)
	}
	h.Put(3)
	if err := ask(); err != nil {
		return fmt.Errorf("the service is up, Available says: %w", err)
	}
	h.Down(true)
	if err := ask(); err == nil || err.Error() == "" {
		return errors.New("the service is down, and Available does not say why it can't serve")
	}
	h.Down(false)
	if err := ask(); err != nil {
		return fmt.Errorf("the service is up again, Available says: %w", err)
	}
	return nil
}

func checkOrder(ctx context.Context, h Harness) error {
	log := NewLog()
	want := h.Put(57)
	for _, n := range []int{0, 1, 20} {
		want = append(want, h.Put(n)...)
		if err := collect(ctx, h, log, want); err != nil {
			return err
		}
	}
	for _, e := range log.Events(provider) {
		if e.Format == "" {
			return fmt.Errorf("event %q has no format, so nothing can convert it", e.ID)
		}
		if len(e.Body) == 0 {
			return fmt.Errorf("event %q has no body", e.ID)
		}
	}
	return sameIDs(log.IDs(provider), want)
}

func checkKilled(ctx context.Context, h Harness) error {
	log := NewLog()
	killed := make(chan struct{}, 1)
	commits := 0
	log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
		commits++
		if commits > 12 {
			return true, nil
		}
		select {
		case killed <- struct{}{}:
		default:
		}
		// Killed before the commit, or after it and before anyone knew.
		return commits%2 == 0, errors.New("killed")
	}
	want := h.Put(31)
	for range 12 {
		want = append(want, h.Put(1)...)
		if err := runUntil(ctx, h, log, func(waitCtx context.Context) error {
			select {
			case <-killed:
				return nil
			case <-waitCtx.Done():
				return waitCtx.Err()
			}
		}); err != nil {
			return fmt.Errorf("nothing was committed: %w", err)
		}
	}
	if err := collect(ctx, h, log, want); err != nil {
		return err
	}
	return sameIDs(log.IDs(provider), want)
}

func checkLate(ctx context.Context, h Harness) error {
	if h.Late == nil {
		return nil
	}
	log := NewLog()
	want := h.Put(7)
	if err := collect(ctx, h, log, want); err != nil {
		return err
	}
	for range 3 {
		want = append(want, h.Late())
		if err := collect(ctx, h, log, want); err != nil {
			return fmt.Errorf("after a late event: %w", err)
		}
		want = append(want, h.Put(2)...)
		if err := collect(ctx, h, log, want); err != nil {
			return fmt.Errorf("after a late event: %w", err)
		}
	}
	return sameIDs(log.IDs(provider), want)
}

func checkErrors(ctx context.Context, h Harness) error {
	log := NewLog()
	var want []event.ID
	for n := range 4 {
		h.Fail(n)
		want = append(want, h.Put(11)...)
		if err := collect(ctx, h, log, want); err != nil {
			return fmt.Errorf("after %d failed answers: %w", n, err)
		}
	}
	h.Down(true)
	want = append(want, h.Put(5)...)
	// A second failure shows that the first did not end everything.
	if err := failTwice(ctx, h, log); err != nil {
		return err
	}
	h.Down(false)
	if err := collect(ctx, h, log, want); err != nil {
		return fmt.Errorf("after the service was down: %w", err)
	}
	return sameIDs(log.IDs(provider), want)
}

// failTwice runs the source against a service that is down, until it has failed twice.
func failTwice(ctx context.Context, h Harness, log *Log) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for range 2 {
		l, err := newLoop(h, log)
		if err != nil {
			return err
		}
		if err := l.Run(ctx); err == nil {
			return errors.New("the service is down, and Run does not fail")
		}
	}
	return nil
}

// collect runs the source in a Loop, again after each error, until the Log has as many events as wanted, and then for
// as long as the source takes to show that it has nothing more.
func collect(ctx context.Context, h Harness, log *Log, want []event.ID) error {
	err := runUntil(ctx, h, log, func(ctx context.Context) error {
		return log.Wait(ctx, func() bool { return len(log.IDs(provider)) >= len(want) })
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, sameIDs(log.IDs(provider), want))
	}
	return nil
}

// runUntil runs the source in a Loop, again after each error, until the condition returns.
func runUntil(ctx context.Context, h Harness, log *Log, condition func(ctx context.Context) error) error {
	waitCtx, cancelWait := context.WithTimeout(ctx, patience)
	defer cancelWait()
	runCtx, cancelRun := context.WithCancel(waitCtx)
	defer cancelRun()
	ended := make(chan error, 1)
	go func() { ended <- runAgain(runCtx, h, log) }()
	err := condition(waitCtx)
	cancelRun()
	return errors.Join(err, <-ended)
}

// runAgain runs Loops, with a fresh source each, until ctx ends.
func runAgain(ctx context.Context, h Harness, log *Log) error {
	for ctx.Err() == nil {
		l, err := newLoop(h, log)
		if err != nil {
			return err
		}
		if l.Run(ctx) == nil {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

func newLoop(h Harness, log *Log) (*collectors.Loop, error) {
	s, err := h.Source()
	if err != nil {
		return nil, fmt.Errorf("build the source: %w", err)
	}
	return &collectors.Loop{
		Provider: provider, Name: source, Source: s, Spec: h.Spec,
		Writer: log.NewWriter(provider, source, event.Fence{}), Memory: log,
		// A queue that holds one batch makes each batch a commit of its own.
		Options: collectors.Options{QueueBytes: 1, Heartbeat: 10 * time.Millisecond}, Log: zerolog.Nop(),
	}, nil
}

// sameIDs tells how got differs from want.
func sameIDs(got, want []event.ID) error {
	if slices.Equal(got, want) {
		return nil
	}
	count := map[event.ID]int{}
	for _, id := range got {
		if count[id]++; count[id] == 2 {
			return fmt.Errorf("event %q came twice", id)
		}
	}
	for _, id := range want {
		if count[id] == 0 {
			return fmt.Errorf("event %q is missing (%d of %d came)", id, len(got), len(want))
		}
	}
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			return fmt.Errorf("event %d is %q, which is out of order or was never put", i, got[i])
		}
	}
	return errors.New("events are missing at the end")
}
