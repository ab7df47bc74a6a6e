package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

const (
	// rangeIdle is when the server forgets the consumer of a range that nobody reads any more.
	rangeIdle = time.Minute
	// rangeQuiet is for how long nothing may come before the server is asked whether there is anything, and maxQuiet how often it
	// may say so in a row while nothing comes: what asks it for messages may be lost.
	rangeQuiet = time.Second
	maxQuiet   = 15
	// leaderTries is how many consumers are made until one is on the leader of the stream.
	leaderTries = 12
)

// Range reads a part of a stream that is written already: in order, each message once, with a bounded number of them in
// memory. It holds nothing at the server that is not gone a minute after it was last read. It is not safe for concurrent use.
type Range struct {
	c              *Client
	stream, filter string
	next, to       event.StreamSeq
	since          time.Time // of the first message, where next is 0
	created        time.Time // when the stream was that is meant; zero: any

	consumer  natsjs.Consumer
	messages  natsjs.MessagesContext // nil while it is not open
	delivered uint64
	pending   uint64 // how many messages the server had behind the last one that was read
	quiet     int    // how often nothing came, in a row
}

// RawRange reads the raw events of a provider from one stream sequence to another, both included, of the RAW that was created at a
// time.
func (c *Client) RawRange(p event.Provider, created time.Time, from, to event.StreamSeq) *Range {
	return &Range{c: c, stream: event.StreamRaw, filter: event.RawSubjects(p), created: created, next: max(from, 1), to: to}
}

// NormalizedRange reads what NORMALIZED has of a provider: events, dead letters and what became of those, from what was stored
// at a time or later up to a stream sequence.
func (c *Client) NormalizedRange(p event.Provider, since time.Time, to event.StreamSeq) *Range {
	return &Range{c: c, stream: event.StreamNormalized, filter: event.NormalizedSubjects(p), since: since, to: to}
}

// ReplayRange reads the events of a job, of all providers, up to a stream sequence.
func (c *Client) ReplayRange(n event.ReplayName, to event.StreamSeq) *Range {
	return &Range{c: c, stream: event.StreamReplay, filter: event.ReplaySubject(n, "*"), next: 1, to: to}
}

// Next returns the next message, and io.EOF when there are no more: because the range ends, or because the stream has no
// more of it. Another error loses nothing: calling Next again goes on behind the last message. It has the kind
// event.Unavailable, event.Invalid, or event.Regressed: the stream ends before the range does, or is not the one that is meant.
// It returns ctx's error within a second.
func (r *Range) Next(ctx context.Context) (event.Stored, error) {
	op := "read " + r.filter
	if err := ctx.Err(); err != nil {
		return event.Stored{}, err
	}
	if r.messages == nil {
		if r.next > r.to || r.to == 0 {
			return event.Stored{}, io.EOF
		}
		if err := r.open(ctx); err != nil {
			return event.Stored{}, readError(ctx, op, err)
		}
	}
	for r.pending > 0 {
		msg, err := r.messages.Next(natsjs.NextMaxWait(rangeQuiet))
		switch {
		case ctx.Err() != nil:
			return event.Stored{}, ctx.Err()
		case errors.Is(err, nats.ErrTimeout):
			err = r.ask(ctx)
			if err == nil {
				continue
			}
		}
		var m event.Stored
		if err == nil {
			m, err = r.take(msg)
		}
		if err != nil {
			r.Close()
			return event.Stored{}, readError(ctx, op, err)
		}
		if m.Sequence > r.to {
			break
		}
		r.next = m.Sequence + 1
		return m, nil
	}
	r.Close()
	r.next = r.to + 1
	return event.Stored{}, io.EOF
}

// Reopen lets Next look again for what comes behind the last message, after it returned io.EOF: a server that lags may not
// have had all of it.
func (r *Range) Reopen(last event.StreamSeq) {
	r.Close()
	r.next = last + 1
}

func (r *Range) take(msg natsjs.Msg) (event.Stored, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return event.Stored{}, err
	}
	if meta.Sequence.Consumer != r.delivered+1 {
		return event.Stored{}, fmt.Errorf("delivery %d follows %d", meta.Sequence.Consumer, r.delivered)
	}
	r.delivered++
	r.pending, r.quiet = meta.NumPending, 0
	return stored(msg, meta), nil
}

// ask learns how many messages there are still to come: those that expire do not come.
func (r *Range) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	info, err := r.consumer.Info(ctx)
	if err != nil {
		return err
	}
	r.pending = info.NumPending + info.Delivered.Consumer - min(r.delivered, info.Delivered.Consumer)
	r.quiet++
	switch {
	case r.pending == 0:
	case info.Delivered.Consumer > r.delivered:
		// It has sent what did not come: with nothing acknowledged it will not send it again.
		return fmt.Errorf("%d messages that were sent did not come", info.Delivered.Consumer-r.delivered)
	case r.quiet > maxQuiet:
		return fmt.Errorf("%d messages do not come", r.pending)
	}
	return nil
}

