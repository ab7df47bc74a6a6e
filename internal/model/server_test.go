package model_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/normalizer"
	"stackstream/publisher"
)

var (
	_ publisher.Log     = log{}
	_ publisher.Bodies  = bodies{}
	_ normalizer.Bodies = bodies{}
	_ collectors.Memory = memory{}
	_ normalizer.Feed   = feed{}
	_ normalizer.Reader = (*reader)(nil)
)

func unavailableError(op string) error {
	return &event.Error{Kind: event.Unavailable, Op: op, Err: errors.New("no leader")}
}

// log is a stream as one process sees it.
type log struct {
	p *process
	s *stream
}

func (l log) Append(ctx context.Context, b event.Batch) (seq event.StreamSeq, err error) {
	unknown := &event.Error{Kind: event.Unknown, Op: "append", Err: context.DeadlineExceeded}
	fly := func() { l.p.w.under = append(l.p.w.under, flight{l.s, b, l.p.name}) }
	e := l.p.ask(ctx, request{
		name:  "appends to " + l.s.name,
		fates: []fate{fine, unanswered, late, unavailable, full, diesBefore, diesAfter, diesLate, stops},
		serve: func(f fate) {
			switch f {
			case late, diesLate:
				fly()
				err = unknown
			case unavailable:
				err = unavailableError("append")
			case full:
				err = &event.Error{Kind: event.Full, Op: "append"}
			case unanswered, diesAfter:
				_, _ = l.s.append(b)
				err = unknown
			default:
				if seq, err = l.s.append(b); err == nil {
					l.p.known[b.Cursor.Subject] = seq
				}
				if f == stops {
					l.p.stop()
				}
			}
		},
		abandoned: fly,
	})
	if e != nil {
		return 0, e
	}
	return seq, err
}

func (l log) ReadCursor(ctx context.Context, subject string, atLeast event.StreamSeq) (m event.Stored, ok bool, err error) {
	e := l.p.ask(ctx, request{
		name: "reads " + subject, fates: []fate{fine, lagging, lagsFar, unavailable, diesBefore},
		serve: func(f fate) {
			upTo := l.s.end()
			switch f {
			case unavailable:
				err = unavailableError("read")
				return
			case lagging: // one write behind
				upTo = max(l.s.last(subject, upTo), 1) - 1
			case lagsFar: // for longer than anybody waits, so that atLeast does not count either
				upTo = 0
			}
			if atLeast > l.s.end() {
				err = &event.Error{Kind: event.Regressed, Op: "read", Last: l.s.end()}
				return
			}
			if m, ok = l.s.at(subject, upTo); ok {
				l.p.known[subject] = m.Sequence
			}
		},
	})
	if e != nil {
		return event.Stored{}, false, e
	}
	return m, ok, err
}

// memory is what RAW says of identities. It misses none, unless it lags: then it reads from a replica like any cursor.
type memory struct {
	log
	lags bool
}

func (m memory) Identities(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen)) error {
	var seen []event.Seen
	var err error
	fates := []fate{fine, unavailable, diesBefore}
	if m.lags {
		fates = append(fates, lagging)
	}
	e := m.p.ask(ctx, request{
		name: "reads identities", fates: fates,
		serve: func(f fate) {
			upTo := m.s.end()
			switch f {
			case unavailable:
				err = unavailableError("read identities")
				return
			case lagging:
				upTo = 0
				for subject := range m.cursors() {
					upTo = max(upTo, m.p.known[subject])
				}
			}
			for _, stored := range m.s.held(from, upTo) {
				if raw, err := event.ParseRaw(stored); err == nil {
					seen = append(seen, event.Seen{
						ID: raw.ID, Source: raw.Source, Time: raw.Time, Seq: raw.Seq, Sequence: raw.Sequence,
					})
				}
			}
		},
	})
	if e != nil {
		return e
	}
	for _, s := range seen {
		yield(s)
	}
	return err
}

// cursors are those of all sources.
func (l log) cursors() map[string]event.RawCursor {
	out := map[string]event.RawCursor{}
	for _, m := range l.s.history {
		if _, source, ok := event.SubjectProvider(m.Subject); ok && source != "" && strings.HasPrefix(m.Subject, "events.cursor.raw.") {
			var c event.RawCursor
			if event.DecodeRecord(m, &c) == nil {
				c.Sequence = m.Sequence
				out[m.Subject] = c
			}
		}
	}
	return out
}

// Cursors is always answered at once: the loop takes only the newest time from it, which no source here uses.
func (m memory) Cursors(ctx context.Context, p event.Provider) (map[event.Source]event.RawCursor, error) {
	m.p.w.mu.Lock()
	defer m.p.w.mu.Unlock()
	return map[event.Source]event.RawCursor{}, ctx.Err()
}

// bodies is the object store as one process sees it.
type bodies struct{ p *process }

func (b bodies) PutBody(ctx context.Context, ref event.BodyRef, body []byte) (err error) {
	e := b.p.ask(ctx, request{
		name: "stores a body", fates: []fate{fine, unanswered, unavailable, diesBefore},
		serve: func(f fate) {
			if f != unavailable {
				b.p.w.bodies[ref.Object] = slices.Clone(body)
			}
			if f != fine {
				err = unavailableError("store a body")
			}
		},
	})
	if e != nil {
		return e
	}
	return err
}

