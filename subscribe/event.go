package subscribe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// headerType is the CloudEvents attribute with the event type.
const headerType = "ce-type"

// Event is one canonical event as the stream holds it.
type Event struct {
	event.Event
	// Sequence is the event's place in the stream, rising but not contiguous. Store it with the effect of the event.
	Sequence event.StreamSeq
	// Seq is the event's number, contiguous per provider over events and dead letters.
	Seq event.Seq
	// StoredAt is when the server stored it.
	StoredAt time.Time
	// Redriven is the Seq of the dead letter that it was before, 0 if it was none. Backfill is the job that asked for it again,
	// "" if it came by itself. Either is out of time order.
	Redriven event.Seq
	Backfill string
	// Header is as it was stored; values are written with event.EncodeHeader. Read only.
	Header event.Header
	// Body is the whole canonical event as JSON, also where the message itself was too small for it.
	Body []byte
}

// Dead is a dead letter: a raw event that could not be converted.
type Dead struct {
	Provider event.Provider
	// Source is the one that collected it.
	Source event.Source
	// Sequence and Seq are as in Event.
	Sequence event.StreamSeq
	Seq      event.Seq
	StoredAt time.Time
	Reason   event.Reason
	Detail   string
	// Redriven is the Seq of the dead letter that was converted again and became this one, 0 if it is the first.
	Redriven event.Seq
	// RawSequence is where the raw event is in EVENTS_RAW.
	RawSequence event.StreamSeq
	Header      event.Header
	// Body is the raw event's. It is nil where it was too large for a message; BodyRef then names the object.
	Body    []byte
	BodyRef event.BodyRef
}

// message is what a consumer delivered, with what must be known before anything is decoded.
type message struct {
	msg        natsjs.Msg
	header     event.Header
	provider   event.Provider
	dead       bool
	sequence   event.StreamSeq
	delivery   uint64 // contiguous per consumer since its last reset
	seq        event.Seq
	pending    uint64 // how many matching messages came after it when it was delivered
	storedAt   time.Time
	receivedAt time.Time
}

func parse(msg natsjs.Msg) (message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return message{}, fmt.Errorf("read message on %s: %w", msg.Subject(), err)
	}
	m := message{
		msg: msg, header: event.Header(msg.Headers()),
		sequence: event.StreamSeq(meta.Sequence.Stream), delivery: meta.Sequence.Consumer,
		pending: meta.NumPending, storedAt: meta.Timestamp, receivedAt: time.Now(),
	}
	var ok bool
	if m.provider, _, ok = event.SubjectProvider(msg.Subject()); !ok {
		return m, m.invalid("subject", errors.New(msg.Subject()))
	}
	_, _, replayedDead, _ := event.ParseReplaySubject(msg.Subject())
	m.dead = replayedDead || msg.Subject() == event.DeadSubject(m.provider)
	if err := event.CheckFormat(m.header); err != nil {
		return m, m.invalid("the format", err)
	}
	n, err := strconv.ParseUint(m.header.Get(event.HeaderSeq), 10, 64)
	if err != nil || n == 0 {
		return m, m.invalid(event.HeaderSeq, fmt.Errorf("it is %q", m.header.Get(event.HeaderSeq)))
	}
	m.seq = event.Seq(n)
	return m, nil
}

func (m *message) invalid(what string, err error) error {
	return &event.Error{
		Kind: event.Invalid, Op: fmt.Sprintf("read %s of message %d of %s", what, m.sequence, event.StreamNormalized), Err: err,
	}
}

func (m *message) eventType() string { return event.DecodeHeader(m.header.Get(headerType)) }

