package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
)

const (
	// memoryPull is how many headers are asked for at once.
	memoryPull = 2000
	// maxEmpty is how many requests in a row may bring nothing though there is something.
	maxEmpty = 3
	// memoryIdle is when the server forgets a consumer that nobody reads any more.
	memoryIdle = 20 * time.Second
	// catchUp is how long it may take until the leader reads for us.
	catchUp = 2 * time.Minute
)

// Memory reads back which identities EVENTS_RAW holds. It is safe for concurrent use.
type Memory struct{ raw *Log }

// Memory is the memory of raw events.
func (c *Client) Memory() *Memory { return &Memory{raw: c.Raw()} }

// Identities calls yield for the raw events of all sources of a provider, in stream order, from a stream sequence on to
// what the stream holds when it is called, and at least to upTo, which it is known to hold. So are those that it had under former
// names, as far as its cursors say that they count, without their numbers: those were given to others. Bodies are not read. A message
// that was not written by stackstream has no identity: it is passed over, and the log says so. One that a newer version wrote
// is an error of the kind event.Invalid. An error leaves the account incomplete.
//
// A replica that lags would not do, also where its leader calls it current: it may have the log and not yet the stream. Nor
// would a leader that has just been elected and does not show yet all that was committed before. So the leader is read, and it
// has to show upTo and the newest cursor that was found. No server can be told to read for us: consumers are made until one is
// on the leader.
func (m *Memory) Identities(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen)) error {
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
	for _, cursor := range cursors {
		upTo = max(upTo, cursor.Sequence)
	}
	for _, name := range append(formerNames(cursors, from), event.Former{Provider: p}) {
		if err := m.identitiesUnder(ctx, handle, name, from, upTo, yield); err != nil {
			return readError(ctx, op, err)
		}
	}
	return nil
}

// identitiesUnder reads those of one of a provider's names. The numbers of a former one were given to others.
func (m *Memory) identitiesUnder(
	ctx context.Context, handle natsjs.Stream, name event.Former, from, upTo event.StreamSeq, yield func(event.Seen),
) error {
	var foreign foreigners
	r := recollection{
		stream: handle, name: event.StreamRaw, reader: "memory-" + string(name.Provider), subject: event.RawSubjects(name.Provider),
		headersOnly: true, upTo: upTo, next: max(from, 1), yield: func(m event.Stored) error {
			raw, err := event.ParseRaw(m)
			switch {
			case err != nil:
				return foreign.pass(err)
			case name.Until == 0:
			case raw.Sequence >= name.Until:
				return nil
			default:
				raw.Seq = 0
			}
			yield(event.Seen{
				ID: raw.ID, Source: raw.Source, Time: raw.Time, Received: raw.Received, Seq: raw.Seq, Sequence: raw.Sequence,
			})
			return nil
		},
	}
	if err := r.run(ctx); err != nil {
		return err
	}
	foreign.tell(m.raw.c.log, name.Provider)
	return nil
}

// formerNames are those under which a provider's sources have events to remember from a stream sequence on, in the order of the
// stream: a name is taken over when nobody writes under the one before any more, and by a provider that has no events yet.
func formerNames(cursors map[event.Source]event.RawCursor, from event.StreamSeq) []event.Former {
	var names []event.Former
	for _, cursor := range cursors {
		for _, name := range event.StillFormer(cursor.Former, from) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, func(a, b event.Former) int { return cmp.Compare(a.Until, b.Until) })
	return names
}

// foreigners are messages that were not written by stackstream.
type foreigners struct {
	first error
	n     int
}

// pass counts a message that could not be read for a reason. It returns the reason if a newer version wrote the message.
func (f *foreigners) pass(err error) error {
	if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
		return err
	}
	if f.n++; f.first == nil {
		f.first = err
	}
	return nil
}

func (f *foreigners) tell(log zerolog.Logger, p event.Provider) {
	if f.first != nil {
		log.Warn().Err(f.first).Int("messages", f.n).Str("provider", string(p)).
			Msg("messages that stackstream did not write were passed over")
	}
}

// recollection reads what the leader of a stream has on a subject, to its end.
type recollection struct {
	stream      natsjs.Stream
	name        string // of the stream
	reader      string // what the names of its consumers begin with
	subject     string
	headersOnly bool
	upTo        event.StreamSeq
	next        event.StreamSeq // where to go on
	began       time.Time
	yield       func(event.Stored) error

	consumer  natsjs.Consumer
	shownBy   *string // the leader that showed upTo before the consumer was made, nil if it did not
	delivered uint64
	left      uint64 // how many the server has that were not read yet, as far as it has said
	empty     int    // requests in a row that brought nothing
}

