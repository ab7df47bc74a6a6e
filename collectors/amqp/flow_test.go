package amqp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// What is filtered is acknowledged, also when nothing else comes that would have the cursor written.
func TestFilteredIsAcknowledged(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost, func(c *Config) {
		c.Prefetch = 20
		c.EventTypes = collectors.FilterConfig{Exclude: []string{"compute.*"}}
	})
	r.limits.Heartbeat = 10 * time.Minute // nothing is written just because it is time
	nova := newService(t, broker, vhost, "nova", true)
	r.run()
	r.live(Kind, "nova")
	const n = 3000
	for range 3 {
		// The watermark moves, and is not written yet.
		probes := r.told().probes
		r.eventually("another probe", func() bool { return r.told().probes > probes })
		nova.notify(n / 3)
		r.eventually("nothing but a probe in the queue", func() bool {
			ready, unacked := inQueue(t, broker, vhost, ourQueue)
			return ready+unacked <= r.cfg.Prefetch/2+1
		})
	}
	r.eventually("everything filtered", func() bool { return r.told().filtered == n })
	if told := r.told(); told.filtered != n || r.collected() > 0 {
		t.Errorf("%d were filtered and %d collected; want %d and 0", told.filtered, r.collected(), n)
	}
	// What can't be read is never filtered.
	nova.publish("notifications.info", amqp091.Publishing{Body: []byte(`{"event_type": "compute.x", `)})
	r.eventually("the unreadable one", func() bool { return r.collected() == 1 })
}

// A connection dies with a prefetch full of what is durable: it comes again, is known, and makes room.
func TestKnownOnesMakeRoom(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	wire := newWire(t, broker.Addr())
	r := newRig(t, broker, vhost, func(c *Config) { c.Hosts, c.Prefetch = []string{wire.addr()}, 10 })
	nova := newService(t, broker, vhost, "nova", true)
	r.run()
	r.live(Kind, "nova")
	wire.breakAt(breakpoint{basicAck, "", 1, false}, breakpoint{basicAck, "", 1, false}, breakpoint{basicAck, "", 1, false})
	want := nova.notify(200)
	r.wantIDs(want)
	r.eventually("an empty queue", func() bool {
		ready, unacked := inQueue(t, broker, vhost, ourQueue)
		return ready+unacked == 0
	})
	if r.told().repeated == 0 {
		t.Error("nothing came again: the acknowledgements were not lost")
	}
}

func TestPrefetchFollowsSizes(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost)
	nova := newService(t, broker, vhost, "nova", true)
	stop := r.run()
	r.live(Kind, "nova")
	if first := r.told().prefetch[0]; first != firstPrefetch {
		t.Errorf("it begins with a prefetch of %d; want %d", first, firstPrefetch)
	}
	limit := func(what string, holds func(prefetch int) bool) {
		t.Helper()
		r.eventually("the prefetch for "+what, func() bool {
			found := listConsumers(t, broker, vhost, ourQueue)
			told := r.told().prefetch
			return len(found) == 1 && holds(found[0].Prefetch) && told[len(told)-1] == found[0].Prefetch
		})
	}
	nova.notifySized(200, 0)
	limit("small ones", func(n int) bool { return n == r.cfg.Prefetch })
	nova.notifySized(150, 64<<10)
	limit("large ones", func(n int) bool { return n*64<<10 < 2*r.cfg.PrefetchBytes && n*64<<10 > r.cfg.PrefetchBytes/2 })
	// The size is known to the next one that begins.
	r.eventually("the size in the cursor", func() bool { nova.notifySized(1, 64<<10); return r.state(Kind).BodyBytes > 32<<10 })
	stop()
	again := r.with(func(*Config) {})
	again.run()
	again.live(Kind, "nova")
	if first := again.told().prefetch[0]; first*64<<10 > 2*r.cfg.PrefetchBytes {
		t.Errorf("it begins anew with a prefetch of %d", first)
	}
	r = again
	nova.notifySized(400, 0)
	limit("small ones again", func(n int) bool { return n >= r.cfg.Prefetch/2 })
	r.eventually("everything", func() bool { return r.collected() == nova.n })
}

func TestUnknownRoutingKeysAreCollectedAndSaid(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost, func(c *Config) { c.Prefetch = firstPrefetch }) // so that nothing is handed over twice
	nova := newService(t, broker, vhost, "nova", true)
	r.run()
	r.live(Kind, "nova")
	if err := nova.ch.QueueBind(ourQueue, "elsewhere.#", "nova", false, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		nova.publish("elsewhere.info", amqp091.Publishing{Body: notified(fmt.Sprintf("n%d", i), "x.y")})
	}
	r.wantIDs([]string{"n0", "n1", "n2", "n3", "n4"})
	r.eventually("a word about routing keys", func() bool {
		s := r.status(Kind)
		return s.State == event.StateLive && strings.Contains(s.Reason, "routing keys that are not configured")
	})
	if n := r.told().unknown; n != 5 {
		t.Errorf("%d notifications with unknown routing keys were counted, want 5", n)
	}
	r.eventually("the word taken back", func() bool { s := r.status(Kind); return s.State == event.StateLive && s.Reason == "" })
}

func TestClockSkewIsSaid(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost)
	nova := newService(t, broker, vhost, "nova", true)
	r.run()
	r.live(Kind, "nova")
	n := 0
	dated := func(shift time.Duration) {
		for range skewSamples {
			n++
			nova.publish("notifications.info", amqp091.Publishing{Body: fmt.Appendf(nil,
				`{"message_id": "m%d", "event_type": "x.y", "payload": {}, "timestamp": %q}`,
				n, time.Now().Add(shift).UTC().Format("2006-01-02 15:04:05.000000"))})
		}
	}
	says := func(what string) func() bool {
		return func() bool {
			s := r.status(Kind)
			return s.State == event.StateLive && strings.Contains(s.Reason, what)
		}
	}
	for _, c := range []struct {
		shift time.Duration
		says  string
	}{{time.Hour, "ahead of our clock"}, {-time.Hour, "behind our clock"}} {
		r.eventually(c.says, func() bool { dated(c.shift); return says(c.says)() })
		if d := r.told().skew; d < c.shift-2*time.Minute || d > c.shift+2*time.Minute {
			t.Errorf("clocks that are off by %s were said to be off by %s", c.shift, d)
		}
	}
	r.eventually("agreement again", func() bool { dated(0); return r.status(Kind).Reason == "" })
}
