package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

const (
	// memoryPull is how many headers are asked for at once.
	memoryPull = 2000
	// maxEmpty is how many requests in a row may bring nothing though there is something.
	maxEmpty = 3
	// memoryIdle is when the server forgets a consumer that nobody reads any more.
	memoryIdle = 30 * time.Second
)

// Memory reads back which identities EVENTS_RAW holds. It is safe for concurrent use.
type Memory struct{ raw *Log }

// Memory is the memory of raw events.
func (c *Client) Memory() *Memory { return &Memory{raw: c.Raw()} }

// Identities calls yield for the raw events of all sources of a provider, in stream order, from a stream sequence on to
// what the stream holds when it is called. Bodies are not read. A message that was not written by stackstream has no
// identity: it is passed over, and the log says so. One that a newer version wrote is an error of the kind event.Invalid.
// An error leaves the account incomplete.
//
// The server that reads the stream for us may lag behind its leader, and so may the one that is asked for a cursor: the
// cursor of another source, which the caller has not read, would speak of too little then. A stream with replicas is
// therefore read until that server has caught up with what the leader had when this was called.
func (m *Memory) Identities(ctx context.Context, p event.Provider, from event.StreamSeq, yield func(event.Seen)) error {
	op := "read the identities of " + string(p)
	handle, err := m.raw.streamHandle(ctx)
	if err != nil {
		return err
	}
	cursors, err := m.Cursors(ctx, p)
	if err != nil {
		return err
	}
	ctx, release := m.raw.c.failOnRefusal(ctx, isConsumerRequest(event.StreamRaw))
	defer release()
	brief, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	consumer, err := handle.CreateConsumer(brief, natsjs.ConsumerConfig{
		Name:              "memory-" + string(p) + "-" + newID(),
		FilterSubject:     event.RawSubjects(p),
		DeliverPolicy:     natsjs.DeliverByStartSequencePolicy,
		OptStartSeq:       max(uint64(from), 1),
		AckPolicy:         natsjs.AckNonePolicy,
		HeadersOnly:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: memoryIdle,
	})
	if err != nil {
		return readError(ctx, op, err)
	}

	r := recollection{consumer: consumer, last: map[event.Source]event.Seq{}, yield: yield}
	r.left = consumer.CachedInfo().NumPending
	replicated := handle.CachedInfo().Config.Replicas > 1
	behind := replica{stream: handle, consumer: consumer, since: time.Now()}
	for done := false; ; {
		if err := r.read(ctx); err != nil {
			return readError(ctx, op, err)
		}
		if r.left == 0 && (done || !replicated && r.complete(cursors, from)) {
			break
		}
		if r.left, done, err = behind.caughtUp(ctx, r.delivered); err != nil {
			return readError(ctx, op, err)
		}
	}
	if r.foreign != nil {
		m.raw.c.log.Warn().Err(r.foreign).Int("messages", r.foreigners).Str("provider", string(p)).
			Msg("raw messages that stackstream did not write were passed over")
	}
	return nil
}

// recollection is one reading of identities.
type recollection struct {
	consumer   natsjs.Consumer
	delivered  uint64
	left       uint64                     // how many the server has that were not read yet, as far as it has said
	empty      int                        // requests in a row that brought nothing
	last       map[event.Source]event.Seq // the last one seen of each source
	yield      func(event.Seen)
	foreign    error // the first message that was not written by stackstream
	foreigners int
}

// read takes what is left, or less: then the server has to be asked anew how much that is, since some may have expired.
func (r *recollection) read(ctx context.Context) error {
	for r.left > 0 {
		before := r.delivered
		if err := r.request(ctx, int(min(r.left, memoryPull))); err != nil {
			return err
		}
		if r.delivered > before {
			r.empty = 0
			continue
		}
		if r.empty++; r.empty > maxEmpty {
			return fmt.Errorf("%d events do not come", r.left)
		}
		return nil
	}
	return nil
}

// request asks once for n messages and takes what comes until there are so many or the server says that there are no more.
// Silence is an error: what was sent meanwhile may be lost.
func (r *recollection) request(ctx context.Context, n int) error {
	brief, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	// A server that has just been given a consumer need not be known to the one we are connected to: nobody answers then.
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(5*time.Millisecond), backoff.WithMaxInterval(200*time.Millisecond))
	for {
		batch, err := r.consumer.Fetch(n, natsjs.FetchContext(brief))
		if err != nil {
			return err
		}
		came := 0
		for msg := range batch.Messages() {
			if came++; err == nil {
				err = r.take(msg)
			}
		}
		if err == nil {
			err = batch.Error()
		}
		if came > 0 || !errors.Is(err, nats.ErrNoResponders) {
			return err
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-brief.Done():
			return err
		}
	}
}