// decode reads the event, from the object store if the message had not room enough.
func (m *message) decode(ctx context.Context, bodies *bodies) (Event, error) {
	e := Event{
		Sequence: m.sequence, Seq: m.seq, StoredAt: m.storedAt, Header: m.header, Body: m.msg.Data(),
		Redriven: m.redriven(), Backfill: event.DecodeHeader(m.header.Get(event.HeaderBackfill)),
	}
	if ref := event.BodyRefOf(m.header); ref.Object != "" {
		body, err := bodies.get(ctx, ref)
		if err != nil {
			return e, fmt.Errorf("event %d: %w", m.sequence, err)
		}
		e.Body = body
	}
	if err := json.Unmarshal(e.Body, &e.Event); err != nil {
		return e, m.invalid("the body", err)
	}
	e.Provider = m.provider
	return e, nil
}

// redriven is the letter that was converted again and became this message.
func (m *message) redriven() event.Seq {
	n, _ := strconv.ParseUint(m.header.Get(event.HeaderRedriven), 10, 64)
	return event.Seq(n)
}

func (m *message) deadLetter() Dead {
	raw, _ := strconv.ParseUint(m.header.Get(event.HeaderRawSeq), 10, 64)
	source := event.Source(m.header.Get(event.HeaderRawSource))
	if first := m.header.Get(event.HeaderOriginSource); source == event.SourceRedrive && first != "" {
		source = event.Source(first)
	}
	return Dead{
		Provider: m.provider, Source: source, Redriven: m.redriven(),
		Sequence: m.sequence, Seq: m.seq, StoredAt: m.storedAt,
		Reason: event.Reason(event.DecodeHeader(m.header.Get(event.HeaderReason))),
		Detail: event.DecodeHeader(m.header.Get(event.HeaderDetail)), RawSequence: event.StreamSeq(raw),
		Header: m.header, Body: m.msg.Data(), BodyRef: event.BodyRefOf(m.header),
	}
}

// bodies reads the object store of bodies that are too large for a message.
type bodies struct{ js natsjs.JetStream }

// bodyTimeout is how long one body may take to be read; the client library's own limit is far too short for a large one
// over a slow network.
const bodyTimeout = 2 * time.Minute

// bodySettles is how long an object may be missing before it counts as gone, where a replica answers: it lags for as long as it
// is cut off from the leader.
const bodySettles = 30 * time.Second

// get returns the object's content, checked against its name. A missing one is event.Expired.
func (b *bodies) get(ctx context.Context, ref event.BodyRef) ([]byte, error) {
	op := "read body " + ref.Object
	ctx, cancel := context.WithTimeout(ctx, bodyTimeout)
	defer cancel()
	store, err := b.js.ObjectStore(ctx, event.BucketBodies)
	if err != nil {
		return nil, &event.Error{Kind: event.Unavailable, Op: op, Err: err}
	}
	body, err := readBody(ctx, store, ref.Object)
	switch {
	case errors.Is(err, natsjs.ErrObjectNotFound):
		return nil, &event.Error{Kind: event.Expired, Op: op, Err: err}
	case err != nil:
		return nil, &event.Error{Kind: event.Unavailable, Op: op, Err: err}
	case event.NewBodyRef(body) != ref:
		return nil, &event.Error{Kind: event.Unavailable, Op: op, Err: fmt.Errorf("its %d bytes are not what its name says", len(body))}
	}
	return body, nil
}

// readBody asks for an object again for as long as it may merely not have reached the replica that answers.
func readBody(ctx context.Context, store natsjs.ObjectStore, name string) ([]byte, error) {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(bodySettles))
	return backoff.RetryWithData(func() ([]byte, error) {
		body, err := store.GetBytes(ctx, name)
		if err != nil && (!errors.Is(err, natsjs.ErrObjectNotFound) || alone(ctx, store)) {
			err = backoff.Permanent(err)
		}
		return body, err
	}, backoff.WithContext(pause, ctx))
}

// alone tells whether there is only one server that can answer.
func alone(ctx context.Context, store natsjs.ObjectStore) bool {
	status, err := store.Status(ctx)
	if err != nil {
		return false
	}
	bucket, ok := status.(*natsjs.ObjectBucketStatus)
	return ok && (bucket.StreamInfo().Cluster == nil || len(bucket.StreamInfo().Cluster.Replicas) == 0)
}
