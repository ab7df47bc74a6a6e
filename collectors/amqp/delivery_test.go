package amqp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/internal/notification"
	"stackstream/internal/rabbitmqtest"
)

var errKilled = errors.New("killed before the commit, by order of the test")

func TestNothingIsAcknowledgedBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	watch := newWire(t, broker.Addr())
	const prefetch, n = 10, 200
	r := newRig(t, broker, vhost, func(c *Config) { c.Hosts, c.Prefetch = []string{watch.addr()}, prefetch })
	r.gate = new(gate)
	nova := newService(t, broker, vhost, "nova", true)
	r.run()
	r.live(Kind, "nova")
	// What was acknowledged until now were probes. From now on they come behind notifications.
	r.eventually("an empty queue", func() bool { ready, unacked := inQueue(t, broker, vhost, ourQueue); return ready+unacked == 0 })
	r.gate.close()
	acks, _, _ := watch.counts()
	want := nova.notify(n)
	held := func() {
		t.Helper()
		r.eventually("all of the prefetch handed over", func() bool {
			_, unacked := inQueue(t, broker, vhost, ourQueue)
			return unacked >= prefetch
		})
		if ready, unacked := inQueue(t, broker, vhost, ourQueue); unacked > prefetch || ready+unacked < n {
			t.Errorf("%d wait and %d are handed over; want all %d, and no more than %d handed over", ready, unacked, n, prefetch)
		}
		if now, _, _ := watch.counts(); now != acks {
			t.Errorf("the broker got %d acknowledgements, and nothing is durable", now-acks)
		}
	}
	held()
	// The connection dies, and the process before its commit: everything comes again.
	closeOurs(t, broker, vhost, "stackstream")
	r.gate.open(errKilled)
	r.gate.close()
	r.eventually("redelivery", func() bool { return r.told().redelivered >= prefetch })
	held()
	if ids := r.log.IDs(cloud); len(ids) > 0 {
		t.Errorf("%d events are durable; none can be", len(ids))
	}
	r.gate.open(nil)
	r.wantIDs(want)
	r.eventually("everything acknowledged", func() bool {
		ready, unacked := inQueue(t, broker, vhost, ourQueue)
		return ready+unacked == 0
	})
	acks, single, rejected := watch.counts()
	if acks == 0 || single > 0 || rejected > 0 {
		t.Errorf("%d acknowledgements, %d of them for one notification only, %d refusals; want only ones for all up to a tag",
			acks, single, rejected)
	}
}

// forQueueTypes runs a test with both types of queue.
func forQueueTypes(t *testing.T, test func(t *testing.T, broker *rabbitmqtest.Broker, vhost string, queueType func(*Config))) {
	t.Parallel()
	for _, name := range []string{"classic", "quorum"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := rabbitmqtest.Shared(t)
			test(t, broker, broker.VHost(t), func(c *Config) { c.Queue.Type = name })
		})
	}
}

func TestOnceAndInOrderWhileConnectionsDie(t *testing.T) {
	forQueueTypes(t, func(t *testing.T, broker *rabbitmqtest.Broker, vhost string, queueType func(*Config)) {
		const each, services = 3400, 3
		exchanges := []string{"nova", "glance", "keystone"}
		r := newRig(t, broker, vhost, queueType, func(c *Config) { c.Exchanges = exchanges })
		var publishing sync.WaitGroup
		defer publishing.Wait()
		published := make([][]string, services)
		var all []*service
		for _, x := range exchanges {
			all = append(all, newService(t, broker, vhost, x, true))
		}
		r.run()
		r.live(Kind, exchanges...)
		for i, s := range all {
			publishing.Go(func() {
				for range each / 100 {
					published[i] = append(published[i], s.notify(100)...)
				}
			})
		}
		random := rand.New(rand.NewPCG(1, uint64(len(t.Name()))))
		for next := 0; ; {
			next += 300 + random.IntN(1800)
			if next > each*services {
				break
			}
			r.eventually(fmt.Sprintf("%d events", next), func() bool { return r.collected() >= next })
			closeOurs(t, broker, vhost, "stackstream")
		}
		publishing.Wait()
		want := map[string][]string{}
		for i, x := range exchanges {
			want[x] = published[i]
		}
		r.wantEach(want)
		if r.told().redelivered == 0 {
			t.Error("nothing was handed over twice: the connections died in vain")
		}
	})
}

