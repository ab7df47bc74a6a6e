package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

var (
	notifications = flag.Int("notifications", 0, "how many notifications TestAMQPSurvivesKilling publishes at least, with as "+
		"many rounds of harm as it takes; 0 for one round")
	amqpSeed = flag.Uint64("seed", seed, "chooses what is killed and when")
)

// backlog is how far those who publish may be ahead of what is collected, so that they publish until the end.
const backlog = 1500

// Several services publish, with the broker's confirms, what services have sent, and among it what no service would
// send, while collectors, normalizers, servers and the broker are killed at moments nobody chose, and the collector at work is
// stopped until another one has its lease and then goes on as if nothing had been. Everything that the broker confirmed is
// there in the end, once, in order, byte for byte; what can't be converted is a dead letter. No watermark ever said too much.
func TestAMQPSurvivesKilling(t *testing.T) {
	t.Parallel()
	t.Logf("to do the same again: -seed %d -notifications %d", *amqpSeed, *notifications)
	random := rand.New(rand.NewPCG(*amqpSeed, 5))
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	exchanges := []string{"nova", "glance", "keystone", "openstack"}
	cloud := newServices(t, broker, vhost, rabbitmqtest.Durable(), exchanges...)
	cluster, file := startServers(t, func(nats string) string {
		return amqpFile(t, broker, vhost, nats, "durable_exchanges: true\nheartbeat: 3s\nprobe: 1s\n")
	})
	w := newWorks(t, cluster, random, file, "amqp")
	w.observer.awaitBound(t, "amqp", exchanges...)

	emitted, enough := make(chan error, 1), make(chan struct{})
	go func() {
		emitted <- errors.Join(
			cloud.publish(t.Context(), "glance", huge()...),
			cloud.emit(t.Context(), *notifications/len(exchanges), enough, true, func(ctx context.Context) {
				w.observer.awaitRoom(ctx, cloud, backlog)
			}))
	}()
	harms := []harm{
		{"a collector is killed", w.killCollector},
		{"the collector at work becomes a zombie", w.makeZombie},
		{"a normalizer is killed", w.killNormalizer},
		{"the broker is restarted", func() { broker.Restart(t) }},
		{"the broker is killed", func() { broker.Kill(t); broker.Run(t) }},
		{"a server is killed", w.killServer},
		{"a server is killed once more", w.killServer},
		{"the broker and the collector at work are killed", func() {
			broker.Kill(t)
			w.killCollector()
			broker.Run(t)
		}},
	}
	w.harm(harms, 2*time.Second)
	for cloud.count() < *notifications {
		w.harm(harms, 20*time.Second)
	}
	close(enough)
	if err := <-emitted; err != nil {
		t.Fatal(err)
	}
	sent := cloud.confirmed()
	w.observer.awaitNormalized(t, 3*time.Minute, len(sent), w.all()...)
	expectReady(t, w.all()...)
	w.expectReplicas()

	raw, normalized := w.streams()
	want := ids(sent)
	expect(t, "RAW", checkOnce(want, raw))
	expect(t, "RAW", checkContiguous(raw))
	expect(t, "RAW", checkArrival(sent, raw))
	expect(t, "RAW", checkBytes(t, w.nc, sent, raw))
	expect(t, "RAW", checkClaims(sent, raw, claimsOf(raw)))
	expect(t, "cursors", checkClaims(sent, raw, w.observer.told("amqp")))
	expect(t, "NORMALIZED", checkOnce(want, normalized))
	expect(t, "NORMALIZED", checkContiguous(normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
	expect(t, "NORMALIZED", checkFates(t, w.nc, sent, normalized))
	if told := len(w.observer.told("amqp")); told < 3 {
		t.Errorf("%d watermarks were seen: too few to say anything", told)
	}
	if s := w.observer.state(t.Context(), "amqp"); s.GapsTotal > 0 || len(s.Dropped) > 0 {
		t.Errorf("told gaps %v and drops %v where nothing was lost", s.Gaps, s.Dropped)
	}
	resent := 0
	for _, p := range sent {
		if p.resent {
			resent++
		}
	}
	t.Logf("%d notifications, of which %d were in windows that were sent again", len(sent), resent)
	for _, p := range w.all() {
		if code := p.stop(t); code != 0 {
			t.Errorf("%s exits with %d on SIGTERM", p.name, code)
		}
	}
}

// awaitRoom waits until less than limit notifications are published and not collected.
func (o *observer) awaitRoom(ctx context.Context, from *services, limit int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for from.count()-o.collected() > limit {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// checkBytes finds fault unless RAW has every body byte for byte. What is too large for a message is in the object store.
func checkBytes(t *testing.T, nc *nats.Conn, sent []published, raw []entry) error {
	t.Helper()
	sums := make(map[string][sha256.Size]byte, len(sent))
	for _, p := range sent {
		sums[p.id] = p.sum
	}
	var problems []error
	for _, e := range raw {
		if got := sha256.Sum256(wholeBody(t, nc, e)); got != sums[e.id] {
			problems = append(problems, fmt.Errorf("%s has another body than was published", e.id))
		}
	}
	return summary(problems)
}

// wholeBody is the body of a raw event or a dead letter, wherever it is.
func wholeBody(t *testing.T, nc *nats.Conn, e entry) []byte {
	t.Helper()
	object := first(e.header, event.HeaderBodyObject)
	if object == "" {
		return e.body
	}
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	store, err := js.ObjectStore(ctx, event.BucketBodies)
	if err != nil {
		t.Fatal(err)
	}
	body, err := store.GetBytes(ctx, object)
	if err != nil {
		t.Errorf("read the body of %s: %v", e.id, err)
	}
	return body
}

// checkFates finds fault unless exactly what should be is a dead letter, with its reason and its bytes, and all else is a
// canonical event.
func checkFates(t *testing.T, nc *nats.Conn, sent []published, normalized []entry) error {
	t.Helper()
	want := make(map[string]published, len(sent))
	for _, p := range sent {
		want[p.id] = p
	}
	var problems []error
	var events []entry
	for _, e := range normalized {
		p, dead := want[e.id], strings.HasPrefix(e.subject, "events.dead.")
		switch {
		case dead != p.dead:
			problems = append(problems, fmt.Errorf("%s of exchange %s: is a dead letter: %v, want %v (%s: %s)", e.id, p.exchange,
				dead, p.dead, first(e.header, event.HeaderReason), first(e.header, event.HeaderDetail)))
		case dead && (first(e.header, event.HeaderReason) == "" || first(e.header, event.HeaderDetail) == ""):
			problems = append(problems, fmt.Errorf("dead letter %s gives no reason", e.id))
		case dead && sha256.Sum256(wholeBody(t, nc, e)) != p.sum:
			problems = append(problems, fmt.Errorf("dead letter %s has another body than was published", e.id))
		case p.mended && first(e.header, event.HeaderMended) == "": // some that were recorded have to be mended, too
			problems = append(problems, fmt.Errorf("%s does not say that something was mended", e.id))
		case !dead && !bytes.Contains(e.body, []byte(`"body_object"`)):
			events = append(events, e)
		}
	}
	return errors.Join(summary(problems), checkCanonical(events))
}
