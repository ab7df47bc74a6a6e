package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// The collector under full load: a queue that is full when it starts, with notifications of a usual size and with very
// large ones. It reports events per second and the most memory that the process had.
//
//	go test ./internal/e2e -run '^$' -bench AMQPCollector -benchtime 1x
func BenchmarkAMQPCollector(b *testing.B) {
	plain := b.TempDir() // the race detector takes many times the memory
	if out, err := exec.Command("go", "build", "-o", plain, "stackstream/cmd/collector").CombinedOutput(); err != nil {
		b.Fatalf("build the collector: %v\n%s", err, out)
	}
	for _, size := range []struct {
		name   string
		events int
		bytes  func(n int) int
	}{
		{"2kB", 200_000, func(int) int { return 2000 }},
		{"64KiB", 20_000, func(int) int { return 64 << 10 }},
		{"2kB,then64KiB", 25_000, func(n int) int { // many were asked for when the large ones come
			if n < 20_000 {
				return 2000
			}
			return 64 << 10
		}},
	} {
		b.Run(size.name, func(b *testing.B) {
			b.StopTimer()
			for range b.N {
				drain(b, filepath.Join(plain, "collector"), size.events, size.bytes)
			}
		})
	}
}

// drain fills a queue and has the collector at path empty it.
func drain(b *testing.B, path string, events int, bytes func(n int) int) {
	broker := rabbitmqtest.Start(b)
	vhost := broker.VHost(b)
	addr, dir := freeAddr(b), b.TempDir()
	config := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\nmax_payload: 8454144\njetstream { store_dir: %q, sync_interval: always }\n", addr, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	start(b, "nats-server", "-c", config)
	nc := connect(b, "nats://"+addr)
	file := amqpFile(b, broker, vhost, "  url: nats://"+addr+"\nstreams: {replicas: 1}",
		"exchanges: [nova]\ncreate_exchanges: durable\nqueue: {max_bytes: 4GiB}\n")
	if code := start(b, "stackstream", "provision", "-c", file).wait(); code != 0 {
		b.Fatalf("provision exits with %d", code)
	}
	// Once it has made its queue the collector is stopped, and the queue is filled.
	collector := []string{"-c", file, "--source", "amqp"}
	first := startAt(b, path, collector...)
	eventually(b, time.Minute, "the queue to be bound", func() bool {
		return strings.Contains(broker.Ctl(b, "list_bindings", "--vhost", vhost), "notifications.info")
	}, func() string { return first.ask("/readyz") })
	first.stop(b)
	fill(b, broker, vhost, events, bytes)

	b.StartTimer()
	begun := time.Now()
	p := startAt(b, path, collector...)
	eventually(b, 10*time.Minute, "all to be collected", func() bool { return rawEvents(b, nc) >= events },
		func() string { return p.ask("/readyz") })
	b.StopTimer()
	b.ReportMetric(float64(events)/time.Since(begun).Seconds(), "events/s")
	b.ReportMetric(peak(b, p)/(1<<20), "MiB-peak")
	b.ReportMetric(0, "ns/op")
}

// fill publishes on an exchange that has no other queue.
func fill(b *testing.B, broker *rabbitmqtest.Broker, vhost string, events int, bytes func(n int) int) {
	ch, err := broker.Dial(b, vhost).Channel()
	if err != nil {
		b.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	const window = 200
	for n := 0; n < events; n += window {
		var confirms []interface{ Wait() bool }
		for i := range window {
			body := fmt.Appendf(nil, `{"message_id": "m-%08d", "event_type": "x.load", "timestamp": "2026-11-23 01:02:03.000004", "payload": {"text": "`, n+i)
			body = fmt.Appendf(body, `%s"}}`, strings.Repeat("x", bytes(n+i)-len(body)-3))
			c, err := ch.PublishWithDeferredConfirm("nova", "notifications.info", true, false, rabbitmqtest.JSON(body))
			if err != nil {
				b.Fatal(err)
			}
			confirms = append(confirms, c)
		}
		for _, c := range confirms {
			if !c.Wait() {
				b.Fatal("the broker does not confirm")
			}
		}
	}
}

func rawEvents(b *testing.B, nc *nats.Conn) int {
	js, err := natsjs.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, event.StreamRaw)
	if err != nil {
		return 0
	}
	m, err := stream.GetLastMsgForSubject(ctx, event.RawCursorSubject("prod", "amqp"))
	if err != nil {
		return 0
	}
	var c event.RawCursor
	_ = json.Unmarshal(m.Data, &c)
	return int(c.Position)
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that the process had, in bytes.
func peak(b testing.TB, p *process) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	m := highWater.FindSubmatch(status)
	if m == nil {
		b.Fatalf("no VmHWM in %s", status)
	}
	kb, _ := strconv.ParseFloat(string(m[1]), 64)
	return kb * 1024
}
