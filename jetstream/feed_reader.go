package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

const (
	// readAhead is how many messages are asked for before they are wanted; readAheadBytes bounds one such request. It is never less than
	// the largest message that a stream may have: a server that takes less by now would send that one to nobody, and not say so.
	readAhead      = 500
	readAheadBytes = MaxPayload
	// A Reader keeps as many beside those, and fewer bytes: what it hands over at once is half of it, as a rule.
	queued      = readAhead
	queuedBytes = 2 << 20
)

// errDiscontinuity: what is delivered does not follow what was. The consumer was reset or is read by another.
var errDiscontinuity = errors.New("deliveries are not in sequence: another reader has the consumer, or it was reset")

// Reader hands over the raw events of one provider in stream order, each once. It passes on no message that does not
// follow the one before it, in deliveries and in each source's Seq; whatever else comes, a lost connection, a consumer
// that is gone, silent, reset or read by another, ends it, and Open makes a new one. One goroutine at a time may call
// Next; Ack and Close may be called by any.
type Reader struct {
	c        *Client
	op       string
	stream   event.RawStream
	consume  natsjs.ConsumeContext
	statuses chan nats.Status

	more chan struct{} // has a token when there is something new in what follows
	room chan struct{} // has a token when there may be room again

	mu       sync.Mutex
	queue    []event.Stored
	bytes    int // of bodies in queue
	err      error
	closed   bool
	delivery uint64                     // the consumer sequence of the last delivery
	last     event.StreamSeq            // its stream sequence
	seqs     map[event.Source]event.Seq // the last Seq of each source
	replies  []reply                    // of messages that were not acknowledged, in order
}

// reply is where the message with a stream sequence is acknowledged.
type reply struct {
	seq     event.StreamSeq
	subject string
}

func newReader(c *Client, p event.Provider, from event.NormalizedCursor, stream event.RawStream,
	consumer natsjs.Consumer) (*Reader, error) {
	r := &Reader{
		c:        c,
		op:       "read " + event.RawSubjects(p),
		stream:   stream,
		statuses: c.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED),
		more:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		last:     from.RawSeq,
		seqs:     make(map[event.Source]event.Seq, len(from.Sources)),
	}
	for source, at := range from.Sources {
		r.seqs[source] = at.Position
	}
	// Messages may come before Consume has returned what stops them.
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	r.consume, err = consumer.Consume(r.take,
		natsjs.PullMaxMessagesWithBytesLimit(readAhead, max(readAheadBytes, int(c.nc.MaxPayload()))),
		natsjs.PullExpiry(pullExpiry), natsjs.PullHeartbeat(pullHeartbeat),
		natsjs.ConsumeErrHandler(func(_ natsjs.ConsumeContext, err error) { r.troubled(err) }))
	if err != nil {
		c.nc.RemoveStatusListener(r.statuses)
		return nil, readError(context.Background(), r.op, err)
	}
	return r, nil
}

// Stream identifies what is read.
func (r *Reader) Stream() event.RawStream { return r.stream }

