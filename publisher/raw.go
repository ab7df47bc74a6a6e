package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stackstream/event"
)

// Raw writes the raw events of one source to RAW, each numbered, in order and once, with the source's progress behind
// them. It is fenced: a writer that another one has overtaken stores nothing. It is not safe for concurrent use.
type Raw struct {
	writer
	provider event.Provider
	source   event.Source
	cursor   event.RawCursor
}

// NewRaw makes a writer for one source of a provider. A fence with a Subject refuses every batch with events once
// another message than fence.Sequence is the last on it. The writer must be opened before use.
func NewRaw(log Log, bodies Bodies, p event.Provider, s event.Source, fence event.Fence, opts Options) *Raw {
	return &Raw{
		writer:   newWriter(log, bodies, event.RawCursorSubject(p, s), fence, opts),
		provider: p, source: s,
	}
}

// Share has the writer share its events with other sources of the provider that do: a batch with events is refused with an
// *event.OvertakenError while there are some of another source that this one was not told of. It must be called before Open.
func (r *Raw) Share() { r.shared.subject = event.SharedSubject(r.provider) }

// Look returns the *event.OvertakenError that a batch with events would be refused with, nil if it would not.
func (r *Raw) Look(ctx context.Context) error {
	if err := r.mustBeOpen(); err != nil || r.shared.subject == "" {
		return err
	}
	over, err := r.look(ctx, 0)
	if over != nil {
		return over
	}
	return err
}

// Open reads where the source stands; a source that never committed has the zero cursor. It asks once and returns what
// the Log returned, or event.Paused. It must be called first and again after every error of Commit.
func (r *Raw) Open(ctx context.Context) (event.RawCursor, error) {
	var c event.RawCursor
	if err := r.open(ctx, &c); err != nil {
		return event.RawCursor{}, err
	}
	if err := c.Paused.Err(); err != nil {
		r.opened = false
		return event.RawCursor{}, err
	}
	c.Sequence, c.Shared = r.expect, r.shared.expect
	r.cursor = c
	return c, nil
}

// Commit stores the events, in order and once, together with the progress behind them, and returns the stream sequence
// of each event. Without events it stores the progress alone. What p leaves zero stays as it was, but for DedupeFrom;
// Watermark, Newest and Floor do not move back.
//
// Events that are more than one batch are stored in several. All but the last advance the position alone: they keep the
// rest of the progress, and the lower DedupeFrom, so that a source that starts again from there repeats events, and
// skips none.
//
// Commit waits while the stream or the object store is full or can't be reached, as long as ctx lasts. Its errors are
// event.Fenced (another writer has written, or the fence has moved), event.Invalid, and ctx's. After any of them the
// caller does not know how many of the events are stored, and the writer is closed: Open tells, by the position. A writer that
// shares may also return an *event.OvertakenError, which says how many are stored, and stays open.
func (r *Raw) Commit(ctx context.Context, events []event.Raw, p event.Progress) (at []event.StreamSeq, err error) {
	if err := r.mustBeOpen(); err != nil {
		return nil, err
	}
	defer func() {
		stored := at
		if err != nil {
			at = nil
		}
		if over := (*event.OvertakenError)(nil); errors.As(err, &over) {
			over.Stored = stored
			r.calm()
			return
		}
		r.end(err)
	}()
	for i := range events {
		if events[i].ID == "" {
			return nil, r.invalid(fmt.Errorf("event %d of %d has no id", i+1, len(events)))
		}
	}
	at = make([]event.StreamSeq, 0, len(events))
	for {
		n := r.take(events)
		more, err := r.commit(ctx, events[:n], p, n == len(events), at)
		if err != nil {
			return at, err
		}
		at = more
		if events = events[n:]; len(events) == 0 {
			return at, nil
		}
	}
}

// take says how many of the events go into the next batch.
func (r *Raw) take(events []event.Raw) int {
	n, bytes := 0, 0
	for n < len(events) && n < r.limits.Events {
		size := len(events[n].Body)
		if size > r.maxBody {
			size = 0 // it goes to an object
		}
		if n > 0 && bytes+size > r.limits.Bytes {
			break
		}
		bytes += size
		n++
	}
	return n
}

// commit stores one batch and appends the sequences of its events to at.
func (r *Raw) commit(
	ctx context.Context, events []event.Raw, p event.Progress, last bool, at []event.StreamSeq,
) ([]event.StreamSeq, error) {
	next := r.next(events, p, last)
	var watermark time.Time
	if last && !p.Watermark.IsZero() {
		watermark = next.Watermark
	}
	build := func(maxBody int) piece { return r.build(events, watermark, maxBody) }
	seq, err := r.write(ctx, build(r.maxBody), build, func(batch string) any {
		next.Batch, next.WrittenAt = batch, time.Now().UTC()
		return next
	})
	if err != nil {
		return nil, err
	}
	next.Sequence = seq
	r.cursor = next
	first := seq - event.StreamSeq(len(events))
	if r.shared.subject != "" {
		first-- // the shared record is between them
	}
	for i := range events {
		at = append(at, first+event.StreamSeq(i))
	}
	return at, nil
}

// next is the cursor behind events.
func (r *Raw) next(events []event.Raw, p event.Progress, last bool) event.RawCursor {
	c := r.cursor
	c.Owner = r.owner
	c.Position += event.Seq(len(events))
	if len(events) > 0 {
		c.Received = events[len(events)-1].Received
	}
	if !last {
		c.DedupeFrom = min(c.DedupeFrom, p.DedupeFrom)
		return c
	}
	c.DedupeFrom, c.Retired = p.DedupeFrom, p.Retired
	c.Former = event.StillFormer(c.Former, c.DedupeFrom)
	if p.Cursor != nil {
		c.Cursor = p.Cursor
	}
	if p.Watermark.After(c.Watermark) {
		c.Watermark = p.Watermark
	}
	if p.Newest.After(c.Newest) {
		c.Newest = p.Newest
	}
	if p.Floor.After(c.Floor) {
		c.Floor = p.Floor
	}
	return c
}

// build writes the messages of a batch. The watermark goes on the last of them.
func (r *Raw) build(events []event.Raw, watermark time.Time, maxBody int) piece {
	p := piece{messages: make([]event.Message, 0, len(events))}
	for i := range events {
		m := events[i].Message(r.provider, r.source, r.cursor.Position+event.Seq(i)+1, event.BodyRef{})
		if i == len(events)-1 && !watermark.IsZero() {
			event.SetWatermark(&m, watermark)
		}
		p.fit(&m, maxBody)
		p.add(m)
		if r.shared.subject != "" {
			p.events, p.received = append(p.events, events[i].ID.Identity()), events[i].Received
		}
	}
	return p
}
