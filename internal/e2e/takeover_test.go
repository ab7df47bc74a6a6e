package e2e

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/internal/openstack/standin"
	"stackstream/internal/rabbitmqtest"
)

var leaseTTL = flag.Duration("lease-ttl", 2*time.Second, "streams.lease_ttl in TestTakeover; 10s is the default of the programs")

// A collector or a normalizer that is killed is replaced by one that waits, after the time that leases live and not much
// more: the log has what that time is made of.
func TestTakeover(t *testing.T) {
	settings := fmt.Sprintf("\nstreams: {replicas: 1, budget: 1GiB, lease_ttl: %s}", *leaseTTL)
	t.Run("panko", func(t *testing.T) {
		sky := newCloud(t, seed+13)
		sky.SetFaults(standin.Faults{})
		s := startServer(t, func(nats string) string { return sky.configFile(t, nats+settings) })
		takeover(t, s, "panko", func(ctx context.Context, n uint64) { sky.emit(ctx, 100, time.Second, seed+n) })
	})
	t.Run("amqp", func(t *testing.T) {
		broker := rabbitmqtest.Start(t)
		vhost := broker.VHost(t)
		services := newServices(t, broker, vhost, rabbitmqtest.Durable(), "nova")
		s := startServer(t, func(nats string) string {
			return amqpFile(t, broker, vhost, nats+settings, "durable_exchanges: true\n")
		})
		takeover(t, s, "amqp", func(ctx context.Context, _ uint64) {
			done := make(chan struct{})
			close(done)
			if err := services.emit(ctx, windowSize, done, false, every(500*time.Millisecond)); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	})
}

// takeover kills the one at work of each role while emit makes events, one portion after another.
func takeover(t *testing.T, s server, source event.Source, emit func(ctx context.Context, n uint64)) {
	t.Helper()
	nc := connect(t, s.url)
	running := map[string][]*process{}
	for _, program := range []string{"collector", "normalizer"} {
		for range 2 {
			running[program] = append(running[program], start(t, program, "-c", s.file))
		}
	}
	ctx, enough := context.WithCancel(t.Context())
	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		for n := uint64(0); ctx.Err() == nil; n++ {
			emit(ctx, n)
		}
	}()
	defer func() { enough(); <-emitted }()
	for _, c := range []struct{ program, lease, stream, cursor string }{
		{"collector", "collector.collector.prod." + string(source), event.StreamRaw, event.RawCursorSubject("prod", source)},
		{"normalizer", "normalizer.normalizer.prod", event.StreamNormalized, event.NormalizedCursorSubject("prod")},
	} {
		both := running[c.program]
		first := atWork(t, nc, c.stream, c.cursor, both)
		other := both[0]
		if other == first {
			other = both[1]
		}
		eventually(t, time.Minute, "the other one to wait", func() bool {
			return strings.Contains(other.ask("/readyz"), "standby") ||
				strings.HasPrefix(other.ask("/readyz"), "200 ")
		})
		first.kill()
		begun := time.Now()
		limit := *leaseTTL + 18*time.Second
		explain := func() string { return other.ask("/readyz") }
		eventually(t, limit, "the lease to be taken", func() bool { return leaseOf(t, nc, c.lease, other) }, explain)
		lease := time.Since(begun)
		eventually(t, limit, "the other one to write", func() bool { return owns(t, nc, c.stream, c.cursor, other) }, explain)
		t.Logf("%s of %s, lease_ttl %s: the lease after %v, written after %v", c.program, source, *leaseTTL,
			lease.Round(10*time.Millisecond), time.Since(begun).Round(10*time.Millisecond))
	}
}

// leaseOf tells whether a lease is the process's.
func leaseOf(t *testing.T, nc *nats.Conn, lease string, p *process) bool {
	t.Helper()
	entry := leaseEntry(t, nc, lease)
	return entry != nil && strings.Contains(string(entry.Value()), fmt.Sprintf("/%d\"", p.cmd.Process.Pid))
}

// leaseEntry is what OWNERS has of a lease, nil if that is nothing.
func leaseEntry(t *testing.T, nc *nats.Conn, lease string) natsjs.KeyValueEntry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	owners, err := js.KeyValue(ctx, "OWNERS")
	if err != nil {
		return nil
	}
	entry, err := owners.Get(ctx, lease)
	if err != nil {
		return nil
	}
	return entry
}
