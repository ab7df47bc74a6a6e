package backfill

import (
	"context"
	"fmt"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

var _ collectors.Source = (*run)(nil)

// Available asks the service.
func (r *run) Available(ctx context.Context) error { return r.Service.Available(ctx) }

// Run makes the job its own, reads the service to the end of the range, and says that it is done. An error is the service's, but
// where r.fatal is set.
func (r *run) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	if !r.claimed {
		if err := r.claim(ctx, from, emit); err != nil {
			return err
		}
		r.claimed = true
	}
	err := r.Service.ReadPast(ctx, event.From{Cursor: r.state.At}, func(ctx context.Context, b collectors.Batch) error {
		return r.hand(ctx, b, emit)
	})
	if err != nil {
		return err
	}
	given, err := r.Deps.Archive.GivenUp(ctx, r.Provider)
	switch {
	case event.KindOf(err) == event.Expired:
		r.fatal = fmt.Errorf("%w; %w", err, errReadAgain)
		return r.fatal
	case err != nil:
		return err
	case !given.At.Equal(r.state.Accepted):
		r.fatal = errGivenUp
		return r.fatal
	}
	done := r.state
	done.Done, done.At = time.Now().UTC(), nil
	if err := r.put(ctx, emit, done, true); err != nil {
		return err
	}
	r.finished = true
	return nil
}

// claim writes the record, so that whoever worked on the job before is fenced, and others see it. What came to RAW since it was
// looked at is read then: another job may have begun and ended in between.
func (r *run) claim(ctx context.Context, from event.From, emit collectors.Emit) error {
	if len(from.Cursor) > 0 {
		s, err := ReadState(from.Cursor)
		if err == nil && s.Removed.IsZero() {
			s.since(r.held.given)
		}
		switch {
		case err != nil:
			r.fatal = err
			return err
		case !s.Removed.IsZero():
		case s.Over(), !s.From.Equal(r.From), !s.To.Equal(r.To), s.Service != r.Kind:
			r.fatal = r.fenced("another process was at work on the job, and has ended")
			return r.fatal
		default:
			s.Run, s.AllowDuplicates = r.state.Run, r.state.AllowDuplicates
			r.set(s)
		}
	}
	if err := r.put(ctx, emit, r.state, false); err != nil {
		return err
	}
	cursors, err := r.Deps.Memory.Cursors(ctx, r.Provider)
	if err != nil {
		return err
	}
	own := cursors[r.source]
	// Of two jobs that claim at once the later one sees the other's claim.
	if cursors, err = r.Deps.Memory.CursorsAsOf(ctx, r.Provider, own.Sequence); err != nil {
		return err
	}
	r.mu.Lock()
	r.before = uint64(own.Position - r.state.Base)
	r.mu.Unlock()
	if err := r.rivals(cursors); err != nil {
		r.fatal = err
		if r.before == 0 {
			gone := r.state
			gone.Removed = time.Now().UTC()
			_ = r.put(ctx, emit, gone, true) // else it is in the way until somebody removes it
		}
		return err
	}
	upTo := own.Sequence
	for _, c := range cursors {
		upTo = max(upTo, c.Sequence)
	}
	if err := r.held.readRaw(ctx, r.Job, r.held.upTo+1, upTo); err != nil {
		return err
	}
	r.tell()
	return nil
}

// put hands over a state and waits until it is durable.
func (r *run) put(ctx context.Context, emit collectors.Emit, s State, retired bool) error {
	cursor, err := s.encode()
	if err != nil {
		return err
	}
	durable := make(chan struct{})
	err = emit(ctx, collectors.Batch{Cursor: cursor, Urgent: true, Retired: retired, Done: func() { close(durable) }})
	if err != nil {
		return err
	}
	select {
	case <-durable:
		r.set(s)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *run) set(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = s
}

// hand hands over what of a batch is missing.
func (r *run) hand(ctx context.Context, b collectors.Batch, emit collectors.Emit) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	next, missing, undo := r.sift(b)
	cursor, err := next.encode()
	if err == nil {
		err = emit(ctx, collectors.Batch{Events: missing, Cursor: cursor, Filtered: b.Filtered})
	}
	if err != nil {
		undo()
		return err
	}
	r.handed += uint64(len(missing))
	r.took(next, b)
	return nil
}

// took notes that a batch was dealt with.
func (r *run) took(next State, b collectors.Batch) {
	r.mu.Lock()
	if r.state = next; b.Floor.After(r.at) {
		r.at = b.Floor
	}
	r.mu.Unlock()
	r.tell()
}

// sift returns what of a batch is of the range and not held, and the state behind it. It is held then; undo takes that back.
func (r *run) sift(b collectors.Batch) (next State, missing []event.Raw, undo func()) {
	next = r.state
	if b.Cursor != nil {
		next.At = b.Cursor
	}
	type change struct {
		id    identity
		known bool
	}
	var changes []change
	for _, e := range b.Events {
		if !e.Time.IsZero() && (e.Time.Before(r.From) || !e.Time.Before(r.To)) {
			continue
		}
		if e.ID == "" {
			e.ID, e.Hashed = event.HashID(e.Body), true
		}
		id := identityOf(e.ID)
		is, known := r.held.marks[id]
		if is == shown && known {
			continue // it was read twice
		}
		r.held.marks[id] = shown
		changes = append(changes, change{id, known})
		switch timeless := e.Time.IsZero() && !r.Timeless; {
		case timeless && known:
		case timeless:
			next.Timeless++
		case known:
			next.Shown++
			next.There++
		default:
			next.Shown++
			e.Backfill = r.Name
			missing = append(missing, e)
		}
	}
	return next, missing, func() {
		for _, c := range changes {
			if delete(r.held.marks, c.id); c.known {
				r.held.marks[c.id] = streams
			}
		}
	}
}

// look sees to it now and then that no live source is there that has not promised what is needed: one may be new.
func (r *run) look(ctx context.Context) error {
	if r.AllowDuplicates || time.Since(r.looked) < lookAgain {
		return nil
	}
	cursors, err := r.Deps.Memory.Cursors(ctx, r.Provider)
	if err != nil {
		return err
	}
	if err := r.late(r.choice, cursors); err != nil {
		r.fatal = err
		return err
	}
	r.looked = time.Now()
	return nil
}

// Try asks the service as Run does, and writes nothing: missing is called for what would be added.
func (j *Job) Try(ctx context.Context, o Outlook, missing func(event.Raw)) (Progress, error) {
	r := j.start(o)
	r.state.At = nil // all of it
	for id := range j.held.marks {
		j.held.marks[id] = streams // what the job itself has added, too
	}
	r.state.Shown, r.state.There, r.state.Timeless = 0, 0, 0
	wait := newBackOff()
	for {
		read := r.state.Shown
		err := r.Service.ReadPast(ctx, event.From{Cursor: r.state.At}, func(_ context.Context, b collectors.Batch) error {
			next, events, _ := r.sift(b)
			for _, e := range events {
				missing(e)
			}
			r.took(next, b)
			return ctx.Err()
		})
		switch {
		case err == nil:
			return r.progress(), nil
		case ctx.Err() != nil:
			return r.progress(), context.Cause(ctx)
		case event.KindOf(err) == event.Invalid:
			return r.progress(), err
		}
		if r.state.Shown > read {
			wait.Reset()
		}
		if err := r.pause(ctx, err, wait); err != nil {
			return r.progress(), err
		}
	}
}
