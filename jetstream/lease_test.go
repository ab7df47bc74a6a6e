package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// leaseTTL sets how long an entry of LEASES lives; at most a second of it is how long a delete marker stays.
func leaseTTL(t *testing.T, c *jetstream.Client, ttl time.Duration) {
	t.Helper()
	change(t, c, "KV_"+jetstream.BucketLeases, func(c *natsjs.StreamConfig) {
		c.MaxAge, c.Duplicates, c.SubjectDeleteMarkerTTL = ttl, min(ttl, time.Minute), time.Second
	})
}

// holders keeps account of who holds what, and fails the test when two do at once.
type holders struct {
	t *testing.T

	mu     sync.Mutex
	by     map[string]string   // key to process
	turns  map[string][]string // key to all processes that had it, in order
	blocks map[string]string   // process and key to who has it
}

func newHolders(t *testing.T) *holders {
	return &holders{t: t, by: map[string]string{}, turns: map[string][]string{}, blocks: map[string]string{}}
}

func (h *holders) take(key, process string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.by[key]; other != "" {
		h.t.Errorf("%s got the lease of %s while %s holds it", process, key, other)
	}
	h.by[key] = process
	h.turns[key] = append(h.turns[key], process)
}

func (h *holders) give(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.by, key)
}

func (h *holders) holder(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[key]
}

// counts returns how many leases each process holds.
func (h *holders) counts() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := map[string]int{}
	for _, process := range h.by {
		n[process]++
	}
	return n
}

// changes returns how often any lease changed its holder.
func (h *holders) changes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, turns := range h.turns {
		n += len(turns) - 1
	}
	return n
}

