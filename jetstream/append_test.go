package jetstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

const prov = event.Provider("prod")

// rawMessages are n raw events of a source, numbered from first.
func rawMessages(s event.Source, first, n int) []event.Message {
	messages := make([]event.Message, 0, n)
	for i := first; i < first+n; i++ {
		raw := event.Raw{
			ID: event.ID(fmt.Sprintf("%s-%d", s, i)), Received: time.Unix(1700000000, 0), Format: "test",
			Time: time.Unix(1700000000+int64(i), 0), Body: fmt.Appendf(nil, `{"n":%d}`, i),
		}
		messages = append(messages, raw.Message(prov, s, event.Seq(i), event.BodyRef{}))
	}
	return messages
}

// rawBatch is a batch of n raw events of a source, numbered from first, with a cursor that says so.
func rawBatch(s event.Source, first, n int, expect event.StreamSeq) event.Batch {
	return event.Batch{
		ID:       "batch-" + strconv.Itoa(first),
		Messages: rawMessages(s, first, n),
		Cursor: event.Message{
			Subject: event.RawCursorSubject(prov, s),
			Body:    fmt.Appendf(nil, `{"position":%d,"batch":"batch-%d","written_at":"2026-01-01T00:00:00Z"}`, first+n-1, first),
		},
		Expect: expect,
	}
}

// mustAppend appends and returns the cursor's sequence. An answer that does not come in time, on a busy machine, is looked
// up, as any writer has to.
func mustAppend(t *testing.T, log *jetstream.Log, b event.Batch) event.StreamSeq {
	t.Helper()
	ctx := testContext(t)
	for {
		seq, err := log.Append(ctx, b)
		if err == nil {
			return seq
		}
		m, ok, lookErr := log.ReadCursor(ctx, b.Cursor.Subject, 0)
		switch {
		case lookErr != nil:
			t.Fatalf("append: %v; look up: %v", err, lookErr)
		case ok && bytes.Equal(m.Body, b.Cursor.Body):
			return m.Sequence
		case event.KindOf(err) != event.Unknown:
			t.Fatalf("append: %v", err)
		}
	}
}

func wantKind(t *testing.T, err error, want event.Kind, text string) *event.Error {
	t.Helper()
	var known *event.Error
	if !errors.As(err, &known) || event.KindOf(err) != want {
		t.Fatalf("error is %v, want the kind %v", err, want)
	}
	if !strings.Contains(err.Error(), text) {
		t.Fatalf("error is %q, want %q in it", err, text)
	}
	return known
}

