package normalizer

import (
	"context"
	"fmt"

	"stackstream/event"
)

// reading turns what a Reader hands over into batches, in order. It belongs to one goroutine.
type reading struct {
	*worker
	batches chan<- batch
	// seen is the last raw event dealt with, or on its way; positions are the same per source.
	seen      event.StreamSeq
	positions map[event.Source]event.Seq

	batch   batch
	skipped int
}

func newReading(w *worker, from event.NormalizedCursor, batches chan<- batch) *reading {
	r := &reading{worker: w, batches: batches, seen: from.RawSeq, positions: map[event.Source]event.Seq{}}
	for source, at := range from.Sources {
		r.positions[source] = at.Position
	}
	return r
}

// run reads until the reader fails, events are missing, or ctx ends.
func (r *reading) run(ctx context.Context, reader Reader) error {
	for {
		messages, err := reader.Next(ctx, BatchEvents, BatchBytes)
		if err != nil {
			return fmt.Errorf("read raw events: %w", err)
		}
		for _, m := range messages {
			if err := r.take(ctx, m); err != nil {
				return err
			}
		}
		if err := r.handOver(ctx); err != nil {
			return err
		}
	}
}

// take adds what becomes of one message to the batch.
func (r *reading) take(ctx context.Context, m event.Stored) error {
	if m.Sequence <= r.seen {
		r.skipped++
		r.batch.last = max(r.batch.last, m.Sequence)
		return nil
	}
	raw, err := event.ParseRaw(m)
	if isNewer(err) {
		if ended := r.handOver(ctx); ended != nil {
			return ended
		}
		return err
	}
	if err == nil && raw.Provider != r.provider {
		err = fmt.Errorf("subject is %q", m.Subject)
	}
	if err != nil {
		raw = r.foreign(m)
		return r.add(ctx, dead(raw, event.ReasonMalformed, err.Error()), len(raw.Body))
	}
	next := r.positions[raw.Source] + 1
	switch {
	case raw.Seq > next:
		if err := r.handOver(ctx); err != nil {
			return err
		}
		return gapError{source: raw.Source, expected: next, found: raw.Seq}
	case raw.Seq < next:
		// Numbered like one that was dealt with, but behind it in the stream: the cursor moves over it.
		r.skipped++
		raw.Body, raw.Repair = nil, nil
		return r.add(ctx, event.Outcome{Raw: raw}, 0)
	}
	body := raw.Body
	if raw.BodyRef.Object != "" {
		var lost error
		if body, lost, err = r.body(ctx, raw); err != nil {
			return err
		}
		if lost != nil {
			r.positions[raw.Source] = raw.Seq
			return r.add(ctx, dead(raw, event.ReasonBodyLost, lost.Error()), 0)
		}
	}
	r.positions[raw.Source] = raw.Seq
	o := r.convert(raw, body)
	return r.add(ctx, o, max(len(body), payloads(o.Events)))
}

// payloads is how many bytes the events have: a body that is compressed may become a thousand times of what it was.
func payloads(events []event.Event) int {
	n := 0
	for i := range events {
		n += len(events[i].Payload)
	}
	return n
}

// add puts an outcome into the batch, and hands the batch over when it is full.
func (r *reading) add(ctx context.Context, o event.Outcome, bytes int) error {
	r.seen = o.Raw.Sequence
	r.batch.outcomes = append(r.batch.outcomes, o)
	r.batch.bytes += bytes
	r.batch.last = o.Raw.Sequence
	r.batch.storedAt = o.Raw.StoredAt
	if len(r.batch.outcomes) < BatchEvents && r.batch.bytes < BatchBytes {
		return nil
	}
	return r.handOver(ctx)
}

// handOver waits until the batch is taken.
func (r *reading) handOver(ctx context.Context) error {
	r.cfg.Hooks.skipped(r.provider, r.skipped)
	r.skipped = 0
	if r.batch.last == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r.batches <- r.batch:
		r.batch = batch{}
		return nil
	}
}

// body reads a body that is kept in an object. It tries until the object is read, or known to be gone: lost says so then.
// What comes before it in the batch does not wait for that.
func (r *reading) body(ctx context.Context, raw event.StoredRaw) (body []byte, lost, err error) {
	pause := newBackOff()
	for waited := false; ; waited = true {
		body, err := r.cfg.Bodies.GetBody(ctx, raw.BodyRef)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		gone := event.KindOf(err) == event.Expired
		if err == nil || gone {
			if waited {
				r.show(event.StateLive, "")
			}
			return body, err, nil
		}
		if !waited {
			if err := r.handOver(ctx); err != nil {
				return nil, nil, err
			}
		}
		r.show(event.StateBackoff, fmt.Sprintf("read body of raw event %d: %v", raw.Sequence, err))
		wait(ctx, pause.NextBackOff())
	}
}

// maxObject is longer than the name of any object with a body.
const maxObject = 100

// foreign describes a message that no collector wrote. It keeps its place by its sequence in the stream. Its number is
// believed only where it is the next one of its source: otherwise a stray message could make it look as if events
// were missing.
func (r *reading) foreign(m event.Stored) event.StoredRaw {
	raw := event.StoredRaw{
		Raw: event.Raw{
			ID:          event.ID(event.DecodeHeader(m.Header.Get(event.HeaderID))),
			Received:    m.Time,
			Format:      event.DecodeHeader(m.Header.Get(event.HeaderFormat)),
			ContentType: event.DecodeHeader(m.Header.Get(event.HeaderContentType)),
			Header:      map[string]string{},
			Body:        m.Body,
		},
		Provider: r.provider, Sequence: m.Sequence, StoredAt: m.Time,
	}
	// A body that is there is the body, whatever a header says.
	if ref := event.BodyRefOf(m.Header); len(m.Body) == 0 && len(ref.Object) <= maxObject {
		raw.BodyRef = ref
	}
	for name := range m.Header {
		raw.Header[name] = event.DecodeHeader(m.Header.Get(name))
	}
	if raw.ID == "" {
		raw.ID, raw.Hashed = event.HashID(m.Body), true
	}
	if p, source, ok := event.SubjectProvider(m.Subject); ok && p == r.provider {
		raw.Source = source
	}
	parsed, _ := event.ParseRaw(m)
	if raw.Source != "" && parsed.Source == raw.Source && parsed.Seq == r.positions[raw.Source]+1 {
		raw.Seq = parsed.Seq
		r.positions[raw.Source] = raw.Seq
	}
	return raw
}
