package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"stackstream/event"
)

// shared is what a writer knows of the Shared record of its provider. Without a subject the writer does not share.
type shared struct {
	subject string
	expect  event.StreamSeq // of the record that the next batch replaces
	record  event.Shared
}

// put adds the record to a batch of events, and returns it; nil where the writer does not share, or there are no events.
func (s *shared) put(b *event.Batch, ids event.Identities, received time.Time) (*event.Shared, error) {
	if s.subject == "" || len(b.Messages) == 0 {
		return nil, nil
	}
	record := s.record.With(event.SharedBlock{Batch: b.ID, At: received, Events: ids})
	body, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encode the shared record: %w", err)
	}
	b.Shared, b.SharedExpect = event.Message{Subject: s.subject, Body: body}, s.expect
	return &record, nil
}

// wrote is the record of an attempt, of the same content as another's, that turned out to be the one that is stored.
func (s *shared) wrote(batch string, record *event.Shared) *event.Shared {
	if record == nil {
		return nil
	}
	last := &record.Blocks[len(record.Blocks)-1]
	last.Batch = batch
	return record
}

// openShared reads the record where the writer shares. What it finds may be old: the next batch is refused then.
func (w *writer) openShared(ctx context.Context) error {
	if w.shared.subject == "" {
		return nil
	}
	m, ok, err := w.log.ReadCursor(ctx, w.shared.subject, 0)
	if err != nil {
		return fmt.Errorf("read %s: %w", w.shared.subject, err)
	}
	return w.shared.found(m, ok)
}

func (s *shared) found(m event.Stored, ok bool) error {
	s.expect, s.record = 0, event.Shared{}
	if !ok {
		return nil
	}
	s.expect = m.Sequence
	return event.DecodeRecord(m, &s.record)
}

// overtaken tells whether an attempt was refused because another source has replaced the Shared record, nil if not. What any
// earlier attempt expected is no longer there then, so that none of them can be stored later: whether one was before shows in a
// cursor that is read from a stream that has the new record.
func (w *writer) overtaken(ctx context.Context, kind event.Kind, cause error) (*event.OvertakenError, error) {
	if w.shared.subject == "" || kind != event.Fenced {
		return nil, nil
	}
	for {
		over, err := w.look(ctx, lastSeen(cause))
		if err == nil || event.KindOf(err) == event.Invalid || ctx.Err() != nil {
			return over, err
		}
		if err := w.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// look reads the Shared record and returns what other sources have stored since it was read last, nil if nothing.
func (w *writer) look(ctx context.Context, atLeast event.StreamSeq) (*event.OvertakenError, error) {
	m, ok, err := w.log.ReadCursor(ctx, w.shared.subject, atLeast)
	switch {
	case event.KindOf(err) == event.Regressed: // made anew: a new attempt decides
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", w.shared.subject, err)
	case !ok || m.Sequence <= w.shared.expect:
		return nil, nil
	}
	known, batch := w.shared.expect, w.shared.record.Batch()
	if err := w.shared.found(m, ok); err != nil {
		return nil, err
	}
	return &event.OvertakenError{After: known, UpTo: m.Sequence, Blocks: w.shared.record.Since(batch)}, nil
}
