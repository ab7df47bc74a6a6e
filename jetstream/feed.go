package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"stackstream/event"
)

const (
	// pullExpiry is how long a request for messages stays at the server: for as long a reader that died without a word
	// may still be sent some.
	pullExpiry = 15 * time.Second
	// pullHeartbeat is how often the server says that it lives. A server of a cluster that dies takes its consumers with it, and of
	// that nothing tells but twice this time without a word.
	pullHeartbeat = 2 * time.Second
	// consumerWait is how long the end of a consumer is waited for: it may have been on a server that is gone.
	consumerWait = time.Second
	// placeWait is how long a consumer is waited for that may be on a server that is gone.
	placeWait = 2 * time.Second
	// resetWait is how long the answer to a reset is waited for before it is sent again, the first time.
	resetWait = 250 * time.Millisecond
	// maxUnacknowledged bounds what a reader may have in hand that was not acknowledged.
	maxUnacknowledged = 10_000
	// ackWait is after how long the server would deliver again what was not acknowledged. A reader never passes such a
	// message on.
	ackWait = 2 * time.Minute
)

// Feed reads EVENTS_RAW through one durable consumer per provider, normalizer-<provider>. The consumer holds nothing
// that the cursor does not: it has one copy in memory, is made when it is missing, and is made again when it does not
// answer. Feed is safe for concurrent use.
type Feed struct{ raw *Log }

// Feed is the feed of raw events.
func (c *Client) Feed() *Feed { return &Feed{raw: c.Raw()} }

// ConsumerName is the durable consumer that reads a provider's raw events.
func ConsumerName(p event.Provider) string { return "normalizer-" + string(p) }

// Open places the provider's consumer behind the cursor. Whoever read through it before is thrown out, and finds out at
// the next message.
//
// It refuses with event.Regressed when EVENTS_RAW is not the stream that the cursor speaks of, ends before it or before the
// cursor of a source, or has a source whose own cursor is behind what was normalized of it; and with event.Expired when the
// stream holds fewer events of a source than were not normalized. A gap that does not show in these numbers ends the Reader
// with event.Expired at the event behind it. event.Unavailable and event.Invalid: nothing is known of the data.
func (f *Feed) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (*Reader, error) {
	info, err := f.check(ctx, p, from)
	if err != nil {
		return nil, err
	}
	consumer, err := f.place(ctx, p, from.RawSeq+1)
	if err != nil {
		return nil, err
	}
	return newReader(f.raw.c, p, from, event.RawStream{Created: info.Created}, consumer)
}

// Check says what Open would find by a cursor, and opens nothing.
func (f *Feed) Check(ctx context.Context, p event.Provider, from event.NormalizedCursor) error {
	_, err := f.check(ctx, p, from)
	return err
}

// check compares a cursor with the stream, and returns what it knows of that.
func (f *Feed) check(ctx context.Context, p event.Provider, from event.NormalizedCursor) (*natsjs.StreamInfo, error) {
	// The cursors come before the counts: what is collected in between can only make the stream look fuller.
	cursors, err := (&Memory{raw: f.raw}).Cursors(ctx, p)
	if err != nil {
		return nil, err
	}
	info, err := f.raw.c.streamInfo(ctx, event.StreamRaw, event.RawSubjects(p))
	if err != nil {
		return nil, err
	}
	op := "read " + event.RawSubjects(p)
	switch last := event.StreamSeq(info.State.LastSeq); {
	case !from.RawCreated.IsZero() && !from.RawCreated.Equal(info.Created):
		return nil, &event.Error{Kind: event.Regressed, Op: op, Last: last, Err: fmt.Errorf(
			"%s was created at %s, the cursor speaks of the one created at %s", event.StreamRaw,
			info.Created.Format(time.RFC3339Nano), from.RawCreated.Format(time.RFC3339Nano))}
	case last < from.RawSeq:
		return nil, &event.Error{Kind: event.Regressed, Op: op, Last: last, Err: fmt.Errorf(
			"%s ends at %d, the cursor is at %d", event.StreamRaw, last, from.RawSeq)}
	}
	for _, source := range slices.Sorted(maps.Keys(cursors)) {
		// The counts come from a leader that does not show all there is, then.
		if at := cursors[source].Sequence; at > event.StreamSeq(info.State.LastSeq) {
			return nil, &event.Error{Kind: event.Regressed, Op: op, Last: event.StreamSeq(info.State.LastSeq), Err: fmt.Errorf(
				"%s ends at %d, the cursor of source %s was there at %d", event.StreamRaw, info.State.LastSeq, source, at)}
		}
	}
	if err := f.checkCollected(ctx, op, p, cursors, from); err != nil {
		return nil, err
	}
	if err := checkHeld(op, p, cursors, from, info.State.Subjects); err != nil {
		return nil, err
	}
	return info, nil
}

