package collectors

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"stackstream/event"
)

// A commit takes at most this much of what is queued, but at least one batch.
const (
	commitEvents = 500
	commitBytes  = 1 << 20
)

// maxWaiting is how many Done may wait for the cursor to be written.
const maxWaiting = 500

// waiting is a Done that was not called yet.
type waiting struct {
	done    func()
	undone  func() // in its place when the run ends
	settled bool   // it needs no commit, only those before it
}

// written is the outcome of a commit.
type written struct {
	events   []event.Raw
	progress event.Progress
	seqs     []event.StreamSeq
	took     time.Duration
	err      error
}

// emit is the source's Emit.
func (r *run) emit(ctx context.Context, b Batch) error {
	r.busy.enter()
	defer r.busy.leave()
	if len(b.Events) > 0 || r.sharing != nil {
		if r.forgetting = r.remember(ctx); r.forgetting != nil {
			return r.forgetting
		}
	}
	it, hashed := r.admit(b)
	if err := r.queue.put(ctx, it); err != nil {
		r.seen.takeBack(len(it.events))
		return err
	}
	count(r.Hooks.Duplicates, r.Provider, r.Name, len(b.Events)-len(it.events))
	count(r.Hooks.Filtered, r.Provider, r.Name, b.Filtered)
	count(r.Hooks.Hashed, r.Provider, r.Name, hashed)
	return nil
}

// admit completes the events of a batch and removes those that are known, without touching the batch's slice: a batch
// that finds no room stays the source's.
func (r *run) admit(b Batch) (it item, hashed int) {
	it = item{
		cursor: b.Cursor, watermark: b.Watermark, floor: b.Floor, done: b.Done, undone: b.Undone,
		urgent: b.Urgent, retired: b.Retired, bytes: overhead + len(b.Cursor),
	}
	now := time.Now()
	it.events = make([]event.Raw, 0, len(b.Events))
	was, stored := event.ID(""), false
	for _, e := range b.Events {
		if e.Was != was { // asked once for all that came together: one of them may have that very identity
			was, stored = e.Was, e.Was != "" && r.seen.has(e.Was)
		}
		if stored {
			continue
		}
		if e.ID == "" {
			e.ID, e.Hashed = event.HashID(e.Body), true
		}
		if e.Received.IsZero() {
			e.Received = now
		}
		if !r.seen.add(e.ID, e.Time) {
			continue
		}
		if e.Hashed {
			hashed++
		}
		it.bytes += size(&e)
		if e.Time.Before(e.Received) {
			it.newest = later(it.newest, e.Time)
		} else {
			it.newest = later(it.newest, e.Received)
		}
		it.events = append(it.events, e)
	}
	it.settled = len(b.Events) > 0 && len(it.events) == 0
	return it, hashed
}

// size is what an event takes in memory, roughly.
func size(e *event.Raw) int {
	n := overhead + len(e.Body) + len(e.ID)
	for name, value := range e.Header {
		n += len(name) + len(value)
	}
	return n
}

// commitNext takes what is queued and starts a commit if there is something to write.
func (r *run) commitNext(ctx context.Context) {
	for r.phase != failed {
		items := r.queue.take(commitEvents, commitBytes)
		events := r.fold(items)
		if len(events) > 0 || r.due(len(items) == 0) {
			r.write(ctx, events)
			return
		}
		moved := r.moved()
		r.urgent = r.urgent && moved
		r.callDone(!moved)
		if len(items) == 0 {
			return
		}
	}
}