// run reads with one consumer after the other, until one has read the leader to its end.
func (r *recollection) run(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0))
	r.began = time.Now()
	for {
		if err := r.consume(ctx); err != nil {
			return err
		}
		done, err := r.readLeader(ctx)
		if err != nil || done {
			return err
		}
		if time.Since(r.began) > catchUp {
			return fmt.Errorf("no server that reads %s for us is its leader", r.name)
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// consume makes a consumer that goes on where the last one ended.
func (r *recollection) consume(ctx context.Context) error {
	stream, err := infoOf(ctx, r.stream)
	if err != nil {
		return err
	}
	if r.shownBy = nil; event.StreamSeq(stream.State.LastSeq) >= r.upTo {
		leader := leaderOf(stream)
		r.shownBy = &leader
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	consumer, err := r.stream.CreateConsumer(ctx, natsjs.ConsumerConfig{
		Name:              r.reader + "-" + newID(),
		FilterSubject:     r.subject,
		DeliverPolicy:     natsjs.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(r.next),
		AckPolicy:         natsjs.AckNonePolicy,
		HeadersOnly:       r.headersOnly,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: memoryIdle,
	})
	if err != nil {
		return err
	}
	r.consumer, r.delivered, r.left, r.empty = consumer, 0, consumer.CachedInfo().NumPending, 0
	return nil
}

// readLeader reads to the end what the server has that reads for us; false if it is not the leader of the stream.
func (r *recollection) readLeader(ctx context.Context) (done bool, err error) {
	for {
		stream, err := infoOf(ctx, r.stream)
		if err != nil {
			return false, err
		}
		consumer, err := r.ask(ctx)
		if err != nil {
			return false, err
		}
		leader := leaderOf(stream)
		if stream.Cluster != nil && consumer.Cluster != nil && len(stream.Cluster.Replicas) > 0 {
			if leader == "" || consumer.Cluster.Leader != leader {
				return false, nil
			}
		}
		r.left = consumer.NumPending + consumer.Delivered.Consumer - r.delivered
		shown := event.StreamSeq(stream.State.LastSeq) >= r.upTo
		if r.left == 0 && shown {
			// A consumer knows all that the stream had when it was made. Of what is stored later it is told by and by: one that
			// is older than that does not count.
			return r.shownBy != nil && *r.shownBy == leader, nil
		}
		if err := r.read(ctx); err != nil {
			return false, err
		}
		if r.left == 0 && !shown {
			if time.Since(r.began) > catchUp {
				return false, fmt.Errorf("the leader of %s ends at %d, and %d was there", r.name, stream.State.LastSeq, r.upTo)
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return false, context.Cause(ctx)
			}
		}
	}
}

// leaderOf is the server that leads a stream, "" if none does, or if there is one server only.
func leaderOf(stream *natsjs.StreamInfo) string {
	if stream.Cluster == nil {
		return ""
	}
	return stream.Cluster.Leader
}

func (r *recollection) ask(ctx context.Context) (*natsjs.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return r.consumer.Info(ctx)
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
	r.next = event.StreamSeq(meta.Sequence.Stream) + 1
	r.left = min(r.left-1, meta.NumPending)
	return r.yield(stored(msg, meta))
}

// Cursors returns the cursor of every source that ever collected for a provider, with its Sequence.
func (m *Memory) Cursors(ctx context.Context, p event.Provider) (map[event.Source]event.RawCursor, error) {
	subjects, err := m.raw.c.subjects(ctx, event.StreamRaw, event.RawCursorSubjects(p))
	if err != nil {
		return nil, err
	}
	cursors := make(map[event.Source]event.RawCursor, len(subjects))
	for _, subject := range subjects {
		source, err := sourceOf(p, subject)
		if err != nil {
			return nil, err
		}
		cursor, err := m.raw.readRawCursor(ctx, p, source)
		if err != nil {
			return nil, err
		}
		cursors[source] = cursor
	}
	return cursors, nil
}

// sourceOf is the source whose cursor is on a subject.
func sourceOf(p event.Provider, subject string) (event.Source, error) {
	_, source, ok := event.SubjectProvider(subject)
	if !ok || source == "" {
		return "", invalid("read the cursors of "+string(p), fmt.Errorf("%s is not the subject of a cursor", subject))
	}
	return source, nil
}

// readRawCursor returns the cursor of one source, the zero RawCursor if it has none.
func (l *Log) readRawCursor(ctx context.Context, p event.Provider, s event.Source) (event.RawCursor, error) {
	m, ok, err := l.ReadCursor(ctx, event.RawCursorSubject(p, s), 0)
	if err != nil || !ok {
		return event.RawCursor{}, err
	}
	return decodeRawCursor(m)
}

// decodeRawCursor reads a cursor, with its Sequence.
func decodeRawCursor(m event.Stored) (event.RawCursor, error) {
	var cursor event.RawCursor
	if err := event.DecodeRecord(m, &cursor); err != nil {
		return cursor, err
	}
	cursor.Sequence = m.Sequence
	return cursor, nil
}
