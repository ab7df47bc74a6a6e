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
		m, ok, err := w.log.ReadCursor(ctx, subject, 0)
		if err != nil {
			return record, fmt.Errorf("read %s: %w", subject, err)
		}
		w.expect = 0
		if ok {
			if err := event.DecodeRecord(m, &record); err != nil {
				return record, err
			}
			w.expect = m.Sequence
		}
		done, err := change(&record, ok)
		if err != nil {
			return record, err
		}
		P(&record).Stamp("", opts.Owner, time.Now().UTC())
		after, err := json.Marshal(&record)
		if err != nil {
			return record, w.invalid(err)
		}
		done.Before, done.After = bytes.Clone(m.Body), after
		done.By, done.At = opts.Owner, time.Now().UTC()
		trace, err := json.Marshal(done)
		if err != nil {
			return record, w.invalid(err)
		}
		p := piece{messages: []event.Message{{Subject: commands, Header: event.Header{}, Body: trace}}}
		_, err = w.write(ctx, p, func(int) piece { return p }, func(batch string) any {
			P(&record).Stamp(batch, opts.Owner, done.At)
			return record
		})
		if event.KindOf(err) != event.Fenced {
			return record, err
		}
		// Somebody at work wrote before us; soon there is a moment in which he does not.
		if err := w.wait(ctx, err); err != nil {
			return record, err
		}
		w.pause.Reset()
	}
}
