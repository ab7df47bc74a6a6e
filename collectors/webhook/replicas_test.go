package webhook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/publisher"
)

// process is a replica: a front, and a source at work over a real stream.
type process struct {
	url   string
	end   func()
	ended sync.WaitGroup
}

// cutLog is a log that is killed right behind a commit, before anybody hears of it.
type cutLog struct {
	*jetstream.Log
	cut  *atomic.Bool
	kill func()
}

func (l cutLog) Append(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
	at, err := l.Log.Append(ctx, b)
	if err == nil && len(b.Messages) > 0 && l.cut.CompareAndSwap(true, false) {
		l.kill()
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return at, err
}

func startReplica(t *testing.T, client *jetstream.Client, name event.Source, cut *atomic.Bool) *process {
	t.Helper()
	return startReplicaOf(t, client, cloud, name, cut)
}

func startReplicaOf(t *testing.T, client *jetstream.Client, of event.Provider, name event.Source, cut *atomic.Bool) *process {
	t.Helper()
	cfg := config(formatCeilometer, func(c *Config) { c.Replicas = 2 })
	at := make(chan net.Addr, 1)
	front := newFront(cfg, options(func(a net.Addr) { at <- a }))
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{end: cancel}
	p.ended.Go(func() { front.serve(ctx) })
	log := cutLog{client.Raw(), cut, cancel}
	loop := &collectors.Loop{
		Provider: of, Name: name, Source: &Source{cfg: cfg, front: front, beat: 50 * time.Millisecond}, Spec: cfg.Spec(),
		Writer: publisher.NewRaw(log, client.Bodies(), of, name, event.Fence{}, publisher.Options{Owner: string(name)}),
		Memory: client.Memory(), Log: zerolog.Nop(), Options: collectors.Options{Drain: time.Millisecond},
	}
	p.ended.Go(func() {
		for ctx.Err() == nil {
			if err := loop.Run(ctx); err != nil {
				t.Logf("%s: %v", name, err)
				<-time.After(20 * time.Millisecond)
			}
		}
	})
	p.url = "http://" + (<-at).String() + cfg.Path
	jetstreamtest.Eventually(t, "a source to be at work", front.works)
	t.Cleanup(p.stop)
	return p
}

func (p *process) stop() {
	p.end()
	p.ended.Wait()
}

// stored counts the events in the stream, by id.
func stored(t *testing.T, client *jetstream.Client) map[event.ID]int {
	t.Helper()
	count := map[event.ID]int{}
	if err := client.Memory().Identities(t.Context(), cloud, 0, 0, func(e event.Seen) { count[e.ID]++ }); err != nil {
		t.Fatal(err)
	}
	return count
}

// Requests that come to two replicas at the same time are stored once, and both answer with success.
func TestTheSameRequestToTwoReplicas(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	var never atomic.Bool
	replicas := []*process{startReplica(t, client, "webhook", &never), startReplica(t, client, "webhook-2", &never)}
	const rounds, each = 40, 7
	var senders sync.WaitGroup
	for round := range rounds {
		var ids []event.ID
		for i := range each {
			ids = append(ids, event.ID(fmt.Sprint("e-", round, "-", i)))
		}
		for i := range 4 {
			senders.Go(func() {
				got, err := postTo(t.Context(), http.DefaultClient, replicas[(i+round)%2].url, ceilometerBody(ids[i%3:]...))
				if err != nil || got.status != http.StatusOK {
					t.Errorf("round %d, replica %d: %v (%v)", round, i%2, got, err)
				}
			})
		}
		if round%8 == 7 {
			senders.Wait()
		}
	}
	senders.Wait()
	count := stored(t, client)
	if len(count) != rounds*each {
		t.Errorf("%d of %d events are stored", len(count), rounds*each)
	}
	for id, n := range count {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
}

// A provider that was renamed knows what it has stored under the name that it had, through each of its replicas.
func TestWhatWasStoredUnderAFormerName(t *testing.T) {
	t.Parallel()
	const renamed event.Provider = "renamed"
	client := jetstreamtest.Server(t).Client(t)
	var never atomic.Bool
	post := func(to *process, ids ...event.ID) {
		t.Helper()
		got, err := postTo(t.Context(), http.DefaultClient, to.url, ceilometerBody(ids...))
		if err != nil || got.status != http.StatusOK || got.N != len(ids) {
			t.Fatalf("%v: %v (%v)", ids, got, err)
		}
	}
	one, two := startReplica(t, client, "webhook", &never), startReplica(t, client, "webhook-2", &never)
	post(one, "e-1", "e-2")
	post(two, "e-3")
	one.stop()
	two.stop()
	cursors, err := client.Memory().Cursors(t.Context(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	until := max(cursors["webhook"].Sequence, cursors["webhook-2"].Sequence) + 1
	for _, name := range []event.Source{"webhook", "webhook-2"} {
		_, err := publisher.Command(t.Context(), client.Raw(), event.RawCursorSubject(renamed, name), event.RawCommandsSubject(renamed, name),
			publisher.Options{}, func(c *event.RawCursor, _ bool) (event.Command, error) {
				c.Former = []event.Former{{Provider: cloud, Until: until}}
				return event.Command{Verb: event.VerbRename}, nil
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	one, two = startReplicaOf(t, client, renamed, "webhook", &never), startReplicaOf(t, client, renamed, "webhook-2", &never)
	post(one, "e-3", "e-4")
	post(two, "e-1", "e-2", "e-4", "e-5")
	got := map[event.ID]int{}
	err = client.Memory().Identities(t.Context(), renamed, 0, 0, func(e event.Seen) {
		if e.Seq != 0 { // those under the former name have no number here
			got[e.ID]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[event.ID]int{"e-4": 1, "e-5": 1}, got); diff != "" {
		t.Errorf("stored under the new name, -want +got:\n%s", diff)
	}
}

// A replica that is killed between the commit and the answer leaves its senders to the other one, which knows what is stored.
func TestKilledBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	var cut, never atomic.Bool
	other := startReplica(t, client, "webhook-2", &never)
	told := map[event.ID]bool{}
	for round := range 6 {
		one := startReplica(t, client, "webhook", &cut)
		var mu sync.Mutex
		var senders sync.WaitGroup
		for i := range 8 {
			senders.Go(func() {
				for n := range 4 {
					id := event.ID(fmt.Sprint("e-", round, "-", i, "-", n))
					if i == 0 && n == 2 {
						cut.Store(true)
					}
					urls := []string{one.url, other.url}
					for to := 0; ; to = rand.IntN(2) {
						got, err := postTo(t.Context(), http.DefaultClient, urls[to], ceilometerBody(id))
						if err == nil && got.status == http.StatusOK {
							break
						}
						if err == nil && got.status != http.StatusServiceUnavailable || errors.Is(err, context.Canceled) {
							t.Errorf("%s: %v (%v)", id, got, err)
							return
						}
					}
					mu.Lock()
					told[id] = true
					mu.Unlock()
				}
			})
		}
		senders.Wait()
		one.stop()
	}
	count := stored(t, client)
	for id := range told {
		if count[id] != 1 {
			t.Errorf("a sender was told that %s is stored, and it is %d times", id, count[id])
		}
	}
	if len(count) != 6*8*4 {
		t.Errorf("%d events are stored", len(count))
	}
}
