package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"stackstream/event"
)

// Headers of an atomic batch and of what its messages expect.
const (
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
	headerExpectStream  = "Nats-Expected-Stream"
	headerExpectLast    = "Nats-Expected-Last-Subject-Sequence"
	headerExpectSubject = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerRollup        = "Nats-Rollup"
	headerTTL           = "Nats-TTL"
)

const (
	prefixStored = "events."
	prefixIngest = "ingest."

	// maxBatch is how many messages the server takes in one batch.
	maxBatch = 1000
	// maxOpenBatches bounds how many batches one Log has open at the server, which takes 50 per stream of all writers
	// together and keeps the slot of an abandoned one for ten seconds.
	maxOpenBatches = 16
	// placePatience is how long a batch is sent again that the server has no place for. Those that were opened ahead have left theirs
	// by then.
	placePatience = 2 * aheadFor
	// answerTimeout is how long one answer of the server is waited for. The server gives up a batch after ten seconds
	// without a message.
	answerTimeout = 10 * time.Second
	// readTimeout is how long an answer to a request that changes nothing is waited for: the server that was to give it
	// may be gone, and another would give it at once.
	readTimeout = 4 * time.Second
)

// Log appends batches to one stream and reads the cursors in it. It is safe for concurrent use; make one per stream and
// process, because the number of batches it has open at once is bounded per Log.
type Log struct {
	c      *Client
	stream string
	open   chan struct{}
	turn   chan struct{} // held by the batch that goes through a cluster
	joint  chan struct{} // held by who sends the batches that go together

	mu      sync.Mutex
	waiting []*joining        // for the next that go together, in the order in which they came
	ahead   map[string]*ahead // by the subject of the cursor
	noPlace time.Time         // when the server last had no place for a batch
	// unanswered is how many batches were taken in a row and not answered.
	unanswered int
	handle     natsjs.Stream // nil until the stream was asked about, and after an answer that does not fit what it said
}

// Raw is the log of raw events, EVENTS_RAW.
func (c *Client) Raw() *Log { return c.newLog(event.StreamRaw) }

// Normalized is the log of canonical events and dead letters, EVENTS_NORMALIZED.
func (c *Client) Normalized() *Log { return c.newLog(event.StreamNormalized) }

func (c *Client) newLog(stream string) *Log {
	return &Log{c: c, stream: stream, open: make(chan struct{}, maxOpenBatches), turn: make(chan struct{}, 1),
		joint: make(chan struct{}, 1)}
}

// Append stores the batch: all of it, durable when it returns, or nothing. It returns the stream sequence of the cursor;
// the message before it has the sequence one less, and so on.
//
// A batch is refused with event.Fenced if another message than Expect is the last on the cursor's subject, or another
// than the Fence says on the fence's. Fenced, Full, TooLarge, Unavailable and Invalid are definite: nothing was stored
// and nothing will be. Unknown is not: the batch may be stored now, or become so later when a server comes back, until
// another batch with the same cursor was stored. Append never sends again what may have been stored.
//
// A small batch may be on its way with others when Append returns because ctx has ended: nothing of it may be changed then either.
//
// It waits at most for ctx, for ten seconds per answer of the server, a small batch half a minute for those of the process that go
// before it, in a cluster as long for its turn, and two seconds for a place at the server; a right that the server refuses is told at
// once.
func (l *Log) Append(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
	op := "append to " + l.stream
	if err := checkBatch(b); err != nil {
		return 0, invalid(op, err)
	}
	handle, err := l.streamHandle(ctx)
	if err != nil {
		return 0, err
	}
	messages := buildMessages(l.stream, b)
	several := len(messages) > 1
	turns := several && clustered(handle)
	if turns {
		messages, err = takeTurn(messages, func() (event.Message, error) { return l.replaced(ctx, b) })
		if err != nil {
			return 0, err
		}
	}
	if err := checkSizes(messages, l.c.nc.MaxPayload(), handle.CachedInfo().Config.MaxMsgSize); err != nil {
		var known *event.Error
		if errors.As(err, &known) {
			known.Op = op
		}
		return 0, err
	}
	if several && mayJoin(&b, messages) {
		return l.join(ctx, l.enter(ctx, &b, messages, turns))
	}
	return l.appendOne(ctx, &b, messages, turns)
}

// appendOne sends a batch by itself.
func (l *Log) appendOne(ctx context.Context, b *event.Batch, messages []*nats.Msg, turns bool) (event.StreamSeq, error) {
	var opened *ahead
	var previous event.Stored
	if !turns {
		opened = l.takeAhead(ctx, b)
		previous, _ = l.c.known.message(b.Cursor.Subject)
	}
	ack, err := l.commit(ctx, messages, turns, turnPatience, opened)
	if err != nil {
		return 0, err
	}
	at := l.committed(b, ack.Batch, event.StreamSeq(ack.Sequence))
	if !turns && len(messages) > 1 && mayJoin(b, messages) {
		l.openAhead(b.Cursor, at, previous.Time)
	}
	return at, nil
}

