package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// Three sources of a provider are shared by two collectors. While services publish, an exchange moves from one source to
// another, and then a source goes away, by a configuration that the collectors get one after the other, as in a rolling
// restart; each time one of them is killed in the middle of it. Nothing is lost, nothing comes twice, and the order of each
// exchange holds over its moves.
func TestAMQPShardsMove(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	exchanges := []string{"nova", "glance", "keystone", "openstack"}
	cloud := newServices(t, broker, vhost, rabbitmqtest.Durable(), exchanges...)
	var nats string
	config := func(shards string) string {
		return amqpFile(t, broker, vhost, nats, "exchanges: [nova, glance, keystone, openstack]\ndurable_exchanges: true\nprobe: 1s\nshards: {"+shards+"}\n")
	}
	cluster, file := startServers(t, func(text string) string {
		nats = text
		return config("nova: [nova], storage: [openstack]")
	})
	sources := []event.Source{"amqp", "amqp-nova", "amqp-storage"}
	w := newWorks(t, cluster, rand.New(rand.NewPCG(*amqpSeed, 6)), file, sources...)
	w.observer.awaitBound(t, "amqp", "glance", "keystone")
	w.observer.awaitBound(t, "amqp-nova", "nova")
	w.observer.awaitBound(t, "amqp-storage", "openstack")

	emitted, enough := make(chan error, 1), make(chan struct{})
	go func() {
		emitted <- cloud.emit(t.Context(), 0, enough, false, func(ctx context.Context) { w.observer.awaitRoom(ctx, cloud, backlog) })
	}()
	w.some(500)
	w.roll(config("nova: [nova], storage: [openstack, keystone]"))
	w.observer.awaitBound(t, "amqp-storage", "openstack", "keystone")
	w.some(500)
	w.roll(config("nova: [nova]"))
	w.observer.awaitBound(t, "amqp", "glance", "keystone", "openstack")
	w.some(500)
	close(enough)
	if err := <-emitted; err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "amqp-storage to retire", func() bool {
		c, ok := w.observer.cursor(t.Context(), "amqp-storage")
		return ok && c.Retired
	}, w.explain, func() string {
		c, _ := w.observer.cursor(t.Context(), "amqp-storage")
		return fmt.Sprintf("its cursor: %+v, %s", c.Progress, c.Cursor)
	})
	if queues := broker.Ctl(t, "list_queues", "--vhost", vhost, "name"); strings.Contains(queues, "amqp-storage") {
		t.Errorf("a source that retired left a queue: %s", queues)
	}

	sent := cloud.confirmed()
	w.observer.awaitNormalized(t, time.Minute, len(sent), w.all()...)
	expectReady(t, w.all()...)
	raw, normalized := w.streams()
	expect(t, "RAW", checkOnce(ids(sent), raw))
	expect(t, "RAW", checkArrival(sent, raw))
	expect(t, "RAW", checkBytes(t, w.nc, sent, raw))
	for _, source := range sources {
		var of []entry
		for _, e := range raw {
			if e.subject == "events.raw.prod."+string(source) {
				of = append(of, e)
			}
		}
		if len(of) == 0 {
			t.Errorf("%s collected nothing", source)
		}
		expect(t, string(source), checkContiguous(of))
	}
	expect(t, "NORMALIZED", checkOnce(ids(sent), normalized))
	expect(t, "NORMALIZED", checkContiguous(normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
	for _, p := range w.all() {
		if code := p.stop(t); code != 0 {
			t.Errorf("%s exits with %d on SIGTERM", p.name, code)
		}
	}
}

// some waits until n more events are collected.
func (w *works) some(n int) {
	w.t.Helper()
	before := w.observer.collected()
	eventually(w.t, time.Minute, "more events to be collected", func() bool { return w.observer.collected() >= before+n }, w.explain)
}

// roll gives a configuration to the collectors, one after the other, and kills one of them at a moment that nobody chose.
func (w *works) roll(file string) {
	w.t.Helper()
	w.collect[2] = file
	for i, p := range w.collectors {
		if code := p.stop(w.t); code != 0 {
			w.t.Errorf("collector exits with %d on SIGTERM", code)
		}
		w.collectors[i] = w.start(w.collect)
		<-time.After(time.Duration(w.random.Int64N(int64(3 * time.Second))))
	}
	i := w.random.IntN(len(w.collectors))
	w.collectors[i].kill()
	w.collectors[i] = w.start(w.collect)
}