// Each change of the prefetch opens another channel, and what was handed over on the one before comes again.
func TestOrderIsKeptWhenThePrefetchChanges(t *testing.T) {
	forQueueTypes(t, func(t *testing.T, broker *rabbitmqtest.Broker, vhost string, queueType func(*Config)) {
		r := newRig(t, broker, vhost, queueType)
		nova := newService(t, broker, vhost, "nova", true)
		stop := r.run()
		r.live(Kind, "nova")
		stop()
		want := nova.notify(1500)
		want = append(want, nova.notifySized(200, 64<<10)...)
		want = append(want, nova.notify(1000)...)
		r.run()
		r.wantIDs(want)
		changes := r.told().prefetch
		switch r.cfg.Queue.Type {
		case "classic":
			if len(changes) < 4 {
				t.Errorf("the prefetch was %v; it should follow the sizes up and down", changes)
			}
		case "quorum": // keeps the order only if it never changes
			if len(slices.Compact(changes)) != 1 {
				t.Errorf("the prefetch was %v; it should stay", changes)
			}
		}
	})
}

// What an earlier consumer holds and has not acknowledged comes before all that follows it: the next one, which may
// begin with a smaller prefetch, must not get a part of it behind the rest.
func TestOrderIsKeptAfterTwoDeaths(t *testing.T) {
	forQueueTypes(t, func(t *testing.T, broker *rabbitmqtest.Broker, vhost string, queueType func(*Config)) {
		r := newRig(t, broker, vhost, queueType)
		r.gate = new(gate)
		nova := newService(t, broker, vhost, "nova", true)
		stop := r.run()
		r.live(Kind, "nova")
		stop()
		want := nova.notify(2500)
		r.gate.close()
		r.run()
		for range 2 {
			r.eventually("as much as the prefetch allows", func() bool {
				for _, c := range listConsumers(t, broker, vhost, ourQueue) {
					if c.Active && (c.Prefetch > firstPrefetch || r.cfg.Queue.Type == "quorum") {
						return true
					}
				}
				return false
			})
			closeOurs(t, broker, vhost, "stackstream")
			r.gate.open(errKilled)
			r.gate.close()
		}
		r.gate.open(nil)
		r.wantIDs(want)
	})
}

func TestZombieKeepsItsPlace(t *testing.T) {
	forQueueTypes(t, func(t *testing.T, broker *rabbitmqtest.Broker, vhost string, queueType func(*Config)) {
		zombie := newRig(t, broker, vhost, queueType, func(c *Config) { c.Prefetch = 64 })
		zombie.gate, zombie.host = new(gate), "zombie"
		nova := newService(t, broker, vhost, "nova", true)
		zombie.run()
		zombie.live(Kind, "nova")
		zombie.gate.close()
		want := nova.notify(500)
		waiting := zombie.with(func(c *Config) { c.Prefetch = 2000 })
		waiting.leases = new(collectorstest.Leases) // the zombie does not know that its lease is lost
		waiting.run()
		r := waiting
		r.eventually("two consumers, and the first one active", func() bool {
			found := listConsumers(t, broker, vhost, ourQueue)
			return len(found) == 2 && found[0].Active != found[1].Active
		})
		want = append(want, nova.notify(500)...)
		r.eventually("a connection that gets nothing to be given up", func() bool { return len(r.told().connected) > 2 })
		if ids := r.log.IDs(cloud); len(ids) > 0 {
			t.Errorf("%d events were collected past those that the zombie holds", len(ids))
		}
		closeOurs(t, broker, vhost, "(zombie)")
		r.wantIDs(want)
		zombie.gate.open(nil) // its commit is refused now
		want = append(want, nova.notify(200)...)
		r.wantIDs(want)
	})
}

func TestPublishersResendComesOnce(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost)
	nova := newService(t, broker, vhost, "nova", true)
	glance := newService(t, broker, vhost, "glance", true)
	stop := r.run()
	r.live(Kind, "nova", "glance")
	send := func(s *service, bodies ...[]byte) {
		t.Helper()
		for _, body := range bodies {
			if !s.publish("notifications.info", amqp091.Publishing{Body: body}).Wait() {
				t.Fatal("the broker refused a notification")
			}
		}
	}
	v1 := func(id string) []byte {
		return fmt.Appendf(nil, `{"message_id": %q, "event_type": "x.y", "payload": {}, "publisher_id": "h", "priority": "INFO"}`, id)
	}
	v2 := func(id string) []byte { return notified(id, "x.y") }
	send(nova, v2("a"), v2("a"), v1("b"), v2("b"), v1("b"), v2("c"), v1("c"))
	send(glance, v2("a"), v1("d")) // the identity is the message_id, whatever way it came
	r.wantIDs([]string{"a", "b", "c", "d"})
	r.eventually("five repeats", func() bool { return r.told().repeated >= 5 })
	stop()
	send(nova, v2("c"), v1("a"), v2("e"), v1("d"))
	again := r.with(func(*Config) {})
	stop = again.run()
	again.wantIDs([]string{"a", "b", "c", "d", "e"})
	again.eventually("three repeats", func() bool { return again.told().repeated >= 3 })
	send(nova, v1("e"), v2("f"))
	again.wantIDs([]string{"a", "b", "c", "d", "e", "f"})
	stop()
}