func lastSequence(t *testing.T, c *jetstream.Client, stream string) uint64 {
	t.Helper()
	s, err := jetStream(t, c).Stream(testContext(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// change alters a stream's settings.
func change(t *testing.T, c *jetstream.Client, stream string, how func(*natsjs.StreamConfig)) {
	t.Helper()
	ctx, js := testContext(t), jetStream(t, c)
	s, err := js.Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	how(&cfg)
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
}

func TestAppendStoresTheBatchContiguousWithTheCursorLast(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	log := client.Raw()
	first := mustAppend(t, log, rawBatch("panko", 1, 3, 0))
	second := mustAppend(t, log, rawBatch("panko", 4, 999, first))
	if first != 4 || second != 1004 {
		t.Fatalf("cursors are at %d and %d, want 4 and 1004", first, second)
	}
	stream, err := jetStream(t, client).Stream(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		at      uint64
		subject string
		seq     string
	}{
		{1, "events.raw.prod.panko", "1"}, {3, "events.raw.prod.panko", "3"}, {5, "events.raw.prod.panko", "4"},
		{1003, "events.raw.prod.panko", "1002"}, {1004, "events.cursor.raw.prod.panko", ""},
	} {
		m, err := stream.GetMsg(testContext(t), want.at)
		if err != nil {
			t.Fatalf("message %d: %v", want.at, err)
		}
		if m.Subject != want.subject || m.Header.Get(event.HeaderSeq) != want.seq {
			t.Errorf("message %d is %s with Seq %q, want %s with %q", want.at, m.Subject, m.Header.Get(event.HeaderSeq), want.subject, want.seq)
		}
	}
	if _, err := stream.GetMsg(testContext(t), 4); !errors.Is(err, natsjs.ErrMsgNotFound) {
		t.Errorf("the first cursor is still there: %v", err)
	}
}

func TestAppendWithoutMessagesMovesTheCursor(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	log := client.Raw()
	first := mustAppend(t, log, rawBatch("panko", 1, 0, 0))
	second := mustAppend(t, log, rawBatch("panko", 1, 0, first))
	m, ok, err := log.ReadCursor(testContext(t), event.RawCursorSubject(prov, "panko"), second)
	if err != nil || !ok || m.Sequence != second {
		t.Fatalf("the cursor is at %d (%v, %v), want %d", m.Sequence, ok, err, second)
	}
	if m.Header.Get("Nats-TTL") != "never" {
		t.Errorf("the cursor would not outlive MaxAge: headers are %v", m.Header)
	}
}

func TestAppendIsFenced(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	log := client.Raw()
	choice, err := client.Choices().WriteChoice(testContext(t), prov, event.Choice{Kind: "panko"})
	if err != nil {
		t.Fatal(err)
	}
	cursor := mustAppend(t, log, rawBatch("panko", 1, 5, 0))
	fence := func(b event.Batch, seq event.StreamSeq) event.Batch {
		b.Fence = event.Fence{Subject: event.ChoiceSubject(prov), Sequence: seq}
		return b
	}
	before := lastSequence(t, client, event.StreamRaw)
	for name, test := range map[string]struct {
		batch event.Batch
		last  event.StreamSeq
	}{
		"by a cursor that is not there":          {rawBatch("panko", 1, 2, 0), cursor},
		"by an older cursor":                     {rawBatch("panko", 6, 2, cursor-1), cursor},
		"by a cursor that is expected too early": {rawBatch("panko", 6, 2, cursor+1), cursor},
		"by an older cursor, without messages":   {rawBatch("panko", 6, 0, cursor-1), cursor},
		"by a choice that was made since":        {fence(rawBatch("panko", 6, 2, cursor), choice.Sequence+100), choice.Sequence},
		"by a choice that no one should have":    {fence(rawBatch("panko", 6, 2, cursor), 0), choice.Sequence},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := log.Append(testContext(t), test.batch)
			if known := wantKind(t, err, event.Fenced, "append to EVENTS_RAW"); known.Last != test.last {
				t.Errorf("it says that %d is there, want %d", known.Last, test.last)
			}
		})
	}
	if after := lastSequence(t, client, event.StreamRaw); after != before {
		t.Fatalf("refused batches stored something: the stream went from %d to %d", before, after)
	}
	mustAppend(t, log, fence(rawBatch("panko", 6, 2, cursor), choice.Sequence))
}

func TestAppendRefusesBeforeSending(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	with := func(change func(*event.Batch)) event.Batch {
		b := rawBatch("panko", 1, 2, 0)
		change(&b)
		return b
	}
	for name, test := range map[string]struct {
		batch event.Batch
		kind  event.Kind
		text  string
	}{
		"too many messages": {rawBatch("panko", 1, 1000, 0), event.Invalid, "1001"},
		"a subject of the ingest side": {with(func(b *event.Batch) { b.Messages[1].Subject = "ingest.raw.prod.panko" }),
			event.Invalid, "ingest.raw.prod.panko"},
		"a wildcard":   {with(func(b *event.Batch) { b.Cursor.Subject = "events.cursor.raw.prod.*" }), event.Invalid, "wildcard"},
		"empty tokens": {with(func(b *event.Batch) { b.Messages[0].Subject = "events.raw..panko" }), event.Invalid, "empty"},
		"no cursor":    {with(func(b *event.Batch) { b.Cursor = event.Message{} }), event.Invalid, "cursor"},
		"a message on the cursor's subject": {with(func(b *event.Batch) { b.Messages[0].Subject = b.Cursor.Subject }),
			event.Invalid, "cursor's subject"},
		"a fence on the cursor's subject": {with(func(b *event.Batch) { b.Fence.Subject = b.Cursor.Subject }),
			event.Invalid, "fence"},
		"a header of the server": {with(func(b *event.Batch) { b.Messages[0].Header.Set("nats-rollup", "all") }),
			event.Invalid, "nats-rollup"},
		"a line break in a header": {with(func(b *event.Batch) { b.Messages[0].Header.Set("Evt-X", "a\r\nNats-Rollup: all") }),
			event.Invalid, "line break"},
		"more headers than a message may have": {with(func(b *event.Batch) {
			b.Messages[0].Header.Set("Evt-X", strings.Repeat("x", 64<<10))
		}), event.Invalid, "headers"},
		"a message above max_payload": {with(func(b *event.Batch) {
			b.Messages[1].Body = make([]byte, client.Conn().MaxPayload())
		}), event.TooLarge, "message 2 of 3"},
		"a cursor above max_payload": {with(func(b *event.Batch) { b.Cursor.Body = make([]byte, client.Conn().MaxPayload()) }),
			event.TooLarge, "message 3 of 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.Raw().Append(testContext(t), test.batch)
			wantKind(t, err, test.kind, test.text)
		})
	}
	if last := lastSequence(t, client, event.StreamRaw); last != 0 {
		t.Fatalf("something was stored: the stream is at %d", last)
	}
}