// committed notes where the cursor of a batch is.
func (l *Log) committed(b *event.Batch, id string, at event.StreamSeq) event.StreamSeq {
	l.c.seen.see(l.stream, b.Cursor.Subject, id, at, time.Now())
	l.c.known.wrote(event.Stored{Message: b.Cursor, Sequence: at, Time: time.Now()})
	before := at
	if b.Shared.Subject != "" {
		before--
		l.c.known.wrote(event.Stored{Message: b.Shared, Sequence: before})
	}
	if replaces(b) {
		l.c.known.wrote(event.Stored{Message: b.Messages[0], Sequence: before - event.StreamSeq(len(b.Messages))})
	}
	return at
}

// commit sends messages as one batch until that is stored or an error says that it is not, or may not be. It asks for its turn for as
// long as patience says. opened, if not nil, is the batch that the first attempt goes into.
func (l *Log) commit(
	ctx context.Context, messages []*nats.Msg, turns bool, patience time.Duration, opened *ahead,
) (pubAck, error) {
	op := "append to " + l.stream
	select {
	case l.open <- struct{}{}:
		defer func() { <-l.open }()
	case <-ctx.Done():
		if opened != nil {
			l.abandonAhead(opened)
		}
		return pubAck{}, unavailable(op, context.Cause(ctx))
	}
	ctx, release := l.c.failFast(ctx, messages)
	defer release()

	// Another batch that expects something of the same subject (the fence is shared by a provider's sources, the turn by all) may
	// be on its way through the cluster. The server then refuses without having looked, and says so with an error of its own;
	// asking again once that batch is through is what it means. So it is where other batches have all its places.
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(2*time.Millisecond),
		backoff.WithMaxInterval(refusedPause), backoff.WithMaxElapsedTime(patience))
	var err error
	began := time.Now()
	for refused := false; ; refused = true {
		var ack pubAck
		if opened != nil {
			ack, err = l.sendInto(ctx, opened, messages)
			opened = nil
		} else {
			ack, err = l.send(ctx, messages, turns, refused)
		}
		if err == nil {
			l.count(false)
			return ack, nil
		}
		noPlace := l.noteNoPlace(err) && time.Since(began) < placePatience
		wait := pause.NextBackOff()
		if !noPlace && !errors.Is(err, errInProcess) || wait == backoff.Stop {
			break
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return pubAck{}, unavailable(op, context.Cause(ctx))
		}
	}
	if errors.Is(err, errStaleConfig) {
		l.forget()
	}
	err = l.suspectDisk(ctx, err)
	var known *event.Error
	if errors.As(err, &known) {
		known.Op = op
	}
	return pubAck{}, err
}

// send publishes one attempt. A batch of more than one message gets its batch headers here, with an id of its own for
// each attempt. turns: it commits when it is its turn; refused: it was refused before because it was not. Errors have a kind and
// no Op.
func (l *Log) send(ctx context.Context, messages []*nats.Msg, turns, refused bool) (pubAck, error) {
	last := len(messages) - 1
	if last == 0 {
		// One message is atomic by itself.
		ack, err := l.c.request(ctx, messages[0])
		if err != nil {
			return ack, sendError(err, phaseCommit)
		}
		return ack, nil
	}
	id := nuid.Next()
	ids, sequences := []string{id}, make([]string, len(messages))
	for i, m := range messages {
		sequences[i] = strconv.Itoa(i + 1)
		m.Header[headerBatchID] = ids
		m.Header[headerBatchSequence] = sequences[i : i+1 : i+1]
	}
	messages[last].Header[headerBatchCommit] = []string{"1"}

	// The first answer says that the server takes batches, has a slot for this one and room; it is empty then.
	if _, err := l.c.request(ctx, messages[0]); err != nil {
		return pubAck{}, sendError(err, phaseOpen)
	}
	for _, m := range messages[1:last] {
		if err := l.c.nc.PublishMsg(m); err != nil {
			return pubAck{}, sendError(err, phaseOpen)
		}
	}
	if turns {
		end, err := l.awaitTurn(ctx, messages[last], refused)
		if err != nil {
			return pubAck{}, sendError(err, phaseOpen)
		}
		defer end()
	}
	return l.sendLast(ctx, messages[last], id, len(messages))
}

// sendInto publishes one attempt that goes into a batch that is open.
func (l *Log) sendInto(ctx context.Context, a *ahead, messages []*nats.Msg) (pubAck, error) {
	messages = a.behind(messages)
	last := len(messages) - 1
	for i, m := range messages {
		a.mark(m, i+2)
		if i == last {
			break
		}
		if err := l.c.nc.PublishMsg(m); err != nil {
			return pubAck{}, sendError(err, phaseOpen)
		}
	}
	messages[last].Header[headerBatchCommit] = []string{"1"}
	return l.sendLast(ctx, messages[last], a.id, len(messages)+1)
}

