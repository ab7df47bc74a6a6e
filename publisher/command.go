package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"stackstream/event"
)

// Record is a record that commands may change.
type Record interface {
	// Stamp says which attempt of whom writes the record, and when.
	Stamp(batch, owner string, at time.Time)
}

// ErrUnchanged is what a change returns that finds nothing to do.
var ErrUnchanged = errors.New("nothing to change")

// Command changes the record on a cursor's subject by an operator's command, once, and leaves a trace of it on the subject
// commands, in the same atomic batch. record is where the record is decoded to; change changes it and says what was done, and
// is called again with a newer record each time somebody else wrote meanwhile: whoever works behind the record is fenced by
// the change, and reads it before he goes on. exists is false where there is no record yet. Its error ends the Command, and
// nothing is written.
//
// Before and After, By and At of what change returns are filled in. Command returns when the change is durable.
func Command[R any, P interface {
	*R
	Record
}](
	ctx context.Context, log Log, subject, commands string, opts Options, change func(record P, exists bool) (event.Command, error),
) (R, error) {
	w := newWriter(log, nil, subject, event.Fence{}, opts)
	defer w.calm()
	for {
		var record R
		m, ok, err := w.read(ctx, subject, &record)
		if err != nil {
			return record, err
		}
		w.expect = m.Sequence
		done, err := change(&record, ok)
		if err != nil {
			return record, err
		}
		P(&record).Stamp("", opts.Owner, time.Now().UTC())
		trace, err := w.trace(&done, m.Body, &record)
		if err != nil {
			return record, err
		}
		p := piece{messages: []event.Message{{Subject: commands, Header: event.Header{}, Body: trace}}}
		_, err = w.write(ctx, p, func(int) piece { return p }, func(batch string) any {
			P(&record).Stamp(batch, opts.Owner, done.At)
			return record
		})
		if err := w.outpaced(ctx, err); !errors.Is(err, errAgain) {
			return record, err
		}
	}
}

// Place is where a record is, and where the traces of commands about it are.
type Place struct{ Record, Commands string }

// Both is a Command about two records of one kind: either both are changed, in one atomic batch, or none. It returns the stream
// sequence of the second one, also where change finds nothing to do.
func Both[R any, P interface {
	*R
	Record
}](
	ctx context.Context, log Log, one, other Place, opts Options, change func(one, other P) (event.Command, event.Command, error),
) (event.StreamSeq, error) {
	w := newWriter(log, nil, other.Record, event.Fence{Subject: one.Record}, opts)
	w.rereads = true
	defer w.calm()
	for {
		var first, second R
		before, _, err := w.read(ctx, one.Record, &first)
		if err != nil {
			return 0, err
		}
		last, _, err := w.read(ctx, other.Record, &second)
		if err != nil {
			return 0, err
		}
		w.fence.Sequence, w.expect = before.Sequence, last.Sequence
		done, doneToo, err := change(&first, &second)
		if err != nil {
			return last.Sequence, err
		}
		now := time.Now().UTC()
		P(&first).Stamp(w.ids.Next(), opts.Owner, now)
		P(&second).Stamp("", opts.Owner, now)
		trace, err := w.trace(&done, before.Body, &first)
		if err != nil {
			return 0, err
		}
		traceToo, err := w.trace(&doneToo, last.Body, &second)
		if err != nil {
			return 0, err
		}
		content := piece{messages: []event.Message{
			{Subject: one.Record, Header: event.Header{}, Body: done.After},
			{Subject: one.Commands, Header: event.Header{}, Body: trace},
			{Subject: other.Commands, Header: event.Header{}, Body: traceToo},
		}}
		at, err := w.write(ctx, content, func(int) piece { return content }, func(batch string) any {
			P(&second).Stamp(batch, opts.Owner, now)
			return second
		})
		if err := w.outpaced(ctx, err); !errors.Is(err, errAgain) {
			return at, err
		}
	}
}

// SetBack changes the cursor of a source so that the source may collect once more what others reckon it has passed. It is a
// Command that writes, in the same atomic batch and behind the cursor, the provider's choice of source as it is. So it fences all
// who have read the cursor as it was and write under that choice, whatever they write and whenever: whatever they have stored comes
// before the choice in the stream, where the source finds it when it begins anew.
func SetBack(
	ctx context.Context, log Log, p event.Provider, s event.Source, opts Options,
	change func(cursor *event.RawCursor, exists bool) (event.Command, error),
) (event.RawCursor, error) {
	subject := event.RawCursorSubject(p, s)
	w := newWriter(log, nil, event.ChoiceSubject(p), event.Fence{Subject: subject}, opts)
	w.rereads = true
	defer w.calm()
	for {
		var choice event.Choice
		var cursor event.RawCursor
		chosen, ok, err := w.read(ctx, w.subject, &choice)
		if err != nil {
			return cursor, err
		}
		if !ok {
			choice.Why = "nobody has chosen yet"
		}
		choice.Removed = nil // long ago, or the source would not be set back
		m, ok, err := w.read(ctx, subject, &cursor)
		if err != nil {
			return cursor, err
		}
		w.expect, w.fence.Sequence = chosen.Sequence, m.Sequence
		done, err := change(&cursor, ok)
		if err != nil {
			return cursor, err
		}
		cursor.Stamp(w.ids.Next(), opts.Owner, time.Now().UTC())
		trace, err := w.trace(&done, m.Body, &cursor)
		if err != nil {
			return cursor, err
		}
		content := piece{messages: []event.Message{
			{Subject: subject, Header: event.Header{}, Body: done.After},
			{Subject: event.RawCommandsSubject(p, s), Header: event.Header{}, Body: trace},
		}}
		_, err = w.write(ctx, content, func(int) piece { return content }, func(batch string) any {
			choice.Stamp(batch, opts.Owner, done.At)
			return choice
		})
		if err := w.outpaced(ctx, err); !errors.Is(err, errAgain) {
			return cursor, err
		}
	}
}

// read reads a record; ok is false, and m is zero, where there is none yet.
func (w *writer) read(ctx context.Context, subject string, record any) (m event.Stored, ok bool, err error) {
	m, ok, err = w.log.ReadCursor(ctx, subject, 0)
	switch {
	case err != nil:
		return m, ok, fmt.Errorf("read %s: %w", subject, err)
	case !ok:
		return event.Stored{}, false, nil
	}
	return m, true, event.DecodeRecord(m, record)
}

// trace completes what was done, and writes it down.
func (w *writer) trace(done *event.Command, before []byte, record any) ([]byte, error) {
	after, err := json.Marshal(record)
	if err != nil {
		return nil, w.invalid(err)
	}
	done.Before, done.After = bytes.Clone(before), after
	done.By, done.At = w.owner, time.Now().UTC()
	text, err := json.Marshal(done)
	if err != nil {
		return nil, w.invalid(err)
	}
	return text, nil
}

var errAgain = errors.New("again")

// outpaced is errAgain, after a pause, where somebody at work wrote before us: soon there is a moment in which he does not.
func (w *writer) outpaced(ctx context.Context, err error) error {
	if event.KindOf(err) != event.Fenced {
		return err
	}
	if err := w.wait(ctx, err); err != nil {
		return err
	}
	w.pause.Reset()
	return errAgain
}