func (b bodies) GetBody(ctx context.Context, ref event.BodyRef) (body []byte, err error) {
	e := b.p.ask(ctx, request{
		name: "reads a body", fates: []fate{fine, unavailable, diesBefore},
		serve: func(f fate) {
			var ok bool
			if body, ok = b.p.w.bodies[ref.Object]; !ok {
				err = &event.Error{Kind: event.Expired, Op: "read body"}
			}
			if f == unavailable {
				err = unavailableError("read a body")
			}
		},
	})
	if e != nil {
		return nil, e
	}
	return body, err
}

// consumer is the durable consumer of a provider.
type consumer struct {
	reader *reader         // who reads through it
	acked  event.StreamSeq // what it was told is dealt with
}

// feed reads RAW as one process sees it. It may do what no consumer should: hand over what was handed over, and leave
// something out.
type feed struct {
	p *process
	s *stream
}

func (f feed) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (normalizer.Reader, error) {
	r := &reader{feed: f, at: from.RawSeq, ctx: ctx}
	var err error
	e := f.p.ask(ctx, request{
		name: "opens the feed", fates: []fate{fine, unavailable, diesBefore},
		serve: func(fate fate) {
			if fate == unavailable {
				err = unavailableError("open the feed")
				return
			}
			if err = f.compare(from); err == nil {
				f.p.w.consumer.reader = r
				r.created = f.s.created
			}
		},
	})
	if err = errors.Join(e, err); err != nil {
		return nil, err
	}
	return r, nil
}

// compare refuses a stream that is not the one of the cursor, or does not hold what comes behind it.
func (f feed) compare(from event.NormalizedCursor) error {
	refuse := func(kind event.Kind, what string) error {
		return &event.Error{Kind: kind, Op: "read raw events", Err: errors.New(what)}
	}
	switch {
	case !from.RawCreated.IsZero() && !from.RawCreated.Equal(f.s.created):
		return refuse(event.Regressed, "another stream")
	case f.s.end() < from.RawSeq:
		return refuse(event.Regressed, "it ends before the cursor")
	}
	held := map[string]int{}
	for _, m := range f.s.held(1, f.s.end()) {
		held[m.Subject]++
	}
	positions := map[event.Source]event.Seq{}
	for subject, c := range log(f).cursors() {
		_, source, _ := event.SubjectProvider(subject)
		positions[source] = c.Position
		if done := from.Sources[source].Position; c.Position > done && held[event.RawSubject(cloud, source)] < int(c.Position-done) {
			return refuse(event.Expired, fmt.Sprintf("source %s", source))
		}
	}
	for source, at := range from.Sources {
		if positions[source] < at.Position {
			return refuse(event.Regressed, fmt.Sprintf("source %s", source))
		}
	}
	return nil
}

type reader struct {
	feed
	ctx     context.Context
	created time.Time
	at      event.StreamSeq
}

func (r *reader) Stream() event.RawStream { return event.RawStream{Created: r.created} }

func (r *reader) Close() {}

// waiting are the raw events that come next.
func (r *reader) waiting() []event.Stored {
	return slices.DeleteFunc(r.s.held(r.at+1, r.s.end()), func(m event.Stored) bool {
		return !strings.HasPrefix(m.Subject, "events.raw.")
	})
}

func (r *reader) Next(ctx context.Context, limit, _ int) (next []event.Stored, err error) {
	q := request{
		name: "reads raw events", ready: func() bool { return len(r.waiting()) > 0 || r.p.w.consumer.reader == nil },
		fates: []fate{fine, one, unavailable, repeats, skips, diesBefore},
		serve: func(f fate) {
			next = r.waiting()
			switch {
			case r.p.w.consumer.reader != r, !r.created.Equal(r.s.created):
				next, err = nil, unavailableError("read raw events") // somebody else has the consumer, or it is gone
				return
			case f == unavailable:
				next, err = nil, unavailableError("read raw events")
				return
			case f == one:
				next = next[:1]
			case f == repeats:
				next = append(slices.DeleteFunc(r.s.held(1, r.at), func(m event.Stored) bool {
					return !strings.HasPrefix(m.Subject, "events.raw.")
				}), next...)
			case f == skips && len(next) > 1 && slices.ContainsFunc(next[1:], func(m event.Stored) bool {
				return m.Subject == next[0].Subject // or else nobody could tell
			}):
				next = next[1:]
			}
			next = next[:min(len(next), limit)]
			r.at = max(r.at, next[len(next)-1].Sequence)
		},
	}
	if e := r.p.ask(ctx, q); e != nil {
		return nil, e
	}
	return next, err
}

// Ack needs no answer, and has no influence on what is read.
func (r *reader) Ack(_ context.Context, seq event.StreamSeq) error {
	r.p.w.mu.Lock()
	defer r.p.w.mu.Unlock()
	if r.p.ctx.Err() == nil && r.p.w.consumer.reader == r {
		r.p.w.consumer.acked = max(r.p.w.consumer.acked, seq)
	}
	return nil
}
