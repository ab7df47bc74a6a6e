package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// Two collectors and two normalizers of the same provider at once on a cluster of three servers, each a process of its
// own. First the programs are killed in turn, and the two at work are stopped for so long that others take over, and
// then go on as if nothing had been. Then the servers are killed and stopped as well. The streams hold each event
// once and in order, and subscribers saw committed events only: the plain one each once while the servers lived.
func TestClusterSurvivesKillingInTurn(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(seed, 4))
	sky := newCloud(t, seed+1)
	cluster, file := startServers(t, func(nats string) string { return sky.configFile(t, nats) })
	collector := []string{"collector", "-c", file, "--source", "panko"}
	normalizer := []string{"normalizer", "-c", file}
	programs := [][]string{collector, collector, normalizer, normalizer}
	running := make([]*process, len(programs))
	restart := func(i int) {
		if running[i] != nil {
			running[i].kill()
		}
		running[i] = start(t, programs[i][0], programs[i][1:]...)
	}
	for i := range programs {
		restart(i)
	}
	nc := connect(t, strings.Join(cluster.urls, ","))
	plain := plainSubscriber(t, nc)
	durable := durableSubscriber(t, nc)
	emit := func(n int, over time.Duration, seed uint64) (done chan struct{}) {
		done = make(chan struct{})
		go func() {
			defer close(done)
			sky.emit(t.Context(), n, over, seed)
		}()
		return done
	}
	moment := func() {
		<-time.After(500*time.Millisecond + time.Duration(random.Int64N(int64(1500*time.Millisecond))))
	}

	emitted := emit(2000, 25*time.Second, seed+1)
	for round := range 4 {
		moment()
		restart(round % len(programs))
	}
	raw, normalized := event.RawCursorSubject("prod", "panko"), event.NormalizedCursorSubject("prod")
	zombies := []*process{
		atWork(t, nc, event.StreamRaw, raw, running[:2]), atWork(t, nc, event.StreamNormalized, normalized, running[2:]),
	}
	for _, z := range zombies {
		z.pause()
	}
	standby := func(z *process, all []*process) *process {
		if all[0] == z {
			return all[1]
		}
		return all[0]
	}
	for i, subject := range []string{raw, normalized} {
		other := standby(zombies[i], running[2*i:2*i+2])
		eventually(t, time.Minute, other.name+" to take over", func() bool {
			return owns(t, nc, []string{event.StreamRaw, event.StreamNormalized}[i], subject, other)
		})
	}
	for _, z := range zombies {
		z.resume()
	}
	<-emitted
	want := sky.ids()
	waitForAll(t, 2*time.Minute, nc, durable, len(want), running...)
	expect(t, "plain subscriber while the servers lived", checkOnce(want, plain.seen()))

	emitted = emit(1000, 12*time.Second, seed+2)
	for i := range cluster.running {
		moment()
		switch i {
		case 1:
			cluster.running[i].pause()
			moment()
			cluster.running[i].resume()
		default:
			cluster.running[i].kill()
			moment()
			cluster.start(i)
		}
		restart(i)
	}
	<-emitted
	want = sky.ids()
	waitForAll(t, 2*time.Minute, nc, durable, len(want), running...)
	expectReady(t, running...)
	verifyAfterServersDied(t, sky, want, nc, plain, durable)
	for i := range running {
		if code := running[i].stop(t); code != 0 {
			t.Errorf("%s exits with %d on SIGTERM", programs[i][0], code)
		}
	}
}

// verify finds fault unless the streams and the durable subscriber have each event once and in order, and the plain
// subscriber saw committed events only, in order and none twice.
func verify(t *testing.T, sky *cloud, want map[string]bool, nc *nats.Conn, plain *subscriber, durable *durable) {
	t.Helper()
	verifyAfterServersDied(t, sky, want, nc, plain, durable)
	expect(t, "plain subscriber", checkSameOrder(dump(t, nc, event.StreamNormalized, "events.normalized.*", "events.dead.*"), plain.seen()))
}

// verifyAfterServersDied is verify where servers of a cluster died: what one has shown to plain subscribers and the next to lead
// had not yet applied, that one shows again.
func verifyAfterServersDied(
	t *testing.T, sky *cloud, want map[string]bool, nc *nats.Conn, plain *subscriber, durable *durable,
) {
	t.Helper()
	raw := dump(t, nc, event.StreamRaw, "events.raw.>")
	normalized := dump(t, nc, event.StreamNormalized, "events.normalized.*", "events.dead.*")
	expect(t, "RAW", checkOnce(want, raw))
	expect(t, "RAW", checkContiguous(raw))
	expect(t, "RAW", sky.checkWatermarks(raw))
	expect(t, "NORMALIZED", checkOnce(want, normalized))
	expect(t, "NORMALIZED", checkContiguous(normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
	expect(t, "NORMALIZED", checkCanonical(normalized))
	expect(t, "durable subscriber", checkOnce(want, durable.seen()))
	expect(t, "durable subscriber", checkSameOrder(normalized, durable.seen()))
	expect(t, "plain subscriber", checkCommitted(normalized, plain.seen()))
	expect(t, "plain subscriber", checkGapsTold(normalized, plain.seen()))
}

// atWork finds the process that wrote a cursor last, waiting until one of them has.
func atWork(t *testing.T, nc *nats.Conn, stream, subject string, of []*process) *process {
	t.Helper()
	var found *process
	eventually(t, time.Minute, "one to write "+subject, func() bool {
		for _, p := range of {
			if owns(t, nc, stream, subject, p) {
				found = p
			}
		}
		return found != nil
	})
	return found
}

// owns tells whether the process wrote the cursor that is the last now.
func owns(t *testing.T, nc *nats.Conn, stream, subject string, p *process) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return false
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return false
	}
	var cursor struct{ Owner string }
	return json.Unmarshal(m.Data, &cursor) == nil && strings.HasSuffix(cursor.Owner, fmt.Sprintf("/%d", p.cmd.Process.Pid))
}
