package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

var polled = flag.Int("polled", 20_000, "how many events wait in TestPollingWaitsForItsServerAndTheNormalizerCatchesUp")

// mostMemory is what a collector or a normalizer may take with the race detector, which takes several times what they take
// without. Most of it is there before any event; what waits in these tests would not fit beside it.
const mostMemory = 250 << 20

// resize creates the streams, or changes what they may take.
func resize(t testing.TB, file string) {
	t.Helper()
	if code := start(t, "stackstream", "provision", "-c", file, "--apply").wait(); code != 0 {
		t.Fatalf("provision --apply exits with %d", code)
	}
}

// expectMemory fails the test if a process ever had more memory than it may.
func expectMemory(t testing.TB, programs ...*process) {
	t.Helper()
	for _, p := range programs {
		had := peak(t, p)
		t.Logf("%s had %.0f MiB at most", p.name, had/(1<<20))
		if had > mostMemory {
			t.Errorf("%s took %.0f MiB", p.name, had/(1<<20))
		}
	}
}

// While EVENTS_RAW is full, RabbitMQ keeps what comes: the collector holds what it was handed, which the prefetch bounds,
// and acknowledges none of it. The queue is bounded, too, and says so to whoever lists it. Once the stream takes more
// everything flows, without a restart.
func TestAMQPWaitsForAFullStream(t *testing.T) {
	t.Parallel()
	const (
		bodies   = 32 << 10
		windows  = 30
		prefetch = 200
	)
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	cloud := newServices(t, broker, vhost, rabbitmqtest.Durable(), "nova")
	startServer, url := singleServer(t, t.TempDir())
	startServer()
	config := func(raw string) string {
		return amqpFile(t, broker, vhost, "  url: "+url+"\nstreams: {replicas: 1, raw: {max_bytes: "+raw+"}}",
			fmt.Sprintf("exchanges: [nova]\ndurable_exchanges: true\nprefetch: %d\nqueue: {max_bytes: 1GiB}\n", prefetch))
	}
	small := config("4MiB")
	resize(t, small)
	nc := connect(t, url)
	seen := observe(t, nc, "amqp")
	collector := start(t, "collector", "-c", small, "--source", "amqp")
	seen.awaitBound(t, "amqp", "nova")
	queue := "stackstream.prod.amqp"

	for w := range windows {
		var window []notice
		for i := range windowSize {
			id := fmt.Sprintf("m-%d-%d", w, i)
			window = append(window, notice{id: id, key: "notifications.info", body: fmt.Appendf(nil, `{"message_id": "%s", `+
				`"event_type": "x.load", "timestamp": "2026-11-23 01:02:03.000004", "payload": {"text": "%s"}}`,
				id, strings.Repeat("x", bodies))})
		}
		if err := cloud.publish(t.Context(), "nova", window...); err != nil {
			t.Fatal(err)
		}
	}
	said := ""
	eventually(t, time.Minute, "readiness to name the stream", func() bool {
		said = collector.ask("/readyz")
		return strings.Contains(said, "collector prod (amqp): backoff: writing waits: append to EVENTS_RAW: full")
	}, func() string { return said })
	depth := broker.Depth(t, vhost, queue)
	collected := seen.collected()
	if depth.Unacked > prefetch || depth.Ready+depth.Unacked < windows*windowSize-collected {
		t.Errorf("the queue has %+v, with %d of %d collected", depth, collected, windows*windowSize)
	}
	t.Logf("while the stream is full: %+v, collected %d; %s", depth, collected, said)
	if limits := broker.Ctl(t, "list_queues", "--vhost", vhost, "name", "arguments"); !strings.Contains(limits, "1073741824") {
		t.Errorf("the queue does not show its limit:\n%s", limits)
	}
	expectMemory(t, collector)

	resize(t, config("2GiB"))
	normalizer := start(t, "normalizer", "-c", small)
	sent := cloud.confirmed()
	seen.awaitNormalized(t, 2*time.Minute, len(sent), collector, normalizer)
	expectReady(t, collector, normalizer)
	var raw, normalized []entry
	each(t, nc, event.StreamRaw, []string{"events.raw.>"}, func(e entry) { e.body = nil; raw = append(raw, e) })
	each(t, nc, event.StreamNormalized, []string{"events.normalized.*", "events.dead.*"}, func(e entry) {
		e.body = nil
		normalized = append(normalized, e)
	})
	expect(t, "RAW", checkOnce(ids(sent), raw))
	expect(t, "RAW", checkContiguous(raw))
	expect(t, "RAW", checkArrival(sent, raw))
	expect(t, "NORMALIZED", checkOnce(ids(sent), normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
	expectMemory(t, collector)
}

// A collector that polls asks its event service no more once EVENTS_RAW is full and what it has read fills its own
// queue. It collects on when the stream takes more, on a server that stands still half of the time, while nobody
// normalizes: the lag is told as it is. The normalizer that comes at last catches up in bounded memory.
func TestPollingWaitsForItsServerAndTheNormalizerCatchesUp(t *testing.T) {
	t.Parallel()
	events := *polled
	sky := newCloud(t, seed+60)
	var asked atomic.Int64
	sky.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v2") {
			asked.Add(1)
		}
		return false
	})
	startServer, url := singleServer(t, t.TempDir())
	server := startServer()
	config := func(raw string) string {
		file := sky.configFile(t, "  url: "+url+"\nstreams: {replicas: 1, raw: {max_bytes: "+raw+"}}")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), "limit: 100", "limit: 1000", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	sky.emit(t.Context(), events, time.Millisecond, seed+60)
	small := config("2MiB")
	resize(t, small)
	nc := connect(t, url)
	seen := observe(t, nc, "panko")
	plain, durable := plainSubscriber(t, nc), durableSubscriber(t, nc)
	collector := start(t, "collector", "-c", small, "--source", "panko")

	said := ""
	eventually(t, time.Minute, "readiness to name the stream", func() bool {
		said = collector.ask("/readyz")
		return strings.Contains(said, "collector prod (panko): backoff: writing waits: append to EVENTS_RAW: full")
	}, func() string { return said })
	// Polls are 300 ms apart: whoever went on would ask several times in this time.
	eventually(t, time.Minute, "polling to pause", func() bool {
		before := asked.Load()
		<-time.After(3 * time.Second)
		return asked.Load() == before
	}, func() string { return fmt.Sprintf("%d requests", asked.Load()) })
	t.Logf("polling pauses after %d requests, with %d of %d events collected", asked.Load(), seen.collected(), events)
	expectMemory(t, collector)

	resize(t, config("1GiB"))
	stutter, enough := context.WithCancel(t.Context())
	stuttering := make(chan struct{})
	go func() {
		defer close(stuttering)
		for stutter.Err() == nil {
			server.pause()
			every(400 * time.Millisecond)(stutter)
			server.resume()
			every(300 * time.Millisecond)(stutter)
		}
	}()
	collect := func(n int) {
		eventually(t, 2*time.Minute, fmt.Sprintf("%d events to be collected", n), func() bool { return seen.collected() >= n },
			func() string { return fmt.Sprintf("collected %d; %s", seen.collected(), collector.ask("/readyz")) })
	}
	collect(events / 3)
	enough()
	<-stuttering
	collect(events)
	expectMemory(t, collector)
	expectLag(t, small, events, 0)

	normalizer := start(t, "normalizer", "-c", small)
	waitForAll(t, 2*time.Minute, nc, durable, events, collector, normalizer)
	expectReady(t, collector, normalizer)
	expectLag(t, small, events, events)
	verify(t, sky, sky.ids(), nc, plain, durable)
	expectMemory(t, collector, normalizer)
}

// expectLag asks the command for operators how far the events are collected and normalized.
func expectLag(t testing.TB, file string, collected, normalized int) {
	t.Helper()
	p := start(t, "stackstream", "watermark", "-c", file)
	if code := p.wait(); code != 0 {
		t.Fatalf("watermark exits with %d", code)
	}
	want := fmt.Sprintf("prod panko %d %d %d", collected, normalized, collected-normalized)
	if got := strings.Join(strings.Fields(p.log.String()), " "); !strings.Contains(got, want) {
		t.Errorf("watermark says\n%s\nwant %s", p.log, want)
	}
}
