package jetstream_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// While a batch can't become durable, none of another provider and process gets on its way: an entry of the servers' log
// never holds the end of one and the beginning of the next.
func TestBatchesOfAClusterTakeTurns(t *testing.T) {
	cluster := jetstreamtest.Cluster(t)
	leader := cluster.Leader(event.StreamRaw)
	providers := []event.Provider{"alpha", "beta"}
	cursors, errs := make([]event.StreamSeq, 2), make([]error, 2)
	var logs []*jetstream.Log
	for i, p := range providers {
		c, err := jetstream.Connect(testContext(t), jetstream.Config{URLs: cluster.URLs()[leader : leader+1]}, zerolog.Nop(), jetstream.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Conn().Close)
		logs = append(logs, c.Raw())
		cursors[i] = mustAppend(t, logs[i], oneSource(p, 1, 2, 0, event.Fence{}))
	}
	cluster.Kill((leader + 1) % 3)
	cluster.Kill((leader + 2) % 3)
	ctx, cancel := context.WithTimeout(testContext(t), 2*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for i, p := range providers {
		group.Go(func() { _, errs[i] = logs[i].Append(ctx, oneSource(p, 3, 300, cursors[i], event.Fence{})) })
	}
	group.Wait()
	kinds := map[event.Kind]int{}
	for _, err := range errs {
		kinds[event.KindOf(err)]++
	}
	if kinds[event.Unknown] != 1 || kinds[event.Unavailable] != 1 {
		t.Errorf("the errors are %v: one batch may be on its way, and one was not taken", errs)
	}
}

// Every process has always something to write: each gets its turn, with batches of every shape.
func TestTurnsComeToEveryWriterOfACluster(t *testing.T) {
	cluster := jetstreamtest.Cluster(t)
	var group sync.WaitGroup
	for i := range 6 {
		p, c := event.Provider(fmt.Sprint("p", i)), cluster.Client(t)
		group.Go(func() {
			choice, err := c.Choices().WriteChoice(testContext(t), p, event.Choice{Kind: "amqp"})
			if err != nil {
				t.Error(err)
				return
			}
			fence := event.Fence{Subject: event.ChoiceSubject(p), Sequence: choice.Sequence}
			log, next, at := c.Raw(), 1, event.StreamSeq(0)
			for j := range 9 {
				n := []int{1, 2, 100}[j%3]
				if at, err = log.Append(testContext(t), oneSource(p, next, n, at, fence)); err != nil {
					t.Errorf("batch %d of %s: %v", j, p, err)
					return
				}
				next += n
			}
		})
	}
	group.Wait()
}

func TestALoneEventBehindAFenceOfACluster(t *testing.T) {
	cluster := jetstreamtest.Cluster(t)
	c, p := cluster.Client(t), event.Provider("p")
	choice, err := c.Choices().WriteChoice(testContext(t), p, event.Choice{Kind: "amqp"})
	if err != nil {
		t.Fatal(err)
	}
	fence := event.Fence{Subject: event.ChoiceSubject(p), Sequence: choice.Sequence}
	at := mustAppend(t, c.Raw(), oneSource(p, 1, 1, 0, fence))
	at = mustAppend(t, cluster.Client(t).Raw(), oneSource(p, 2, 1, at, fence)) // it has to read what it replaces
	stream, err := jetStream(t, c).Stream(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	for back, want := range []struct{ subject, body string }{
		{event.RawCursorSubject(p, "s"), `{"position":2}`}, {event.RawSubject(p, "s"), ""}, {event.RawCursorSubject(p, "s"), `{"position":1}`},
	} {
		m, err := stream.GetMsg(testContext(t), uint64(at)-uint64(back))
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != want.subject || want.body != "" && string(m.Data) != want.body {
			t.Errorf("%d before the cursor is %q on %s, want %q on %s", back, m.Data, m.Subject, want.body, want.subject)
		}
	}

	fence.Sequence--
	_, err = c.Raw().Append(testContext(t), oneSource(p, 3, 1, at, fence))
	wantKind(t, err, event.Fenced, "")
	fence.Sequence++
	_, err = c.Raw().Append(testContext(t), oneSource(p, 3, 1, at-3, fence))
	wantKind(t, err, event.Fenced, "")
	at = mustAppend(t, c.Raw(), oneSource(p, 3, 1, at, fence))
	info, err := stream.Info(testContext(t), natsjs.WithSubjectFilter(event.RawCursorSubject(p, "s")))
	if err != nil {
		t.Fatal(err)
	}
	if n := info.State.Subjects[event.RawCursorSubject(p, "s")]; n != 2 {
		t.Errorf("%d messages are on the cursor's subject, want the cursor and the one before it", n)
	}
	m, ok, err := c.Raw().ReadCursor(testContext(t), event.RawCursorSubject(p, "s"), at)
	if err != nil || !ok || m.Sequence != at || string(m.Body) != `{"position":3}` {
		t.Errorf("the cursor is %q at %d (%v, %v)", m.Body, m.Sequence, ok, err)
	}
}

// oneSource is a batch of n events of a provider's only source.
func oneSource(p event.Provider, first, n int, expect event.StreamSeq, fence event.Fence) event.Batch {
	b := event.Batch{
		Cursor: event.Message{Subject: event.RawCursorSubject(p, "s"), Body: fmt.Appendf(nil, `{"position":%d}`, first+n-1)},
		Expect: expect, Fence: fence,
	}
	for i := range n {
		b.Messages = append(b.Messages, event.Message{
			Subject: event.RawSubject(p, "s"), Header: event.Header{event.HeaderSeq: {fmt.Sprint(first + i)}}, Body: make([]byte, 1200),
		})
	}
	return b
}