// hostile are bodies and properties that came, or could come.
func hostile() []amqp091.Publishing {
	random := make([]byte, 70_000)
	source := rand.New(rand.NewPCG(7, 7))
	for i := range random {
		random[i] = byte(source.Uint32())
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	sized := func(id string, size int) []byte {
		body := notified(id, "x.y")
		return append(body, bytes.Repeat([]byte{' '}, size-len(body))...)
	}
	return []amqp091.Publishing{
		{Body: []byte{}},
		{Body: every},
		{Body: random, ContentType: "application/octet-stream"},
		{Body: []byte("not JSON"), ContentType: "text/plain", MessageId: "named-by-amqp"},
		{Body: []byte(`{"message_id": "", "event_type": "x.y"}`), MessageId: "named-by-amqp-2"},
		{Body: notified("named-by-itself", "x.y"), MessageId: "not-this"},
		{Body: []byte(`{"oslo.version": "2.0", "oslo.message": "{\"message_id\": \"cut`)},
		{Body: []byte(`[1, 2, 3]`), MessageId: strings.Repeat("m", 255)},
		{Body: []byte("null")},
		{Body: sized("430-kb", 430_000)},
		{Body: sized("frames-exactly", 3*(frameSize-8))},
		{Body: sized("frames-and-one", 3*(frameSize-8)+1)},
		{Body: sized("9-mib", 9<<20)},
		{Body: notified("compressed", "x.y"), ContentEncoding: "gzip", Headers: amqp091.Table{
			"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "rojo=1", "other": int64(1)}},
		{Body: notified("odd-header", "x.y"), ContentEncoding: "utf-8", Headers: amqp091.Table{"traceparent": int64(1)}},
		{Body: notified("the-last", "x.y")},
	}
}

func TestBodiesAreVerbatim(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost)
	nova := newService(t, broker, vhost, "nova", true)
	r.run()
	r.live(Kind, "nova")
	sent := hostile()
	for _, p := range sent {
		nova.publishAsIs("notifications.error", p)
	}
	r.eventually("everything", func() bool { return r.collected() >= len(sent) })
	ids := []event.ID{
		3: "named-by-amqp", 4: "named-by-amqp-2", 5: "named-by-itself", 9: "430-kb", 10: "frames-exactly",
		11: "frames-and-one", 12: "9-mib", 13: "compressed", 14: "odd-header", 15: "the-last",
		7: event.BoundID(event.ID(strings.Repeat("m", 255))),
	}
	for i, e := range r.log.Events(cloud) {
		p := sent[i]
		if !bytes.Equal(e.Body, p.Body) {
			t.Errorf("body %d of %d bytes came with %d, or with others", i, len(p.Body), len(e.Body))
		}
		if ids[i] == "" && (!e.Hashed || e.ID != event.HashID(p.Body)) || ids[i] != "" && (e.Hashed || e.ID != ids[i]) {
			t.Errorf("body %d has the identity %q (hash: %t); want %q", i, e.ID, e.Hashed, ids[i])
		}
		want := map[string]string{"Evt-Exchange": "nova", "Evt-Routing-Key": "notifications.error"}
		if p.ContentEncoding == "gzip" {
			want["Evt-Content-Encoding"] = "gzip"
			want["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
			want["tracestate"] = "rojo=1"
		}
		delete(e.Header, "Evt-Redelivered")
		if fmt.Sprint(e.Header) != fmt.Sprint(want) || e.ContentType != p.ContentType || e.Format != notification.Oslo {
			t.Errorf("body %d came with %v, content type %q, format %q; want %v, %q, %q",
				i, e.Header, e.ContentType, e.Format, want, p.ContentType, notification.Oslo)
		}
	}
}