// open makes a consumer behind the last message, on the leader of the stream if that can be had: a replica that lags would
// show less than there is. No server can be told to read for us.
func (r *Range) open(ctx context.Context) error {
	ctx, release := r.c.failOnRefusal(ctx, isConsumerRequest(r.stream))
	defer release()
	cfg := natsjs.ConsumerConfig{
		FilterSubject:     r.filter,
		DeliverPolicy:     natsjs.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(r.next),
		AckPolicy:         natsjs.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: rangeIdle,
	}
	if r.next == 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = natsjs.DeliverByStartTimePolicy, 0, &r.since
	}
	handle, err := r.c.stream(ctx, r.stream)
	if err != nil {
		return err
	}
	if err := r.check(handle.CachedInfo()); err != nil {
		return err
	}
	consumer, err := r.c.onLeader(ctx, handle, "range", cfg)
	if err != nil {
		return err
	}
	if err := r.c.awaitConsumer(ctx, consumer); err != nil {
		return err
	}
	r.consumer, r.delivered, r.pending, r.quiet = consumer, 0, consumer.CachedInfo().NumPending, 0
	r.messages, err = consumer.Messages(
		natsjs.PullMaxMessagesWithBytesLimit(readAhead, max(readAheadBytes, int(r.c.nc.MaxPayload()))),
		natsjs.PullExpiry(pullExpiry), natsjs.PullHeartbeat(pullHeartbeat))
	return err
}

// check refuses a stream that can't have what is to be read.
func (r *Range) check(info *natsjs.StreamInfo) error {
	last := event.StreamSeq(info.State.LastSeq)
	var err error
	switch {
	case !r.created.IsZero() && !r.created.Equal(info.Created):
		err = fmt.Errorf("%s was created at %s, not at %s", r.stream, info.Created.Format(time.RFC3339Nano),
			r.created.Format(time.RFC3339Nano))
	case last < r.to:
		err = fmt.Errorf("%s ends at %d, %d was there", r.stream, last, r.to)
	default:
		return nil
	}
	return &event.Error{Kind: event.Regressed, Op: "read " + r.filter, Last: last, Err: err}
}

// onLeader makes a consumer on the leader of a stream, or after some tries one that is anywhere.
func (c *Client) onLeader(
	ctx context.Context, handle natsjs.Stream, purpose string, cfg natsjs.ConsumerConfig,
) (natsjs.Consumer, error) {
	for try := 1; ; try++ {
		cfg.Name = purpose + "-" + newID()
		brief, cancel := context.WithTimeout(ctx, readTimeout)
		consumer, err := handle.CreateConsumer(brief, cfg)
		cancel()
		if err != nil {
			return nil, err
		}
		leader, at := leaderOf(handle.CachedInfo()), consumer.CachedInfo().Cluster
		if leader == "" || at == nil || at.Leader == leader || try == leaderTries {
			return consumer, nil
		}
		c.forgetConsumer(ctx, handle.CachedInfo().Config.Name, cfg.Name)
	}
}

// awaitConsumer returns when a consumer that was just made can be asked for messages. In a cluster the server that we are connected to
// may not have heard of it yet: then nobody is there to answer, and the client library does not ask again before it has missed
// heartbeats. What is asked here the consumer refuses, in any case.
func (c *Client) awaitConsumer(ctx context.Context, consumer natsjs.Consumer) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	info := consumer.CachedInfo()
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(5*time.Millisecond), backoff.WithMaxInterval(200*time.Millisecond))
	for {
		_, err := c.nc.RequestWithContext(ctx, "$JS.API.CONSUMER.MSG.NEXT."+info.Stream+"."+info.Name, []byte("{"))
		if !errors.Is(err, nats.ErrNoResponders) {
			return err
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// forgetConsumer removes a consumer of ours that nobody reads any more. One that stays is forgotten by the server.
func (c *Client) forgetConsumer(ctx context.Context, stream, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), consumerWait)
	defer cancel()
	if err := c.js.DeleteConsumer(ctx, stream, name); err != nil {
		c.log.Debug().Err(err).Str("consumer", name).Msg("consumer not removed; the server forgets it")
	}
}

// Close ends reading; Next would begin again behind the last message.
func (r *Range) Close() {
	if r.consumer == nil {
		return
	}
	if r.messages != nil {
		r.messages.Stop()
	}
	r.c.forgetConsumer(context.Background(), r.stream, r.consumer.CachedInfo().Name)
	r.consumer, r.messages = nil, nil
}
