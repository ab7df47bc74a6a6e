package normalizer

import (
	"context"
	"fmt"
	"slices"

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

func newReading(w *worker, from *event.NormalizedCursor, batches chan<- batch) *reading {
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
		r.batch.outcomes = slices.Grow(r.batch.outcomes, len(messages))
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
	raw, malformed, err := ParseRaw(m, r.provider, func(s event.Source) event.Seq { return r.positions[s] + 1 })
	if err != nil {
		if ended := r.handOver(ctx); ended != nil {
			return ended
		}
		return err
	}
	if malformed != nil {
		if raw.Seq > 0 {
			r.positions[raw.Source] = raw.Seq
		}
		return r.add(ctx, dead(raw, event.ReasonMalformed, malformed.Error()), len(raw.Body))
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
	body, lost, err := r.body(ctx, raw)
	if err != nil {
		return err
	}
	r.positions[raw.Source] = raw.Seq
	if lost != nil {
		return r.add(ctx, dead(raw, event.ReasonBodyLost, lost.Error()), 0)
	}
	o := r.convert(raw, body)
	return r.add(ctx, o, max(len(body), payloads(o.Events)))
}

// convert is Conversion.Convert, which may be watched.
func (r *reading) convert(raw event.StoredRaw, body []byte) event.Outcome {
	r.converted++
	r.converting.Store(r.converted)
	defer r.converting.Store(0)
	return r.conversion.Convert(raw, body)
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

// body reads a body that is kept in an object. What comes before it in the batch does not wait for it.
func (r *reading) body(ctx context.Context, raw event.StoredRaw) (body []byte, lost, err error) {
	waited := false
	body, lost, err = r.conversion.ReadBody(ctx, raw, func(why error) error {
		if !waited {
			if err := r.handOver(ctx); err != nil {
				return err
			}
		}
		waited = true
		r.show(event.StateBackoff, why.Error())
		return nil
	})
	if waited && err == nil {
		r.show(event.StateLive, "")
	}
	return body, lost, err
}