func TestAppendOfALargestMessageThatFits(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	b := rawBatch("panko", 1, 1, 0)
	limit := int(client.Conn().MaxPayload())
	b.Messages[0].Body = make([]byte, limit)
	_, err := client.Raw().Append(testContext(t), b)
	wantKind(t, err, event.TooLarge, "")
	// The headers of a batch are counted at their longest, so that 64 bytes more than our own headers always fit.
	own := 0
	for name, values := range b.Messages[0].Header {
		own += len(name) + len(values[0]) + 4
	}
	b.Messages[0].Body = make([]byte, limit-own-160)
	mustAppend(t, client.Raw(), b)
}

func TestAppendToAStreamWithASmallerLimit(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	log := client.Raw()
	cursor := mustAppend(t, log, rawBatch("panko", 1, 1, 0)) // so that the log has asked for the limit
	change(t, client, event.StreamRaw, func(c *natsjs.StreamConfig) { c.MaxMsgSize = 1000 })

	b := rawBatch("panko", 2, 3, cursor)
	b.Messages[1].Body = make([]byte, 2000)
	// The server drops the message in the middle without a word; what that means is not told apart from other causes.
	_, err := log.Append(testContext(t), b)
	wantKind(t, err, event.Unknown, "10176")
	// From then on the log knows.
	_, err = log.Append(testContext(t), b)
	wantKind(t, err, event.TooLarge, "max_msg_size")
	mustAppend(t, log, rawBatch("panko", 2, 3, cursor))
}

func TestAppendToAFullStream(t *testing.T) {
	client := jetstreamtest.Server(t, jetstreamtest.Layout(func(l *jetstream.Layout) { l.Raw.MaxBytes = 64 << 10 })).Client(t)
	log := client.Raw()
	var cursor event.StreamSeq
	var err error
	for first := 1; err == nil; first += 100 {
		var seq event.StreamSeq
		if seq, err = log.Append(testContext(t), rawBatch("panko", first, 100, cursor)); err == nil {
			cursor = seq
		}
		if first > 10_000 {
			t.Fatal("the stream takes everything")
		}
	}
	wantKind(t, err, event.Full, "maximum bytes")
	if last := lastSequence(t, client, event.StreamRaw); last != uint64(cursor) {
		t.Fatalf("the refused batch stored something: the stream is at %d, the cursor at %d", last, cursor)
	}
}

