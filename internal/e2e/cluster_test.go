package e2e

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/jetstream/jetstreamtest"
)

// Two collectors and two normalizers of the same provider at once on a cluster of three servers, killed in turn, with a
// server of the cluster killed as well: the streams hold each event once and in order, and a plain subscriber
// saw each committed event once and in order, and nothing else.
func TestClusterSurvivesKillingInTurn(t *testing.T) {
	const events = 3000
	random := rand.New(rand.NewPCG(seed, 4))
	sky := newCloud(t, seed+1)
	cluster := jetstreamtest.Cluster(t)
	file := sky.configFile(t, "  url: ["+strings.Join(cluster.URLs(), ", ")+"]")

	programs := [][]string{
		{"collector", "-c", file, "--source", "panko"},
		{"collector", "-c", file, "--source", "panko"},
		{"normalizer", "-c", file},
		{"normalizer", "-c", file},
	}
	running := make([]*process, len(programs))
	for i, args := range programs {
		running[i] = start(t, args[0], args[1:]...)
	}
	nc := connect(t, strings.Join(cluster.URLs(), ","))
	plain := plainSubscriber(t, nc)
	durable := durableSubscriber(t, nc)

	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		sky.emit(t.Context(), events, 20*time.Second, seed+1)
	}()
	for round := range 8 {
		select {
		case <-time.After(time.Second + time.Duration(random.Int64N(int64(2*time.Second)))):
		case <-emitted:
		}
		i := round % len(programs)
		running[i].kill()
		running[i] = start(t, programs[i][0], programs[i][1:]...)
	}
	<-emitted
	want := sky.ids()
	eventually(t, 2*time.Minute, "all events with the durable subscriber", func() bool { return durable.len() >= len(want) })

	raw := dump(t, nc, event.StreamRaw, "events.raw.>")
	normalized := dump(t, nc, event.StreamNormalized, "events.normalized.*", "events.dead.*")
	expect(t, "RAW", checkOnce(want, raw))
	expect(t, "RAW", checkContiguous(raw))
	expect(t, "NORMALIZED", checkOnce(want, normalized))
	expect(t, "NORMALIZED", checkContiguous(normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
	expect(t, "durable subscriber", checkOnce(want, durable.seen()))
	expect(t, "durable subscriber", checkSameOrder(normalized, durable.seen()))
	expect(t, "plain subscriber", checkOnce(want, plain.seen()))
	expect(t, "plain subscriber", checkSameOrder(normalized, plain.seen()))
	for i := range running {
		if code := running[i].stop(t); code != 0 {
			t.Errorf("%s exits with %d on SIGTERM", programs[i][0], code)
		}
	}
}
