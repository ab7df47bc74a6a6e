package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/event"
)

// works are two collectors and two normalizers on a cluster of servers.
type works struct {
	t        *testing.T
	cluster  *servers
	random   *rand.Rand
	nc       *nats.Conn
	observer *observer

	collect, normalize     []string // how to start one
	collectors, normalizer []*process
}

// newWorks starts them. The sources are those that are observed; the first one is the one that zombies are made of.
func newWorks(t *testing.T, cluster *servers, random *rand.Rand, file string, sources ...event.Source) *works {
	t.Helper()
	nc := connect(t, strings.Join(cluster.urls, ","))
	w := &works{
		t: t, cluster: cluster, random: random, nc: nc, observer: observe(t, nc, sources...),
		collect:   []string{"collector", "-c", file, "--source", "amqp"},
		normalize: []string{"normalizer", "-c", file},
	}
	for range 2 {
		w.collectors = append(w.collectors, w.start(w.collect))
		w.normalizer = append(w.normalizer, w.start(w.normalize))
	}
	return w
}

func (w *works) start(args []string) *process { return start(w.t, args[0], args[1:]...) }

func (w *works) all() []*process { return slices.Concat(w.collectors, w.normalizer) }

// harm is something bad that is over, but for its consequences, when do returns.
type harm struct {
	what string
	do   func()
}

// harm does harm of each kind, in random order, at moments nobody chose, with pauses of at most longest. Events must come
// meanwhile.
func (w *works) harm(kinds []harm, longest time.Duration) {
	w.t.Helper()
	w.random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, h := range kinds {
		<-time.After(time.Duration(w.random.Int64N(int64(longest))))
		begun := time.Now()
		h.do()
		took, before := time.Since(begun), w.observer.collected()
		// What is harmed next has to have recovered from this.
		eventually(w.t, time.Minute, "anything to be collected after "+h.what,
			func() bool { return w.observer.collected() > before }, w.explain)
		w.t.Logf("%s %s, which took %v; collecting went on %v after that", begun.Format("15:04:05.000"), h.what,
			took.Round(time.Millisecond), (time.Since(begun) - took).Round(time.Millisecond))
	}
}

func (w *works) explain() string {
	text := fmt.Sprintf("collected %d\n", w.observer.collected())
	for _, p := range w.all() {
		text += p.name + ": " + p.ask("/readyz")
	}
	return text
}

// atWork finds the collector that holds the first source's lease.
func (w *works) atWork() int {
	w.t.Helper()
	found := -1
	eventually(w.t, time.Minute, "a collector at work", func() bool {
		found = slices.IndexFunc(w.collectors, func(p *process) bool { return w.observer.holds(w.t.Context(), "amqp", p) })
		return found >= 0
	}, w.explain)
	return found
}

// killCollector kills the collector at work and starts it again.
func (w *works) killCollector() {
	i := w.atWork()
	w.collectors[i].kill()
	w.collectors[i] = w.start(w.collect)
}

// makeZombie stops the collector at work until the other one has its lease, and lets it go on: while the broker still
// takes it for alive, or after the other one has collected something.
func (w *works) makeZombie() {
	i := w.atWork()
	zombie, other := w.collectors[i], w.collectors[1-i]
	late := w.random.IntN(2) == 0
	zombie.pause()
	begun := time.Now()
	eventually(w.t, time.Minute, "the other collector to get the lease", func() bool {
		return w.observer.holds(w.t.Context(), "amqp", other)
	}, w.explain)
	w.t.Logf("the other collector got the lease after %v", time.Since(begun).Round(time.Millisecond))
	if late {
		eventually(w.t, time.Minute, "the other collector to write", func() bool {
			return owns(w.t, w.nc, event.StreamRaw, event.RawCursorSubject("prod", "amqp"), other)
		}, w.explain)
		w.t.Logf("and wrote after %v", time.Since(begun).Round(time.Millisecond))
	}
	zombie.resume()
}

func (w *works) killNormalizer() {
	i := w.random.IntN(2)
	w.normalizer[i].kill()
	w.normalizer[i] = w.start(w.normalize)
}

// killServer kills one server and starts it again. All replicas have to be whole before: with two gone there is no
// majority, and nobody promises anything.
func (w *works) killServer() {
	w.expectReplicas()
	i := w.random.IntN(len(w.cluster.running))
	w.cluster.running[i].kill()
	w.cluster.start(i)
}

// expectReplicas waits until every server has all of each stream: one that was killed recovers by itself.
func (w *works) expectReplicas() {
	w.t.Helper()
	for _, name := range []string{event.StreamRaw, event.StreamNormalized} {
		var replicas []string
		eventually(w.t, time.Minute, "every server to have all of "+name, func() bool {
			ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
			defer cancel()
			stream, err := w.observer.js.Stream(ctx, name)
			if err != nil {
				return false
			}
			info := stream.CachedInfo()
			replicas = nil
			whole := info.Cluster.Leader != ""
			for _, r := range info.Cluster.Replicas {
				replicas = append(replicas, fmt.Sprintf("%+v", *r))
				whole = whole && r.Current && !r.Offline
			}
			return whole
		}, func() string { return strings.Join(replicas, "\n") })
	}
}

// streams reads all that RAW and NORMALIZED hold.
func (w *works) streams() (raw, normalized []entry) {
	w.t.Helper()
	raw = dump(w.t, w.nc, event.StreamRaw, "events.raw.>")
	normalized = dump(w.t, w.nc, event.StreamNormalized, "events.normalized.*", "events.dead.*")
	return raw, normalized
}
