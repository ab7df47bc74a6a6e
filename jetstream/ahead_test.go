package jetstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// awaitAhead appends lone events of a provider from number first on, until the next batch is open at the server. It returns the number of
// the last and where its cursor is.
func awaitAhead(t *testing.T, log *jetstream.Log, p event.Provider, first int, at event.StreamSeq) (int, event.StreamSeq) {
	t.Helper()
	subject := event.RawCursorSubject(p, "s")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); first++ {
		at = mustAppend(t, log, oneSource(p, first, 1, at, event.Fence{}))
		for log.Awaits(subject) {
			if log.OpenAhead(subject) {
				return first, at
			}
			runtime.Gosched()
		}
	}
	t.Fatal("no batch is opened ahead")
	return 0, 0
}

// messageAt is what is at a sequence of RAW, nil where that is gone.
func messageAt(t *testing.T, c *jetstream.Client, seq uint64) *natsjs.RawStreamMsg {
	t.Helper()
	stream, err := jetStream(t, c).Stream(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(testContext(t), seq)
	if err != nil && !errors.Is(err, natsjs.ErrMsgNotFound) {
		t.Fatal(err)
	}
	return m
}

// events are the numbers that a source has in the stream, in order.
func events(t *testing.T, c *jetstream.Client, p event.Provider) (numbers []string) {
	t.Helper()
	for seq := range lastSequence(t, c, event.StreamRaw) {
		m := messageAt(t, c, seq+1)
		if m != nil && m.Subject == event.RawSubject(p, "s") {
			numbers = append(numbers, m.Header.Get(event.HeaderSeq))
		}
	}
	return numbers
}

func wantEvents(t *testing.T, c *jetstream.Client, p event.Provider, n int) {
	t.Helper()
	got := events(t, c, p)
	for i, number := range got {
		if number != fmt.Sprint(i+1) {
			t.Fatalf("event %d is number %s: %v", i+1, number, got)
		}
	}
	if len(got) != n {
		t.Fatalf("there are %d events, want %d", len(got), n)
	}
}

// A lone event that follows others soon goes into a batch that is open already, behind the cursor that it replaces, and is told as
// much as it would be by itself.
func TestLoneEventsGoIntoBatchesThatAreOpen(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	log := c.Raw()
	last, at := awaitAhead(t, log, "p", 1, 0)
	for range 3 {
		last, at = awaitAhead(t, log, "p", last+1, at)
		was := messageAt(t, c, uint64(at)).Header.Get("Nats-Batch-Id")
		last++
		at = mustAppend(t, log, oneSource("p", last, 1, at, event.Fence{}))
		event1, cursor := messageAt(t, c, uint64(at)-1), messageAt(t, c, uint64(at))
		before := messageAt(t, c, uint64(at)-2)
		id := cursor.Header.Get("Nats-Batch-Id")
		if id == was || event1.Header.Get("Nats-Batch-Id") != id || before.Header.Get("Nats-Batch-Id") != id {
			t.Fatalf("event and cursor are not behind another cursor in one batch")
		}
		if event1.Header.Get(event.HeaderSeq) != fmt.Sprint(last) || string(cursor.Data) != fmt.Sprintf(`{"position":%d}`, last) ||
			string(before.Data) != fmt.Sprintf(`{"position":%d}`, last-1) || before.Subject != cursor.Subject {
			t.Fatalf("behind %s %q are %s and %s %q", before.Subject, before.Data, event1.Subject, cursor.Subject, cursor.Data)
		}
		m, ok, err := log.ReadCursor(testContext(t), event.RawCursorSubject("p", "s"), at)
		if err != nil || !ok || m.Sequence != at || m.Header["Nats-TTL"][0] != "never" {
			t.Fatalf("the cursor is %v (%v, %v)", m, ok, err)
		}
	}
	wantEvents(t, c, "p", last)
}

// What is in an open batch binds nobody: another writer may move the cursor, and what would have gone into the batch is refused.
func TestABatchThatIsOpenIsFenced(t *testing.T) {
	server := jetstreamtest.Server(t)
	c, other := server.Client(t), server.Client(t)
	log := c.Raw()
	last, at := awaitAhead(t, log, "p", 1, 0)
	moved := mustAppend(t, other.Raw(), oneSource("p", last+1, 2, at, event.Fence{}))
	_, err := log.Append(testContext(t), oneSource("p", last+1, 1, at, event.Fence{}))
	wantKind(t, err, event.Fenced, "")
	wantEvents(t, c, "p", last+2)
	at = mustAppend(t, log, oneSource("p", last+3, 1, moved, event.Fence{}))
	if m := messageAt(t, c, uint64(at)); string(m.Data) != fmt.Sprintf(`{"position":%d}`, last+3) {
		t.Errorf("the cursor is %q", m.Data)
	}

	choice, err := c.Choices().WriteChoice(testContext(t), "q", event.Choice{Kind: "amqp"})
	if err != nil {
		t.Fatal(err)
	}
	last, at = awaitAhead(t, log, "q", 1, 0)
	if _, err := c.Choices().WriteChoice(testContext(t), "q", event.Choice{Kind: "panko", Sequence: choice.Sequence}); err != nil {
		t.Fatal(err)
	}
	fence := event.Fence{Subject: event.ChoiceSubject("q"), Sequence: choice.Sequence}
	_, err = log.Append(testContext(t), oneSource("q", last+1, 1, at, fence))
	wantKind(t, err, event.Fenced, "")
	wantEvents(t, c, "q", last)
}

// A server that was started anew has forgotten the batch. What goes on is stored once.
func TestABatchThatIsOpenIsForgotten(t *testing.T) {
	server := jetstreamtest.Server(t)
	c := server.Client(t)
	log := c.Raw()
	last, at := awaitAhead(t, log, "p", 1, 0)
	server.Restart(t)
	until(t, "the connection", c.Conn().IsConnected)
	for range 3 {
		last++
		at = mustAppend(t, log, oneSource("p", last, 1, at, event.Fence{}))
	}
	wantEvents(t, c, "p", last)
}

// Nobody keeps the server's places: a batch that nothing follows is given up by who opened it, and few are open at once.
func TestABatchThatIsOpenIsGivenUp(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	advisories, err := c.Conn().SubscribeSync(server.JSAdvisoryStreamBatchAbandonedPre + ".>")
	if err != nil {
		t.Fatal(err)
	}
	log := c.Raw()
	last, at := awaitAhead(t, log, "p", 1, 0)
	// A batch without events has no use for it, either.
	at = mustAppend(t, log, oneSource("p", last+1, 0, at, event.Fence{}))
	awaitAhead(t, log, "p", last+1, at)
	for range 2 {
		m, err := advisories.NextMsgWithContext(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		var advisory server.JSStreamBatchAbandonedAdvisory
		if err := json.Unmarshal(m.Data, &advisory); err != nil || advisory.Reason != server.BatchIncomplete {
			t.Fatalf("the server says %s (%v)", m.Data, err)
		}
	}
	until(t, "that it is given up", func() bool { return log.Ahead() == 0 })

	ats := map[event.Provider]event.StreamSeq{}
	for i := range 30 {
		p := event.Provider(fmt.Sprint("p", i%10))
		ats[p] = mustAppend(t, log, oneSource(p, i/10+1, 1, ats[p], event.Fence{}))
		if n := log.Ahead(); n > 2 {
			t.Fatalf("%d batches are open", n)
		}
	}
}

// Whatever is the matter with batches, and whether or not they find one that is open: each is told what became of it, and events are
// there once, in order.
func TestWhatGoesIntoOpenBatchesIsToldItsOwnAnswer(t *testing.T) {
	c, ctx := jetstreamtest.Server(t).Client(t), testContext(t)
	w := newJointWorld(ctx, t, c)
	end := time.Now().Add(jointRounds)
	used := 0
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			if time.Now().After(end) {
				return
			}
			try := w.draw(ctx, t)
			if try.harm == ended {
				continue
			}
			// Soon, or when the next of them is open.
			soon := rapid.IntRange(0, 3).Draw(t, "soon") == 0
			for subject := try.Batch.Cursor.Subject; !soon && w.log.Awaits(subject) && !w.log.OpenAhead(subject); {
				runtime.Gosched()
			}
			if w.log.OpenAhead(try.Batch.Cursor.Subject) {
				used++
			}
			try.At, try.Err = w.log.Append(ctx, try.Batch)
			w.told(t, try)
			w.found(ctx, t, try)
		}
	})
	w.holds(ctx, t)
	if used == 0 {
		t.Error("no batch found one that was open")
	}
}