// fold adds what the items say to what the next commit will say.
func (r *run) fold(items []item) []event.Raw {
	var events []event.Raw
	all := 0
	for i := range items {
		all += len(items[i].events)
	}
	for i := range items {
		it := &items[i]
		if r.sharing != nil && len(it.events) > 0 {
			n := len(it.events)
			it.events = r.seen.shed(len(events), it.events, 0)
			count(r.Hooks.Duplicates, r.Provider, r.Name, n-len(it.events))
			it.settled = len(it.events) == 0
		}
		if len(it.events) == all {
			events = it.events
		} else {
			events = append(slices.Grow(events, all-len(events)), it.events...)
		}
		if it.cursor != nil {
			r.next.Cursor, r.next.Retired = it.cursor, it.retired
		}
		r.urgent = r.urgent || it.urgent
		r.next.Watermark = later(r.next.Watermark, it.watermark)
		r.next.Newest = later(r.next.Newest, it.newest)
		r.next.Floor = later(r.next.Floor, it.floor)
		if it.done != nil {
			r.waiting = append(r.waiting, waiting{it.done, it.undone, it.settled})
		}
	}
	if len(items) > 0 && !r.live && r.phase == reading {
		r.live = true
		r.report(event.StateLive, "")
	}
	return events
}

func (r *run) moved() bool {
	return !bytes.Equal(r.next.Cursor, r.saved.Cursor) || !r.next.Watermark.Equal(r.saved.Watermark) ||
		!r.next.Floor.Equal(r.saved.Floor) || r.next.Retired != r.saved.Retired
}

// due tells whether a cursor that moved without events is to be written now.
func (r *run) due(queueEmpty bool) bool {
	switch {
	case !r.moved():
		return false
	case r.phase != reading:
		return queueEmpty
	default:
		return !r.exists || r.urgent || len(r.waiting) >= maxWaiting || time.Since(r.wroteAt) >= r.opt.Heartbeat
	}
}

func (r *run) write(ctx context.Context, events []event.Raw) {
	w := written{events: events, progress: r.next}
	if r.remembers.Load() {
		w.progress.DedupeFrom = r.seen.from(r.last)
	}
	r.writing, r.urgent = true, false
	start := time.Now()
	go func() {
		w.err = r.commit(ctx, &w)
		w.took = time.Since(start)
		r.committed <- w
	}()
}

// settle does what follows a commit.
func (r *run) settle(w written) {
	if w.err == nil && len(w.seqs) != len(w.events) {
		w.err = &event.Error{
			Kind: event.Invalid, Op: "commit", Err: fmt.Errorf("%d sequences for %d events", len(w.seqs), len(w.events)),
		}
	}
	if w.err != nil {
		if r.phase == stopping {
			r.Log.Warn().Err(w.err).Str("provider", string(r.Provider)).Str("source", string(r.Name)).
				Msg("stopped before the last batch was durable; it will be read again")
		}
		r.end(failed, fmt.Errorf("commit: %w", w.err))
		return
	}
	r.seen.durable(w.seqs, w.progress.Floor)
	r.sayRemembered()
	r.saved, r.wroteAt, r.exists = w.progress, time.Now(), true
	if n := len(w.seqs); n > 0 {
		r.last = w.seqs[n-1]
	}
	c := Commit{Events: len(w.events), Took: w.took, Progress: w.progress}
	for i := range w.events {
		c.Bytes += len(w.events[i].Body)
	}
	r.Hooks.committed(r.Provider, r.Name, c)
	r.callDone(true)
}

// callUndone tells those batches that will not be called Done.
func (r *run) callUndone(dropped []item) {
	for _, w := range r.waiting {
		undo(w.undone)
	}
	r.waiting = nil
	for i := range dropped {
		undo(dropped[i].undone)
	}
}

func undo(undone func()) {
	if undone != nil {
		_ = guard(func() error { undone(); return nil }) // the run is over as it is
	}
}

// callDone calls those Done whose batches are durable, in order: all of them, or those from the front that need no
// commit.
func (r *run) callDone(all bool) {
	n := 0
	for n < len(r.waiting) && (all || r.waiting[n].settled) {
		done := r.waiting[n].done
		n++
		if err := guard(func() error { done(); return nil }); err != nil {
			r.end(finishing, fmt.Errorf("acknowledge upstream: %w", err))
		}
	}
	r.waiting = r.waiting[n:]
}
