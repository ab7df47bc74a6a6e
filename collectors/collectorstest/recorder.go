package collectorstest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// recorder takes batches in place of the loop, and checks what a source promises with each.
type recorder struct {
	gate chan struct{} // if set, emit waits until it is closed
	keep int           // if not negative, only so many batches become durable; the others are lost

	mu      sync.Mutex
	changed chan struct{}
	inside  bool
	calls   int // emits begun
	batches []collectors.Batch
	from    event.From
	mark    time.Time
	order   []event.ID // identities in the order of their first appearance
	known   map[event.ID]int
	repeats int
	lost    int // batches
	broken  error
}

func newRecorder(spec collectors.Spec) *recorder {
	return &recorder{keep: -1, changed: make(chan struct{}), known: map[event.ID]int{}, repeats: spec.Repeats}
}

func (r *recorder) emit(ctx context.Context, b collectors.Batch) error {
	r.change(func() {
		if r.inside {
			r.broken = errors.New("emit is called by two goroutines at a time")
		}
		r.inside = true
		r.calls++
	})
	defer r.change(func() { r.inside = false })
	if r.gate != nil {
		select {
		case <-r.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.change(func() {
		if r.keep >= 0 && len(r.batches) >= r.keep {
			r.lost++
			return
		}
		r.take(b)
		if b.Done != nil {
			b.Done()
		}
	})
	return nil
}

func (r *recorder) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// take records a batch as durable.
func (r *recorder) take(b collectors.Batch) {
	for _, e := range b.Events {
		id := e.ID
		if id == "" {
			id = event.HashID(e.Body)
		}
		at, again := r.known[id]
		switch {
		case !again:
			r.known[id] = len(r.order)
			r.order = append(r.order, id)
			if !e.Time.IsZero() && e.Time.Before(r.mark) {
				r.fail("event %q of %s comes after the watermark %s promised that all before it was shown", id, e.Time, r.mark)
			}
		case !e.Time.IsZero() && e.Time.Before(r.from.Floor) && len(r.order)-at > r.repeats:
			r.fail("event %q of %s comes again, below the floor %s", id, e.Time, r.from.Floor)
		}
		if e.Time.After(r.from.Newest) {
			r.from.Newest = e.Time
		}
	}
	if !b.Floor.IsZero() && b.Floor.Before(r.from.Floor) {
		r.fail("the floor went back from %s to %s", r.from.Floor, b.Floor)
	}
	if b.Cursor != nil {
		r.from.Cursor = b.Cursor
	}
	if b.Floor.After(r.from.Floor) {
		r.from.Floor = b.Floor
	}
	if b.Watermark.After(r.mark) {
		r.mark = b.Watermark
	}
	r.batches = append(r.batches, b)
}

func (r *recorder) fail(format string, args ...any) {
	if r.broken == nil {
		r.broken = fmt.Errorf(format, args...)
	}
}

// wait returns when the condition holds.
func (r *recorder) wait(ctx context.Context, condition func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		r.mu.Lock()
		changed, holds, broken := r.changed, condition(), r.broken
		r.mu.Unlock()
		if holds || broken != nil {
			return broken
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// running is a Run of the source outside a loop.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

// start runs the source, again after an error from where the recorder stands.
func start(ctx context.Context, h Harness, r *recorder, from event.From) (*running, error) {
	s, err := h.Source()
	if err != nil {
		return nil, fmt.Errorf("build the source: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	run := &running{cancel: cancel, ended: make(chan error, 1)}
	go func() { run.ended <- s.Run(ctx, from, r.emit) }()
	return run, nil
}

// returned tells the source to end, and waits until Run has returned; ok is false if it does not.
func (run *running) returned() (failure error, ok bool) {
	run.cancel()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-run.ended:
		return err, true
	case <-timer.C:
		return nil, false
	}
}

// end tells the source to end and checks how it does.
func (run *running) end() error {
	err, ok := run.returned()
	switch {
	case !ok:
		return errors.New("ctx has ended, and Run does not return")
	case err != nil:
		return fmt.Errorf("ctx has ended, and Run returns an error: %w", err)
	default:
		return nil
	}
}

func checkResume(ctx context.Context, h Harness) error {
	if h.Forgets {
		return checkResumeWhereLost(ctx, h)
	}
	want := h.Put(30)
	first := newRecorder(h.Spec)
	run, err := start(ctx, h, first, event.From{})
	if err != nil {
		return err
	}
	err = first.wait(ctx, func() bool { return len(first.order) >= len(want) })
	if err := errors.Join(err, run.end(), sameIDs(first.order, want)); err != nil {
		return fmt.Errorf("first run: %w", err)
	}
	for cut := range first.batches {
		want = append(want, h.Put(1)...)
		if err := resume(ctx, h, first.batches[:cut+1], want); err != nil {
			return fmt.Errorf("restarted behind batch %d of %d: %w", cut+1, len(first.batches), err)
		}
	}
	return nil
}

// checkResumeWhereLost kills the source behind a growing number of batches, each time with what it has handed over since
// and nobody knows of.
func checkResumeWhereLost(ctx context.Context, h Harness) error {
	r := newRecorder(h.Spec)
	var want []event.ID
	for more := range 10 {
		want = append(want, h.Put(13)...)
		r.keep = len(r.batches) + more
		before := r.lost
		if err := r.runUntil(ctx, h, func() bool { return r.lost > before }); err != nil {
			return fmt.Errorf("killed behind batch %d: %w", r.keep, err)
		}
		durable := r.keep
		r.keep = -1
		err := r.runUntil(ctx, h, func() bool { return len(r.order) >= len(want) })
		if err := errors.Join(err, sameIDs(r.order, want)); err != nil {
			return fmt.Errorf("restarted behind batch %d: %w", durable, err)
		}
	}
	return nil
}

// runUntil runs the source from where the recorder stands until the condition holds.
func (r *recorder) runUntil(ctx context.Context, h Harness, condition func() bool) error {
	run, err := start(ctx, h, r, r.from)
	if err != nil {
		return err
	}
	return errors.Join(r.wait(ctx, condition), run.end())
}

// resume starts the source behind the batches that are durable.
func resume(ctx context.Context, h Harness, durable []collectors.Batch, want []event.ID) error {
	r := newRecorder(h.Spec)
	for _, b := range durable {
		r.take(b)
	}
	run, err := start(ctx, h, r, r.from)
	if err != nil {
		return err
	}
	err = r.wait(ctx, func() bool { return len(r.order) >= len(want) })
	return errors.Join(err, run.end(), sameIDs(r.order, want))
}

// checkPromises leaves it to the recorder to find a broken promise.
func checkPromises(ctx context.Context, h Harness) error {
	r := newRecorder(h.Spec)
	run, err := start(ctx, h, r, event.From{})
	if err != nil {
		return err
	}
	want := 0
	for range 3 {
		want += len(h.Put(9))
		if err = r.wait(ctx, func() bool { return len(r.order) >= want }); err != nil {
			break
		}
		if h.Late == nil {
			continue
		}
		h.Late()
		want++
		if err = r.wait(ctx, func() bool { return len(r.order) >= want }); err != nil {
			break
		}
	}
	return errors.Join(err, run.end(), r.broken)
}

// misbehave is how long a source that does not wait for emit has to show it.
const misbehave = 50 * time.Millisecond

func checkBackpressure(ctx context.Context, h Harness) error {
	r := newRecorder(h.Spec)
	r.gate = make(chan struct{})
	want := h.Put(40)
	run, err := start(ctx, h, r, event.From{})
	if err != nil {
		return err
	}
	if err := r.wait(ctx, func() bool { return r.inside }); err != nil {
		return errors.Join(fmt.Errorf("nothing is handed over: %w", err), run.end())
	}
	<-time.After(misbehave)
	if err := run.end(); err != nil {
		return fmt.Errorf("while emit waits: %w", err)
	}
	if r.broken != nil {
		return r.broken
	}
	if len(r.order) > 0 || r.calls > 1 {
		return fmt.Errorf("emit had an error, and the source called it again (%d calls)", r.calls)
	}
	run, err = start(ctx, h, r, event.From{})
	if err != nil {
		return err
	}
	err = r.wait(ctx, func() bool { return r.inside })
	close(r.gate)
	if err == nil {
		err = r.wait(ctx, func() bool { return len(r.order) >= len(want) })
	}
	return errors.Join(err, run.end(), sameIDs(r.order, want))
}

func checkQuiet(ctx context.Context, h Harness) error {
	if h.Spec.Quiet <= 0 {
		return nil
	}
	r := newRecorder(h.Spec)
	want := h.Put(4)
	run, err := start(ctx, h, r, event.From{})
	if err != nil {
		return err
	}
	err = r.wait(ctx, func() bool { return len(r.order) >= len(want) })
	seen := 0
	if err == nil {
		err = r.wait(ctx, func() bool {
			if seen == 0 {
				seen = r.calls
			}
			return r.calls >= seen+3
		})
	}
	if err != nil {
		err = fmt.Errorf("nothing is handed over while nothing happens, not even an empty batch: %w", err)
	}
	return errors.Join(err, run.end())
}

func checkEnd(ctx context.Context, h Harness) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	r := newRecorder(h.Spec)
	want := h.Put(4)
	run, err := start(ended, h, r, event.From{})
	if err != nil {
		return err
	}
	if err := run.end(); err != nil {
		return fmt.Errorf("ctx had ended before: %w", err)
	}
	if run, err = start(ctx, h, r, event.From{}); err != nil {
		return err
	}
	err = r.wait(ctx, func() bool { return len(r.order) >= len(want) })
	if err := errors.Join(err, run.end()); err != nil {
		return fmt.Errorf("while nothing happens: %w", err)
	}
	h.Down(true)
	if run, err = start(ctx, h, r, r.from); err != nil {
		return err
	}
	// It may return an error here, if it noticed first that the service is down.
	if _, ok := run.returned(); !ok {
		return errors.New("the service is down, ctx has ended, and Run does not return")
	}
	return nil
}