// member runs a process that wants leases, until stop is called or the test ends.
func member(t *testing.T, h *holders, c *jetstream.Client, name string, keys ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	leases := jetstream.NewLeases(c, event.RoleNormalizer, name)
	var group sync.WaitGroup
	group.Go(func() {
		if err := leases.Run(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	for _, key := range keys {
		group.Go(func() {
			for ctx.Err() == nil {
				err := leases.Hold(ctx, key, func(held bool, by string) {
					h.mu.Lock()
					defer h.mu.Unlock()
					if !held {
						h.blocks[name+"/"+key] = by
					}
				}, func(ctx context.Context) error {
					h.take(key, name)
					<-ctx.Done()
					h.give(key)
					return nil
				})
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	stop = func() {
		cancel()
		group.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func leaseKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("cloud-%d", i)
	}
	return keys
}

func TestLeaseIsReleasedAtOnce(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	leaseTTL(t, client, 10*time.Minute) // nothing that is waited for here may wait for this
	h := newHolders(t)
	stop := member(t, h, client, "one", "prod")
	until(t, "for the first holder", func() bool { return h.holder("prod") == "one" })
	member(t, h, server.Client(t), "two", "prod")
	until(t, "for the second to know who has it", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.blocks["two/prod"] == "one"
	})
	stop()
	until(t, "for the second holder", func() bool { return h.holder("prod") == "two" })
}

func TestLeaseOfADeadProcessIsTakenOver(t *testing.T) {
	t.Parallel()
	server := jetstreamtest.Server(t)
	first, second := server.Client(t), server.Client(t)
	leaseTTL(t, first, 1500*time.Millisecond)
	h := newHolders(t)
	member(t, h, first, "one", "a", "b")
	until(t, "for the first holder", func() bool { return h.counts()["one"] == 2 })
	member(t, h, second, "two", "a")
	first.Conn().Close()
	// The first notices by itself and stops before the second may start: holders sees to that.
	until(t, "for the second holder", func() bool { return h.holder("a") == "two" && h.holder("b") == "" })
}

func TestHolderThatWasTakenForDeadStops(t *testing.T) {
	t.Parallel()
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	leaseTTL(t, client, 1500*time.Millisecond)
	h := newHolders(t)
	member(t, h, client, "one", "prod")
	until(t, "for the holder", func() bool { return h.holder("prod") == "one" })
	bucket, err := jetStream(t, client).KeyValue(testContext(t), jetstream.BucketLeases)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := bucket.Keys(testContext(t))
	if err != nil || len(keys) != 1 {
		t.Fatalf("entries are %v (%v), want one", keys, err)
	}
	if err := bucket.Delete(testContext(t), keys[0]); err != nil {
		t.Fatal(err)
	}
	until(t, "for it to have stopped and begun again", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.turns["prod"]) == 2 && h.by["prod"] == "one"
	})
}

func TestLeasesAreShared(t *testing.T) {
	t.Parallel()
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	leaseTTL(t, client, 2*time.Second)
	h := newHolders(t)
	keys := leaseKeys(10)
	member(t, h, client, "one", keys...)
	until(t, "for the first to hold all", func() bool { return h.counts()["one"] == 10 })
	member(t, h, server.Client(t), "two", keys...)
	until(t, "for two to share", func() bool { n := h.counts(); return n["one"] == 5 && n["two"] == 5 })
	stop := member(t, h, server.Client(t), "three", keys...)
	until(t, "for three to share", func() bool {
		n := h.counts()
		return max(n["one"], n["two"], n["three"]) == 4 && n["one"]+n["two"]+n["three"] == 10
	})
	stop()
	until(t, "for two to share again", func() bool { n := h.counts(); return n["one"] == 5 && n["two"] == 5 })
	if n := h.changes(); n > 5+2+4 {
		t.Errorf("leases changed hands %d times: %v", n, h.turns)
	}
}

func TestLeasesThatNobodyElseWantsStay(t *testing.T) {
	t.Parallel()
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	leaseTTL(t, client, time.Second)
	h := newHolders(t)
	member(t, h, client, "one", leaseKeys(6)...)
	until(t, "for the first to hold all", func() bool { return h.counts()["one"] == 6 })
	// The second waits for one of them only, and gets it; each of the others is offered once at most.
	member(t, h, server.Client(t), "two", "cloud-0")
	until(t, "for the second to have its lease", func() bool { return h.holder("cloud-0") == "two" })
	until(t, "for the others to be held", func() bool { return h.counts()["one"] == 5 })
	if n := h.changes(); n > 1+2*5 {
		t.Errorf("leases changed hands %d times: %v", n, h.turns)
	}
}

func TestLeasesOutliveTheirBuckets(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	leaseTTL(t, client, time.Second)
	for _, lost := range []string{"KV_" + jetstream.BucketLeases, "KV_" + jetstream.BucketOwners} {
		t.Run(lost, func(t *testing.T) {
			h := newHolders(t)
			member(t, h, client, "one", "a", "b")
			until(t, "for the holder", func() bool { return h.counts()["one"] == 2 })
			if err := jetStream(t, client).DeleteStream(testContext(t), lost); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Provision(testContext(t), smallLayout(1), jetstream.CreateMissing); err != nil {
				t.Fatal(err)
			}
			leaseTTL(t, client, time.Second)
			until(t, "for the leases to be lost and got again", func() bool { return h.changes() >= 2 && h.counts()["one"] == 2 })
		})
	}
}

func TestManyIdleLeasesCostLittle(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	leaseTTL(t, client, 2*time.Second)
	h := newHolders(t)
	member(t, h, client, "one", leaseKeys(400)...)
	until(t, "for all to be held", func() bool { return h.counts()["one"] == 400 })
	// Four renewals later: what was sent meanwhile does not grow with the number of leases.
	bucket, err := jetStream(t, client).KeyValue(testContext(t), jetstream.BucketLeases)
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := bucket.WatchAll(testContext(t), natsjs.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	<-watcher.Updates()
	before := client.Conn().Stats().OutMsgs
	for range 4 {
		<-watcher.Updates()
	}
	if n := client.Conn().Stats().OutMsgs - before; n > 40 {
		t.Errorf("%d messages were sent for four renewals", n)
	}
}

func TestHoldRefusesWhatItCantHold(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	leases := jetstream.NewLeases(client, event.RoleCollector, "one")
	never := func(context.Context) error { t.Error("work was called"); return nil }
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "a b", "a*", "a>", "ä"} {
		wantKind(t, leases.Hold(testContext(t), key, func(bool, string) {}, never), event.Invalid, "letters")
	}
	ctx, cancel := context.WithCancel(testContext(t))
	running := make(chan error, 1)
	go func() { running <- leases.Run(ctx) }()
	err := leases.Hold(ctx, "a.b-c_d=e/f", func(bool, string) {}, func(ctx context.Context) error {
		wantKind(t, leases.Hold(ctx, "a.b-c_d=e/f", func(bool, string) {}, never), event.Invalid, "already")
		return errors.New("as it was")
	})
	if err == nil || err.Error() != "as it was" {
		t.Errorf("work's error came back as %v", err)
	}
	cancel()
	if err := <-running; err != nil {
		t.Error(err)
	}
	if err := leases.Hold(ctx, "late", func(bool, string) {}, never); !errors.Is(err, context.Canceled) {
		t.Errorf("without Run and with a context that ended it gave %v", err)
	}
}

func TestNoLeaseIsAlwaysFree(t *testing.T) {
	var told []bool
	want := errors.New("done")
	err := jetstream.NoLease{}.Hold(testContext(t), "prod", func(held bool, _ string) { told = append(told, held) },
		func(context.Context) error { return want })
	if !errors.Is(err, want) || len(told) != 1 || !told[0] {
		t.Errorf("got %v, told %v", err, told)
	}
}

// An operator changes how long entries live while processes run: they go by it, and what they hold changes hands at most
// once for that.
func TestLeasesGoByAChangedTTL(t *testing.T) {
	t.Parallel()
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	for _, tt := range []struct {
		name     string
		from, to time.Duration
	}{
		{"shorter", 9 * time.Second, 2 * time.Second},
		{"longer", 2 * time.Second, 9 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			layout := smallLayout(1)
			set := func(ttl time.Duration) {
				t.Helper()
				layout.LeaseTTL = ttl
				if _, err := client.Provision(testContext(t), layout, jetstream.Apply); err != nil {
					t.Fatal(err)
				}
			}
			set(tt.from)
			h := newHolders(t)
			member(t, h, client, "one", "a")
			until(t, "for the first holder", func() bool { return h.holder("a") == "one" })
			set(tt.to)
			bucket, err := jetStream(t, client).KeyValue(testContext(t), jetstream.BucketLeases)
			if err != nil {
				t.Fatal(err)
			}
			watcher, err := bucket.WatchAll(testContext(t), natsjs.UpdatesOnly())
			if err != nil {
				t.Fatal(err)
			}
			<-watcher.Updates()
			second := server.Client(t)
			member(t, h, second, "two", "a")
			// Renewals follow one another as the new time wants it.
			last := map[string]time.Time{}
			until(t, "for both to renew in the new rhythm", func() bool {
				select {
				case entry := <-watcher.Updates():
					if entry.Operation() != natsjs.KeyValuePut {
						return false
					}
					between := entry.Created().Sub(last[entry.Key()])
					last[entry.Key()] = entry.Created()
					return between > tt.to/4 && between < tt.to
				case <-time.After(time.Millisecond):
					return false
				}
			})
			if n := h.changes(); n > 1 {
				t.Errorf("the lease changed hands %d times: %v", n, h.turns)
			}
		})
	}
}