func (r *recollection) take(msg natsjs.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	if meta.Sequence.Consumer != r.delivered+1 {
		return fmt.Errorf("delivery %d follows %d", meta.Sequence.Consumer, r.delivered)
	}
	r.delivered++
	r.left = min(r.left-1, meta.NumPending)
	raw, err := event.ParseRaw(stored(msg, meta))
	if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
		return err
	}
	if err != nil {
		if r.foreigners++; r.foreign == nil {
			r.foreign = err
		}
		return nil
	}
	r.last[raw.Source] = raw.Seq
	r.yield(event.Seen{ID: raw.ID, Source: raw.Source, Time: raw.Time, Seq: raw.Seq, Sequence: raw.Sequence})
	return nil
}

// complete tells whether everything was seen that the cursors speak of and that can't come before from.
func (r *recollection) complete(cursors map[event.Source]event.RawCursor, from event.StreamSeq) bool {
	for source, cursor := range cursors {
		if cursor.Position > 0 && cursor.Sequence > from && r.last[source] < cursor.Position {
			return false
		}
	}
	return true
}

// replica is the server that a consumer reads a stream on.
type replica struct {
	stream   natsjs.Stream
	consumer natsjs.Consumer
	current  time.Time // when its leader first called it current
	since    time.Time // when it was first asked
}

// catchUp is how long a server may take to catch up. Another one may have less to catch up with, and is tried then.
const catchUp = 2 * time.Minute

// caughtUp pauses for a moment and tells whether the server has all that its leader had when this was first called, and
// how many messages it has for the consumer behind the given delivery, on their way included. It has all when it is the
// leader, or a while after the leader has called it current once: it has received everything then, and may still have to
// apply it. While others write it need not be current again.
func (r *replica) caughtUp(ctx context.Context, delivered uint64) (left uint64, done bool, err error) {
	select {
	case <-time.After(50 * time.Millisecond):
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	stream, err := infoOf(ctx, r.stream)
	if err != nil {
		return 0, false, err
	}
	brief, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	consumer, err := r.consumer.Info(brief)
	if err != nil {
		return 0, false, err
	}
	left = consumer.NumPending + consumer.Delivered.Consumer - delivered
	if stream.Cluster == nil || consumer.Cluster == nil || stream.Cluster.Leader == consumer.Cluster.Leader {
		return left, true, nil
	}
	for _, peer := range stream.Cluster.Replicas {
		if peer.Name != consumer.Cluster.Leader {
			continue
		}
		switch {
		case peer.Offline:
			r.current = time.Time{}
		case !r.current.IsZero():
			return left, time.Since(r.current) > settle/4, nil
		case peer.Current && peer.Lag == 0:
			r.current = time.Now()
		}
	}
	if left == 0 && time.Since(r.since) > catchUp {
		return 0, false, unavailable("catch up", fmt.Errorf("NATS server %s, which reads %s for us, does not catch up with its leader",
			consumer.Cluster.Leader, event.StreamRaw))
	}
	return left, false, nil
}

// Cursors returns the cursor of every source that ever collected for a provider, with its Sequence.
func (m *Memory) Cursors(ctx context.Context, p event.Provider) (map[event.Source]event.RawCursor, error) {
	subjects, err := m.raw.c.subjects(ctx, event.StreamRaw, event.RawCursorSubjects(p))
	if err != nil {
		return nil, err
	}
	cursors := make(map[event.Source]event.RawCursor, len(subjects))
	for _, subject := range subjects {
		_, source, ok := event.SubjectProvider(subject)
		if !ok || source == "" {
			return nil, invalid("read the cursors of "+string(p), fmt.Errorf("%s is not the subject of a cursor", subject))
		}
		cursor, err := m.raw.readRawCursor(ctx, p, source)
		if err != nil {
			return nil, err
		}
		cursors[source] = cursor
	}
	return cursors, nil
}

// readRawCursor returns the cursor of one source, the zero RawCursor if it has none.
func (l *Log) readRawCursor(ctx context.Context, p event.Provider, s event.Source) (event.RawCursor, error) {
	var cursor event.RawCursor
	m, ok, err := l.ReadCursor(ctx, event.RawCursorSubject(p, s), 0)
	if err != nil || !ok {
		return cursor, err
	}
	if err := event.DecodeRecord(m, &cursor); err != nil {
		return cursor, err
	}
	cursor.Sequence = m.Sequence
	return cursor, nil
}