// Next waits until there is a raw event and returns those that are there: at most max of them, with at most maxBytes of
// bodies, but at least one. An error ends the Reader: event.Expired when the stream has dropped events of a source that
// come before the next one it has, event.Unavailable for all else, and ctx's.
func (r *Reader) Next(ctx context.Context, max, maxBytes int) ([]event.Stored, error) {
	for {
		if batch, err := r.ready(max, maxBytes); batch != nil || err != nil {
			return batch, err
		}
		select {
		case <-r.more:
		case <-r.statuses:
			// What was delivered while the connection broke is lost, and would come again much later.
			r.fail(unavailable(r.op, nats.ErrDisconnected))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ready takes what is there from the queue. What was delivered in sequence before the Reader ended is still handed over.
func (r *Reader) ready(max, maxBytes int) ([]event.Stored, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, size := 0, 0
	for n < len(r.queue) && (n == 0 || n < max) {
		size += len(r.queue[n].Body)
		if n > 0 && size > maxBytes {
			size -= len(r.queue[n].Body)
			break
		}
		n++
	}
	if n == 0 {
		return nil, r.err
	}
	batch := r.queue[:n:n]
	if r.queue = r.queue[n:]; len(r.queue) == 0 {
		r.queue = nil
	}
	r.bytes -= size
	token(r.room)
	return batch, nil
}

// Ack tells the server that everything up to seq is dealt with. It does not wait for the server.
func (r *Reader) Ack(_ context.Context, seq event.StreamSeq) error {
	r.mu.Lock()
	n := 0
	for n < len(r.replies) && r.replies[n].seq <= seq {
		n++
	}
	if n == 0 || r.err != nil {
		r.mu.Unlock()
		return nil
	}
	subject := r.replies[n-1].subject
	r.replies = r.replies[n:]
	r.mu.Unlock()
	if err := r.c.nc.Publish(subject, []byte("+ACK")); err != nil {
		return unavailable("acknowledge raw events", err)
	}
	return nil
}

// Close stops reading and returns when no more messages are taken. Closing again is no error.
func (r *Reader) Close() {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.queue, r.bytes = nil, 0
	r.mu.Unlock()
	if !first {
		return
	}
	r.fail(unavailable(r.op, errors.New("the reader was closed")))
	r.c.nc.RemoveStatusListener(r.statuses)
	<-r.consume.Closed()
}

// take is called with each message, one at a time. It waits while enough is queued, which also stops the requests for
// more.
func (r *Reader) take(msg natsjs.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		r.fail(unavailable(r.op, err))
		return
	}
	m := stored(msg, meta)
	for !r.put(m, meta, msg.Reply()) {
		<-r.room
	}
}

// put queues a message that follows the one before it, and ends the Reader on any other. It returns false when there is
// no room.
func (r *Reader) put(m event.Stored, meta *natsjs.MsgMetadata, replyTo string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return true
	}
	if len(r.queue) > 0 && (len(r.queue) >= queued || r.bytes+len(m.Body) > queuedBytes) {
		return false
	}
	if meta.Sequence.Consumer != r.delivery+1 || m.Sequence <= r.last || meta.NumDelivered != 1 {
		r.failLocked(unavailable(r.op, fmt.Errorf("%w: delivery %d (time %d) with sequence %d came after delivery %d with %d",
			errDiscontinuity, meta.Sequence.Consumer, meta.NumDelivered, m.Sequence, r.delivery, r.last)))
		return true
	}
	if err := r.checkSeq(m); err != nil {
		r.failLocked(err)
		return true
	}
	r.delivery, r.last = meta.Sequence.Consumer, m.Sequence
	r.queue = append(r.queue, m)
	r.bytes += len(m.Body)
	r.replies = append(r.replies, reply{seq: m.Sequence, subject: replyTo})
	token(r.more)
	return true
}

// checkSeq refuses an event that comes after ones that are gone. A Seq that was there before, or none, is for the
// normalizer to judge.
func (r *Reader) checkSeq(m event.Stored) error {
	_, source, ok := event.SubjectProvider(m.Subject)
	seq, err := strconv.ParseUint(m.Header.Get(event.HeaderSeq), 10, 64)
	if !ok || err != nil {
		return nil
	}
	have := r.seqs[source]
	if event.Seq(seq) > have+1 {
		if _, err := event.ParseRaw(m); err != nil {
			return nil // not one of ours: its number says nothing
		}
		return expired(r.op, source, have+1, event.Seq(seq)-1)
	}
	r.seqs[source] = max(have, event.Seq(seq))
	return nil
}

// troubled is told what the client library hears of the consumer besides messages.
func (r *Reader) troubled(err error) {
	switch {
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, natsjs.ErrMaxBytesExceeded), errors.Is(err, natsjs.ErrBatchCompleted):
		// A request ran out; the next one is under way.
	default:
		r.fail(unavailable(r.op, err))
	}
}

// fail ends the Reader; the first reason stays.
func (r *Reader) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failLocked(err)
}

func (r *Reader) failLocked(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	r.consume.Stop()
	token(r.more)
	token(r.room)
}

func token(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
