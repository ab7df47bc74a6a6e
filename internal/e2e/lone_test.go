package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// loneEvents is how many notifications TestLoneEventsSurviveKilling publishes, unless -notifications says so.
const loneEvents = 1500

// Events come one by one, so that many go into batches that were opened ahead, to a server without replicas. That is killed again and
// again at moments nobody chose, in the middle of batches and of their opening, as are collector and normalizer: each event is in both
// streams once, in the order in which it was published.
func TestLoneEventsSurviveKilling(t *testing.T) {
	t.Parallel()
	t.Logf("to do the same again: -seed %d -notifications %d", *amqpSeed, *notifications)
	random := rand.New(rand.NewPCG(*amqpSeed, 9))
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	startServer, url := singleServer(t, filepath.Join(t.TempDir(), "store"))
	server := startServer()
	nc := connect(t, url)
	file := amqpFile(t, broker, vhost, "  url: "+url+"\nstreams: {replicas: 1, budget: 1GiB, lease_ttl: 2s}", "heartbeat: 3s\nprobe: 1s\n")
	eventually(t, time.Minute, "the streams", func() bool { return start(t, "stackstream", "provision", "-c", file).wait() == 0 })
	collector, normalizer := start(t, "collector", "-c", file), start(t, "normalizer", "-c", file)

	cloud := broker.Publisher(t, vhost)
	if err := cloud.Declare(t.Context(), "nova", "notifications.info"); err != nil {
		t.Fatal(err)
	}
	n := loneEvents
	if *notifications > 0 {
		n = *notifications
	}
	expectReady(t, collector, normalizer)
	published := make(chan error, 1)
	var order []string
	want := map[string]bool{}
	for i := range n {
		order = append(order, fmt.Sprintf("lone-%07d", i))
		want[order[i]] = true
	}
	go func() {
		published <- func() error {
			for _, id := range order {
				err := cloud.Notify(t.Context(), "nova", rabbitmqtest.Notification{MessageID: id})
				if err != nil {
					return err
				}
				<-time.After(8 * time.Millisecond)
			}
			return nil
		}()
	}()
	killed := map[string]int{}
	for done := false; !done; {
		select {
		case err := <-published:
			if err != nil {
				t.Fatal(err)
			}
			done = true
			continue
		case <-time.After(time.Duration(300+random.IntN(1200)) * time.Millisecond):
		}
		switch random.IntN(5) {
		case 0:
			killed["collector"]++
			collector.kill()
			collector = start(t, "collector", "-c", file)
		case 1:
			killed["normalizer"]++
			normalizer.kill()
			normalizer = start(t, "normalizer", "-c", file)
		default:
			killed["server"]++
			server.kill()
			server = startServer()
		}
	}
	eventually(t, 2*time.Minute, fmt.Sprintf("%d events", n), func() bool {
		return count(t, nc, event.StreamNormalized, "events.normalized.prod") >= n
	})
	expectReady(t, collector, normalizer)
	raw := dump(t, nc, event.StreamRaw, "events.raw.prod.amqp")
	normalized := dump(t, nc, event.StreamNormalized, "events.normalized.prod")
	expect(t, "RAW", checkOnce(want, raw))
	expect(t, "RAW", checkContiguous(raw))
	expect(t, "NORMALIZED", checkOnce(want, normalized))
	expect(t, "NORMALIZED", checkContiguous(normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
	if cloud.Resent() == 0 {
		for i, e := range raw {
			if e.id != order[i] {
				t.Fatalf("event %d is %s, want %s", i, e.id, order[i])
			}
		}
	}
	ahead := map[string]int{}
	for stream, entries := range map[string][]entry{"RAW": raw, "NORMALIZED": normalized} {
		for i, e := range entries {
			// Behind a cursor, and not behind another event.
			if e.header.Get("Nats-Batch-Sequence") == "2" && (i == 0 || entries[i-1].stream != e.stream-1) {
				ahead[stream]++
			}
		}
		if ahead[stream] == 0 {
			t.Errorf("no event of %s went into a batch that was open", stream)
		}
	}
	t.Logf("%d events, of which %v went into batches that were open; killed were %v", n, ahead, killed)
	if killed["server"] == 0 {
		t.Error("the server was never killed")
	}
}
