package jetstream_test

import (
	"fmt"
	"sync"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// Small batches of a process go together, and each is as whole as by itself: with the one of a source in it that was overtaken, which
// alone is told so.
func TestSmallBatchesGoTogether(t *testing.T) {
	t.Run("a cluster", func(t *testing.T) { smallBatchesGoTogether(t, jetstreamtest.Cluster(t).Client(t)) })
	t.Run("one server", func(t *testing.T) { smallBatchesGoTogether(t, jetstreamtest.Server(t).Client(t)) })
}

func smallBatchesGoTogether(t *testing.T, c *jetstream.Client) {
	t.Helper()
	const sources, rounds = 12, 8
	log := c.Raw()
	cursors, fences := make([]event.StreamSeq, sources), make([]event.Fence, sources)
	for i := range sources {
		p := event.Provider(fmt.Sprint("p", i))
		choice, err := c.Choices().WriteChoice(testContext(t), p, event.Choice{Kind: "amqp"})
		if err != nil {
			t.Fatal(err)
		}
		if i%3 > 0 {
			fences[i] = event.Fence{Subject: event.ChoiceSubject(p), Sequence: choice.Sequence}
		}
	}
	for round := range rounds {
		var group sync.WaitGroup
		for i := range sources {
			p, n := event.Provider(fmt.Sprint("p", i)), []int{1, 2, 60}[(i+round)%3]
			never := cursors[i] + 1_000_000
			group.Go(func() {
				at, err := log.Append(testContext(t), oneSource(p, 100*round+1, n, cursors[i], fences[i]))
				if err != nil {
					t.Errorf("batch %d of %s: %v", round, p, err)
				}
				cursors[i] = at
			})
			if i%4 == 0 && round < rounds-1 { // another writer of the same source, who is behind
				group.Go(func() {
					_, err := log.Append(testContext(t), oneSource(p, 1, 2, never, fences[i]))
					wantKind(t, err, event.Fenced, "")
				})
			}
		}
		group.Wait()
	}

	stream, err := jetStream(t, c).Stream(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	together := map[string]int{} // how many cursors there are by the batch that they were stored with
	for i := range sources {
		p := event.Provider(fmt.Sprint("p", i))
		var m *natsjs.RawStreamMsg
		until(t, "for a server that lags", func() bool {
			m, err = stream.GetMsg(testContext(t), uint64(cursors[i]))
			return err == nil
		})
		if m.Subject != event.RawCursorSubject(p, "s") {
			t.Errorf("at the sequence that %s was told is %s", p, m.Subject)
		}
		together[m.Header.Get("Nats-Batch-Id")]++
		before, err := stream.GetMsg(testContext(t), uint64(cursors[i])-1)
		if err != nil || before.Subject != event.RawSubject(p, "s") {
			t.Errorf("before the cursor of %s is %v (%v)", p, before, err)
		}
	}
	if len(together) == sources {
		t.Error("each of the last batches went by itself")
	}
}