func TestAppendToStreamsThatAreNotReady(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, c *jetstream.Client)
		kind  event.Kind
		text  string
	}{
		"there is none": {func(t *testing.T, c *jetstream.Client) {
			if err := jetStream(t, c).DeleteStream(testContext(t), event.StreamRaw); err != nil {
				t.Fatal(err)
			}
		}, event.Unavailable, "no stream answers"},
		"batches are off": {func(t *testing.T, c *jetstream.Client) {
			change(t, c, event.StreamRaw, func(c *natsjs.StreamConfig) { c.AllowAtomicPublish = false })
		}, event.Invalid, "allow_atomic"},
		"it is sealed": {func(t *testing.T, c *jetstream.Client) {
			change(t, c, event.StreamRaw, func(c *natsjs.StreamConfig) { c.Sealed = true })
		}, event.Invalid, "sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			client := jetstreamtest.Server(t).Client(t)
			log := client.Raw()
			cursor := mustAppend(t, log, rawBatch("panko", 1, 1, 0))
			test.spoil(t, client)
			_, err := log.Append(testContext(t), rawBatch("panko", 2, 2, cursor))
			wantKind(t, err, test.kind, test.text)
		})
	}
}

func TestAppendBeforeProvisioning(t *testing.T) {
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	_, err := client.Raw().Append(testContext(t), rawBatch("panko", 1, 1, 0))
	wantKind(t, err, event.Unavailable, "provision")
}

func TestAppendWhileOthersHaveAllBatchesOpen(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	for i := range 50 {
		_, err := client.Conn().RequestMsg(&nats.Msg{Subject: "ingest.raw.prod.panko", Header: nats.Header{
			"Nats-Batch-Id": {fmt.Sprint("open-", i)}, "Nats-Batch-Sequence": {"1"},
		}}, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := client.Raw().Append(testContext(t), rawBatch("panko", 1, 1, 0))
	wantKind(t, err, event.Unavailable, "too many inflight")
}

func TestAppendWithoutAServer(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	log := client.Raw()
	cursor := mustAppend(t, log, rawBatch("panko", 1, 1, 0))
	disconnected := client.Conn().StatusChanged(nats.RECONNECTING)
	server.Shutdown()
	<-disconnected
	_, err := log.Append(testContext(t), rawBatch("panko", 2, 1, cursor))
	wantKind(t, err, event.Unavailable, "")
	_, _, err = log.ReadCursor(testContext(t), event.RawCursorSubject(prov, "panko"), 0)
	wantKind(t, err, event.Unavailable, "")
	server.Restart(t)
}

// Two sources of a provider write under the same fence at once: neither may be taken for fenced.
func TestAppendUnderASharedFence(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	choice, err := client.Choices().WriteChoice(testContext(t), prov, event.Choice{Kind: "amqp"})
	if err != nil {
		t.Fatal(err)
	}
	appendConcurrently(t, client.Raw(), choice.Sequence)
}

func appendConcurrently(t *testing.T, log *jetstream.Log, fence event.StreamSeq) {
	t.Helper()
	failed := make(chan error, 4)
	for w := range cap(failed) {
		go func() {
			source := event.Source(fmt.Sprintf("amqp-%d", w))
			var cursor event.StreamSeq
			for i := range 25 {
				b := rawBatch(source, 2*i+1, 2, cursor)
				b.Fence = event.Fence{Subject: event.ChoiceSubject(prov), Sequence: fence}
				seq, err := log.Append(testContext(t), b)
				if err != nil {
					failed <- fmt.Errorf("%s, batch %d: %w", source, i, err)
					return
				}
				cursor = seq
			}
			failed <- nil
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