// Where batches of others have all the server's places, one waits until there is room, and none is opened ahead any more for a while.
func TestABatchWithoutAPlaceWaitsForOne(t *testing.T) {
	server := jetstreamtest.Server(t)
	c, other := server.Client(t), server.Client(t).Conn()
	log, ctx := c.Raw(), testContext(t)
	at := mustAppend(t, log, oneSource("p", 1, 1, 0, event.Fence{}))
	sent, err := other.SubscribeSync("ingest.raw.p.s")
	if err != nil {
		t.Fatal(err)
	}

	var held []string
	message := func(id, sequence string) *nats.Msg {
		return &nats.Msg{Subject: "ingest.raw.q.s", Header: nats.Header{"Nats-Batch-Id": {id}, "Nats-Batch-Sequence": {sequence}}}
	}
	for {
		id := nuid.Next()
		answer, err := other.RequestMsgWithContext(ctx, message(id, "1"))
		if err != nil {
			t.Fatal(err)
		}
		if len(answer.Data) > 0 {
			break // no place is left
		}
		held = append(held, id)
	}
	told := make(chan error, 1)
	go func() {
		seq, err := log.Append(ctx, oneSource("p", 2, 1, at, event.Fence{}))
		at = seq
		told <- err
	}()
	for range 2 { // the second is sent when the first was refused
		if _, err := sent.NextMsgWithContext(ctx); err != nil {
			t.Fatalf("%v; Append: %v", err, <-told)
		}
	}
	if err := sent.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	for _, id := range held {
		if err := other.PublishMsg(message(id, "3")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, oneSource("p", 3, 1, at, event.Fence{}))
	if log.Ahead() > 0 {
		t.Error("a batch is opened ahead though places are short")
	}
	wantEvents(t, c, "p", 3)
}

// A server that calls a batch incomplete may keep it for good, where its disk is full: it is told to forget it.
func TestAnIncompleteBatchIsGivenUp(t *testing.T) {
	server := jetstreamtest.Server(t)
	sieve := jetstreamtest.NewSieve(t, server.URL(), func(subject string) bool { return subject == "ingest.dead.p" })
	log := through(t, sieve).Normalized()
	other := server.Client(t).Conn()
	sent, err := other.SubscribeSync("ingest.cursor.>")
	if err == nil {
		err = other.FlushWithContext(testContext(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = log.Append(testContext(t), event.Batch{
		Messages: []event.Message{{Subject: "events.normalized.p"}, {Subject: "events.dead.p"}},
		Cursor:   event.Message{Subject: event.NormalizedCursorSubject("p"), Body: []byte("{}")},
	})
	wantKind(t, err, event.Unknown, "")
	var ids []string
	for _, commit := range []string{"1", ""} {
		m, err := sent.NextMsgWithContext(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get("Nats-Batch-Commit") != commit || m.Header.Get("Nats-Batch-Sequence") != "3" {
			t.Errorf("%v was sent", m.Header)
		}
		ids = append(ids, m.Header.Get("Nats-Batch-Id"))
	}
	if ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("messages of %q were sent", ids)
	}
}