// sendLast publishes the message that commits a batch of so many.
//
// A server whose disk has no room for what was put aside calls the batch incomplete, keeps it, and no longer gives it up by itself
// (nats-server 2.15.2, readyForCommit): it would lose one place after the other for good.
func (l *Log) sendLast(ctx context.Context, m *nats.Msg, id string, count int) (pubAck, error) {
	ack, err := l.c.request(ctx, m)
	if err != nil {
		var api *natsjs.APIError
		if errors.As(err, &api) && api.ErrorCode == codeBatchIncomplete {
			l.abandon(m.Subject, id, count)
		}
		return ack, sendError(err, phaseCommit)
	}
	if ack.Count != count || ack.Batch != id {
		return ack, &event.Error{Kind: event.Unknown, Err: fmt.Errorf("the server acknowledged %d messages of batch %q, "+
			"%d of %q were sent", ack.Count, ack.Batch, count, id)}
	}
	return ack, nil
}

// buildMessages turns a batch into what is published: subjects of the ingest side, the fence on the first message, the
// cursor last with what it expects.
func buildMessages(stream string, b event.Batch) []*nats.Msg {
	messages := make([]*nats.Msg, 0, len(b.Messages)+2)
	for _, m := range b.Messages {
		message := buildMessage(m)
		if event.IsCommands(m.Subject) {
			message.Header[headerTTL] = []string{"never"} // few, and to be there when somebody asks
		}
		messages = append(messages, message)
	}
	switch {
	case len(messages) == 0 || b.Fence.Subject == "":
	case replaces(&b):
		replace(messages[0], b.Fence.Sequence)
	default:
		// The subject to look at is named as it is stored: the server compares it with what it has.
		messages[0].Header[headerExpectSubject] = []string{b.Fence.Subject}
		messages[0].Header[headerExpectLast] = []string{formatSeq(b.Fence.Sequence)}
	}
	if b.Shared.Subject != "" {
		shared := buildMessage(b.Shared)
		replace(shared, b.SharedExpect)
		messages = append(messages, shared)
	}
	cursor := buildMessage(b.Cursor)
	cursor.Header[headerExpectStream] = []string{stream}
	replace(cursor, b.Expect)
	return append(messages, cursor)
}

// replace makes a message one that replaces another on its subject, and stays.
func replace(m *nats.Msg, expect event.StreamSeq) {
	m.Header[headerExpectLast] = []string{formatSeq(expect)}
	m.Header[headerRollup] = []string{"sub"}
	m.Header[headerTTL] = []string{"never"}
}

// replaces tells whether the first message of a batch replaces the fence.
func replaces(b *event.Batch) bool {
	return len(b.Messages) > 0 && b.Messages[0].Subject == b.Fence.Subject
}

// buildMessage copies the headers of a message: what a batch adds is not the caller's.
func buildMessage(m event.Message) *nats.Msg {
	header := maps.Clone(nats.Header(m.Header))
	if header == nil {
		header = nats.Header{}
	}
	return &nats.Msg{Subject: ingestSubject(m.Subject), Header: header, Data: m.Body}
}

func ingestSubject(stored string) string {
	return prefixIngest + strings.TrimPrefix(stored, prefixStored)
}

func formatSeq(seq event.StreamSeq) string { return strconv.FormatUint(uint64(seq), 10) }

// streamHandle returns the stream and what it said of itself when it was asked, which is once and after every answer
// that does not fit. The error has a kind.
func (l *Log) streamHandle(ctx context.Context) (natsjs.Stream, error) {
	l.mu.Lock()
	handle := l.handle
	l.mu.Unlock()
	if handle != nil {
		return handle, nil
	}
	handle, err := l.c.stream(ctx, l.stream)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.handle = handle
	l.mu.Unlock()
	return handle, nil
}

func (l *Log) forget() {
	l.mu.Lock()
	l.handle = nil
	l.mu.Unlock()
}

// failFast returns a context that ends, with the refusal as its cause, when the server does not let this connection
// publish one of the messages: it drops such a message and answers nothing. The context also carries the caller's end.
func (c *Client) failFast(ctx context.Context, messages []*nats.Msg) (context.Context, func()) {
	subjects := make(map[string]bool, 2)
	for _, m := range messages {
		subjects[m.Subject] = true
	}
	return c.failOnRefusal(ctx, func(subject string) bool { return subjects[subject] })
}

// failOnRefusal returns a context that ends, with the refusal as its cause, when the server refuses this connection a
// subject that match accepts. release must be called.
func (c *Client) failOnRefusal(ctx context.Context, match func(subject string) bool) (context.Context, func()) {
	refused, stop := c.watchRefusals(match)
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case err := <-refused:
			cancel(&refusal{err: err})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		stop()
		<-done
	}
}
