package normalizer

import (
	"context"
	"errors"

	"stackstream/event"
)

// worldCommitter is fenced like the real one: what it opened must still be there when it commits.
type worldCommitter struct {
	w      *world
	expect event.StreamSeq
}

func (c *worldCommitter) Open(ctx context.Context) (event.NormalizedCursor, error) {
	if c.w.onOpen != nil {
		if err := c.w.onOpen(ctx); err != nil {
			return event.NormalizedCursor{}, err
		}
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.expect = c.w.cursor.Sequence
	return cloneCursor(c.w.cursor), nil
}

func (c *worldCommitter) Commit(
	ctx context.Context, outcomes []event.Outcome, raw event.RawStream,
) (event.NormalizedCursor, error) {
	if c.w.onCommit != nil {
		if err := c.w.onCommit(ctx, outcomes); err != nil {
			return event.NormalizedCursor{}, err
		}
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.w.cursor.Sequence != c.expect {
		return event.NormalizedCursor{}, &event.Error{Kind: event.Fenced, Op: "commit", Last: c.w.cursor.Sequence}
	}
	if !raw.Created.Equal(rawCreated) {
		return event.NormalizedCursor{}, &event.Error{Kind: event.Invalid, Op: "commit"}
	}
	next := cloneCursor(c.w.cursor)
	next.RawCreated = raw.Created
	next.Sequence++
	for _, o := range outcomes {
		next.RawSeq = o.Raw.Sequence
		if o.Dead == nil && len(o.Events) == 0 {
			continue
		}
		c.w.outcomes = append(c.w.outcomes, o)
		if o.Raw.Seq > 0 {
			next.Sources[o.Raw.Source] = event.SourcePosition{Position: o.Raw.Seq}
		}
	}
	c.w.batches = append(c.w.batches, outcomes)
	c.w.cursor, c.expect = next, next.Sequence
	c.w.change()
	if c.w.afterCommit != nil {
		if err := c.w.afterCommit(); err != nil {
			return event.NormalizedCursor{}, err
		}
	}
	return cloneCursor(next), nil
}

func cloneCursor(c event.NormalizedCursor) event.NormalizedCursor {
	sources := map[event.Source]event.SourcePosition{}
	for s, at := range c.Sources {
		sources[s] = at
	}
	c.Sources = sources
	return c
}

type worldFeed struct{ w *world }

func (f worldFeed) Open(_ context.Context, _ event.Provider, from event.NormalizedCursor) (Reader, error) {
	if f.w.onFeed != nil {
		if err := f.w.onFeed(from); err != nil {
			return nil, err
		}
	}
	return &worldReader{w: f.w, at: from.RawSeq}, nil
}

type worldReader struct {
	w  *world
	at event.StreamSeq
}

func (*worldReader) Stream() event.RawStream { return event.RawStream{Created: rawCreated} }
func (*worldReader) Close()                  {}

func (r *worldReader) Next(ctx context.Context, limit, maxBytes int) ([]event.Stored, error) {
	for {
		r.w.mu.Lock()
		var next []event.Stored
		bytes := 0
		for _, m := range r.w.raw {
			bytes += len(m.Body)
			if m.Sequence > r.at && len(next) < limit && (len(next) == 0 || bytes <= maxBytes) {
				next = append(next, m)
			} else {
				bytes -= len(m.Body)
			}
		}
		changed := r.w.changed
		r.w.mu.Unlock()
		if len(next) > 0 {
			if r.w.onNext != nil {
				var err error
				if next, err = r.w.onNext(next); err != nil {
					return nil, err
				}
			}
			// What is left out before the last one is lost to this reader.
			for _, m := range next {
				r.at = max(r.at, m.Sequence)
			}
			return next, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *worldReader) Ack(_ context.Context, seq event.StreamSeq) error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if seq > r.w.cursor.RawSeq {
		r.w.t.Errorf("acknowledged %d, committed %d", seq, r.w.cursor.RawSeq)
	}
	r.w.acked = max(r.w.acked, seq)
	r.w.change()
	return errors.New("acknowledgements may get lost")
}

type worldBodies struct{ w *world }

func (b worldBodies) GetBody(_ context.Context, ref event.BodyRef) ([]byte, error) {
	if b.w.onBody != nil {
		if err := b.w.onBody(ref); err != nil {
			return nil, err
		}
	}
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	body, ok := b.w.bodies[ref.Object]
	if !ok {
		return nil, &event.Error{Kind: event.Expired, Op: "read body"}
	}
	return body, nil
}