// checkCollected refuses a stream whose sources are behind what was normalized of them. A cursor may come from a replica
// that lags, so a source that seems behind is looked at again for a while.
func (f *Feed) checkCollected(ctx context.Context, op string, p event.Provider, cursors map[event.Source]event.RawCursor,
	from event.NormalizedCursor) error {
	for _, source := range slices.Sorted(maps.Keys(from.Sources)) {
		want := from.Sources[source].Position
		pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Millisecond),
			backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(0))
		for began := time.Now(); cursors[source].Position < want; {
			if time.Since(began) > settle {
				return &event.Error{Kind: event.Regressed, Op: op, Err: fmt.Errorf(
					"source %s is collected up to event %d, %d was normalized", source, cursors[source].Position, want)}
			}
			select {
			case <-time.After(pause.NextBackOff()):
			case <-ctx.Done():
				return unavailable(op, context.Cause(ctx))
			}
			cursor, err := f.raw.readRawCursor(ctx, p, source)
			if err != nil {
				return err
			}
			cursors[source] = cursor
		}
	}
	return nil
}

// checkHeld refuses a stream that holds fewer events of a source than were collected and not normalized: then some of
// those are gone. (As the oldest go first, the others that it holds are the newest.)
func checkHeld(op string, p event.Provider, cursors map[event.Source]event.RawCursor, from event.NormalizedCursor,
	held map[string]uint64) error {
	for _, source := range slices.Sorted(maps.Keys(cursors)) {
		done, collected := from.Sources[source].Position, cursors[source].Position
		if collected <= done {
			continue
		}
		if n := held[event.RawSubject(p, source)]; n < uint64(collected-done) {
			return expired(op, source, done+1, collected-event.Seq(n))
		}
	}
	return nil
}

// expired says that raw events of a source, from one Seq to another, were dropped before they were normalized.
func expired(op string, source event.Source, from, to event.Seq) error {
	return &event.Error{Kind: event.Expired, Op: op, Err: fmt.Errorf(
		"events %d to %d of source %s are no longer there and were not normalized", from, to, source)}
}

// place makes sure of the consumer and sets it to the stream sequence that is to come next.
func (f *Feed) place(ctx context.Context, p event.Provider, next event.StreamSeq) (natsjs.Consumer, error) {
	op := "place consumer " + ConsumerName(p)
	ctx, release := f.raw.c.failOnRefusal(ctx, isConsumerRequest(event.StreamRaw))
	defer release()

	consumer, err := f.placeOnce(ctx, p, next, placeWait)
	if err == nil {
		return consumer, nil
	}
	if ctx.Err() != nil || errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil, readError(ctx, op, err)
	}
	// It has other settings, or was on a server that is gone: with one copy in memory there is nothing to wait for. A
	// consumer that can't answer can't confirm its end either, so only the second attempt counts.
	brief, cancel := context.WithTimeout(ctx, consumerWait)
	_ = f.raw.c.js.DeleteConsumer(brief, event.StreamRaw, ConsumerName(p))
	cancel()
	if consumer, err = f.placeOnce(ctx, p, next, readTimeout); err != nil {
		return nil, readError(ctx, op, err)
	}
	return consumer, nil
}

func (f *Feed) placeOnce(
	ctx context.Context, p event.Provider, next event.StreamSeq, wait time.Duration,
) (natsjs.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	js := f.raw.c.js
	consumer, err := js.CreateOrUpdateConsumer(ctx, event.StreamRaw, natsjs.ConsumerConfig{
		Durable:       ConsumerName(p),
		Description:   "raw events of " + string(p) + " for the normalizer; the cursor in " + event.StreamNormalized + " is what counts",
		FilterSubject: event.RawSubjects(p),
		DeliverPolicy: natsjs.DeliverAllPolicy,
		AckPolicy:     natsjs.AckAllPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1,
		MaxAckPending: maxUnacknowledged,
		Replicas:      1,
		MemoryStorage: true,
	})
	if err != nil {
		return nil, err
	}
	if err := reset(ctx, js, event.StreamRaw, ConsumerName(p), next); err != nil {
		return nil, err
	}
	return consumer, nil
}

// reset sets a consumer to the stream sequence that is to come next. In a cluster the server that we are connected to may not have
// heard yet of one that was just made, and loses what is sent to it: so the request is sent again, soon. Where several arrive they are
// dealt with in the order in which they were sent, all of them before the last one is answered. What was answered once can be asked
// for messages: it is told of by the same way, in order.
func reset(ctx context.Context, js natsjs.JetStream, stream, consumer string, next event.StreamSeq) error {
	for wait := resetWait; ; wait *= 2 {
		brief, cancel := context.WithTimeout(ctx, wait)
		_, err := js.ResetConsumerToSequence(brief, stream, consumer, uint64(next))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// isConsumerRequest matches the subjects on which a stream's consumers are made, asked and read.
func isConsumerRequest(stream string) func(subject string) bool {
	return func(subject string) bool {
		return strings.Contains(subject, ".CONSUMER.") && strings.Contains(subject+".", "."+stream+".")
	}
}

func newID() string { return nuid.Next() }

// stored is a delivered message as the stream has it.
func stored(msg natsjs.Msg, meta *natsjs.MsgMetadata) event.Stored {
	return event.Stored{
		Message:  event.Message{Subject: msg.Subject(), Header: event.Header(msg.Headers()), Body: msg.Data()},
		Sequence: event.StreamSeq(meta.Sequence.Stream),
		Time:     meta.Timestamp,
	}
}
