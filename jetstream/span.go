package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Bound is where a part of RAW begins or ends: at a stream sequence or at the time when something was stored; the zero Bound
// is where the stream does.
type Bound struct {
	Seq  event.StreamSeq
	Time time.Time
}

// RawSpan is a part of RAW as it is for one provider.
type RawSpan struct {
	// From and To are stream sequences, both included; From is that of a raw event of the provider.
	From, To event.StreamSeq
	// Created is when RAW was, First when the raw event at From was stored.
	Created, First time.Time
	// Sources has the numbers of the raw events of each source that has any there.
	Sources map[event.Source]event.ReplaySource
	// Dropped has, for each source of which RAW begins within the span, the number of the newest event that it has dropped.
	Dropped map[event.Source]event.Seq
}

// RawSpan returns the part of RAW between two bounds: from the first raw event that was stored at since or later up to what was
// stored before until. ok is false if the provider has no raw events there.
func (c *Client) RawSpan(ctx context.Context, p event.Provider, since, until Bound) (span RawSpan, ok bool, err error) {
	op := "look up raw events of " + string(p)
	ctx, release := c.failOnRefusal(ctx, isConsumerRequest(event.StreamRaw))
	defer release()
	cursors, err := c.Memory().Cursors(ctx, p)
	if err != nil {
		return span, false, err
	}
	info, err := c.streamInfo(ctx, event.StreamRaw, event.RawSubjects(p))
	if err != nil {
		return span, false, err
	}
	span = RawSpan{
		To: event.StreamSeq(info.State.LastSeq), Created: info.Created,
		Sources: map[event.Source]event.ReplaySource{}, Dropped: map[event.Source]event.Seq{},
	}
	if until.Seq > 0 {
		span.To = min(span.To, until.Seq)
	}
	if !until.Time.IsZero() {
		after, err := c.headers(ctx, event.RawSubjects(p), until)
		if err != nil {
			return span, false, readError(ctx, op, err)
		}
		if len(after) > 0 {
			span.To = min(span.To, after[0].Sequence-1)
		}
	}
	first, err := c.headers(ctx, event.RawSubjects(p), since)
	if err != nil {
		return span, false, readError(ctx, op, err)
	}
	if len(first) == 0 || first[0].Sequence > span.To {
		return span, false, nil
	}
	span.From, span.First = first[0].Sequence, first[0].Time
	for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
		_, source, ok := event.SubjectProvider(subject)
		if !ok {
			continue // written by somebody else
		}
		if err := c.numbers(ctx, &span, source, subject, cursors[source], info.State.Subjects[subject]); err != nil {
			return span, false, readError(ctx, op, err)
		}
	}
	return span, true, nil
}

// numbers adds the numbers of a source to the span. Its last one is told by the event behind the span, or, where there is none,
// by the cursor that was read before.
func (c *Client) numbers(
	ctx context.Context, span *RawSpan, source event.Source, subject string, cursor event.RawCursor, held uint64,
) error {
	first, err := c.headers(ctx, subject, Bound{Seq: span.From})
	if err != nil {
		return err
	}
	if len(first) == 0 || first[0].Sequence > span.To {
		return nil
	}
	after, err := c.headers(ctx, subject, Bound{Seq: span.To + 1})
	if err != nil {
		return err
	}
	s := event.ReplaySource{First: numberOf(first, span.To), Last: cursor.Position}
	if next := numberOf(after, 0); next > 0 {
		s.Last = next - 1
	} else if len(after) > 0 {
		s.Last = 0 // not known: what comes behind the span was written by somebody else
	}
	if s.First > 0 {
		s.Position = s.First - 1
	}
	span.Sources[source] = s
	if s.First > 1 && uint64(s.First)+held == uint64(cursor.Position)+1 {
		span.Dropped[source] = s.First - 1
	}
	return nil
}

// numberOf is the number of the first message that has one, up to a stream sequence unless that is 0.
func numberOf(messages []event.Stored, upTo event.StreamSeq) event.Seq {
	for _, m := range messages {
		if raw, err := event.ParseRaw(m); err == nil && (upTo == 0 || m.Sequence <= upTo) {
			return raw.Seq
		}
	}
	return 0
}

// someHeaders is how many messages are looked at for one that a collector has written.
const someHeaders = 20

// headers returns the first messages of RAW on a filter's subjects from a bound on, without their bodies.
func (c *Client) headers(ctx context.Context, filter string, from Bound) ([]event.Stored, error) {
	cfg := natsjs.ConsumerConfig{
		FilterSubject: filter, AckPolicy: natsjs.AckNonePolicy, HeadersOnly: true, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: rangeIdle,
		DeliverPolicy:     natsjs.DeliverByStartSequencePolicy, OptStartSeq: uint64(max(from.Seq, 1)),
	}
	if !from.Time.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = natsjs.DeliverByStartTimePolicy, 0, &from.Time
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return ask(ctx, func(ctx context.Context) ([]event.Stored, error) {
		// Each time with a consumer of its own: what one has sent and was lost it does not send again.
		handle, err := c.stream(ctx, event.StreamRaw)
		if err != nil {
			return nil, err
		}
		consumer, err := c.onLeader(ctx, handle, "look", cfg)
		if err != nil {
			return nil, err
		}
		defer c.forgetConsumer(ctx, event.StreamRaw, consumer.CachedInfo().Name)
		n := min(consumer.CachedInfo().NumPending, someHeaders)
		if n == 0 {
			return nil, nil
		}
		return fetchSome(ctx, consumer, int(n))
	})
}

// fetchSome returns the next messages of a consumer that has them, at most n and at least one.
func fetchSome(ctx context.Context, consumer natsjs.Consumer, n int) ([]event.Stored, error) {
	for {
		batch, err := consumer.Fetch(n, natsjs.FetchContext(ctx))
		if err != nil {
			return nil, err
		}
		var found []event.Stored
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return nil, err
			}
			found = append(found, stored(msg, meta))
		}
		if len(found) > 0 {
			return found, nil
		}
		// A server that has just been given a consumer need not be known yet to the one we are connected to.
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrNoResponders) {
			return nil, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("%d raw events do not come: %w", n, ctx.Err())
		}
	}
}
