package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"stackstream/event"
)

// errAcceptFirst is what a backfill has to wait for.
var errAcceptFirst = errors.New("what else is given up with them is not known yet, and would count as there: " +
	"`stackstream watermark accept-gap` first")

// GivenUp are the raw events of a provider that its normalizer was told to pass over, as far as RAW, as it is now, may still have
// them. The error is of the kind Expired where RAW has dropped events before they were normalized and nobody has given them up yet.
func (a *Archive) GivenUp(ctx context.Context, p event.Provider) (event.GivenUp, error) {
	var given event.GivenUp
	// A RAW that is another one is a matter of what is in NORMALIZED, which is read.
	m, err := a.c.mend(ctx, p, false)
	switch {
	case err == nil && event.KindOf(m.Found) == event.Expired:
		return given, fmt.Errorf("%w; %w", m.Found, errAcceptFirst)
	case err != nil && !errors.Is(err, ErrNoGap) && event.KindOf(err) != event.Expired: // that there is nothing to be given up for yet
		return given, err
	}
	info, err := a.c.streamInfo(ctx, event.StreamRaw, "")
	if err != nil {
		return given, err
	}
	err = a.commands(ctx, p, m.Cursor.Sequence, func(done event.Command) error {
		var was, is event.NormalizedCursor
		if done.Verb != event.VerbAcceptGap || len(done.After) == 0 {
			return nil
		}
		if err := json.Unmarshal(done.After, &is); err != nil {
			return err
		}
		if len(done.Before) > 0 {
			if err := json.Unmarshal(done.Before, &was); err != nil {
				return err
			}
		}
		given.At = done.At
		if is.RawSeq < was.RawSeq {
			given.Gaps = nil // RAW has lost its end: the numbers were given to others
		}
		if is.RawCreated.IsZero() || is.RawCreated.Equal(info.Created) {
			given.Gaps = append(given.Gaps, done.Gaps...)
		}
		return nil
	})
	return given, err
}

// commands reads what was done to the normalizer's cursor, as its leader knows it, which has upTo.
func (a *Archive) commands(ctx context.Context, p event.Provider, upTo event.StreamSeq, yield func(event.Command) error) error {
	op := "read what was given up of " + string(p)
	handle, err := a.c.stream(ctx, event.StreamNormalized)
	if err != nil {
		return err
	}
	ctx, release := a.c.failOnRefusal(ctx, isConsumerRequest(event.StreamNormalized))
	defer release()
	r := recollection{
		stream: handle, name: event.StreamNormalized, reader: "commands", subject: event.NormalizedCommandsSubject(p), upTo: upTo, next: 1,
		yield: func(m event.Stored) error {
			var done event.Command
			if err := event.DecodeRecord(m, &done); err != nil {
				return err
			}
			return yield(done)
		},
	}
	if err := r.run(ctx); err != nil {
		return readError(ctx, op, err)
	}
	return nil
}
