package normalizer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// oneHolder is a lease that one work at a time holds.
type oneHolder struct {
	free chan struct{} // has a token while nobody holds it
	mu   sync.Mutex
	keys []string
	lose context.CancelFunc // takes the lease from its holder
}

func newOneHolder() *oneHolder {
	l := &oneHolder{free: make(chan struct{}, 1)}
	l.free <- struct{}{}
	return l
}

func (l *oneHolder) Hold(
	ctx context.Context, key string, holding func(bool, string), work func(context.Context) error,
) error {
	select {
	case <-l.free:
	default:
		holding(false, "somebody")
		select {
		case <-l.free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	held, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.keys, l.lose = append(l.keys, key), cancel
	l.mu.Unlock()
	holding(true, "")
	err := work(held)
	l.free <- struct{}{}
	return err
}

func TestAnotherInstanceTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lease := newWorld(t), newOneHolder()
		w.add("panko", "test", "a")
		first, second := w.service(nil), w.service(nil)
		first.cfg.Lease, second.cfg.Lease = lease, lease
		w.run(first, func(ctx context.Context) {
			w.await(ctx, "the first works", w.allDone)
			w.run(second, func(ctx context.Context) {
				w.await(ctx, "the second waits", func() bool {
					last := w.statuses[len(w.statuses)-1]
					return last.State == event.StateStandby && last.Reason == "the lease is held by somebody"
				})
				lease.mu.Lock()
				lease.lose()
				lease.mu.Unlock()
				w.await(ctx, "the second has it", func() bool { return w.statuses[len(w.statuses)-1].State == event.StateLive })
				w.add("panko", "test", "a")
				w.await(ctx, "the second works", w.allDone)
			})
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if lease.keys[0] != "normalizer.cloud" {
			t.Errorf("keys %q", lease.keys)
		}
	})
}

// brokenLease can't be held for a while.
type brokenLease struct {
	*oneHolder
	left int
}

func (l *brokenLease) Hold(
	ctx context.Context, key string, holding func(bool, string), work func(context.Context) error,
) error {
	if l.left--; l.left >= 0 {
		return errors.New("no answer")
	}
	return l.oneHolder.Hold(ctx, key, holding, work)
}

func TestLeaseThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add("panko", "test", "a")
		s := w.service(nil)
		s.cfg.Lease = &brokenLease{newOneHolder(), 10}
		w.run(s, func(ctx context.Context) { w.await(ctx, "the end", w.allDone) })
		if diff := cmp.Diff([]string{"starting", "backoff", "starting", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
	})
}

// Two instances without a lease: the fence alone keeps every event once and in order.
func TestFencedInstanceDropsItsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := w.service(nil), w.service(nil)
		w.run(first, func(ctx context.Context) {
			w.run(second, func(ctx context.Context) {
				for range 50 {
					w.add("panko", "test", "a")
					w.add("amqp", "test", "malformed")
					w.await(ctx, "a round", w.allDone)
					wait(ctx, time.Second) // so that who was fenced is back
				}
			})
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if w.fenced == 0 {
			t.Error("nobody was fenced")
		}
	})
}

func TestShutdownFinishesTheBatch(t *testing.T) {
	for _, c := range []struct {
		name    string
		took    time.Duration
		commits bool
	}{
		{"that needs less than the drain timeout", DrainTimeout - time.Second, true},
		{"but no longer than the drain timeout", time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, lease := newWorld(t), newOneHolder()
				w.add("panko", "test", "a")
				committing := make(chan struct{})
				w.onCommit = func(ctx context.Context, _ []event.Outcome) error {
					close(committing)
					wait(ctx, c.took)
					return ctx.Err()
				}
				s := w.service(nil)
				s.cfg.Lease = lease
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- s.Run(ctx, testProvider) }()
				<-committing
				stop()
				start := time.Now()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took != min(c.took, DrainTimeout) {
					t.Errorf("took %v", took)
				}
				if committed := len(w.outcomes) == 1 && w.acked == w.cursor.RawSeq; committed != c.commits {
					t.Errorf("committed and acknowledged: %v", committed)
				}
				if len(lease.free) != 1 {
					t.Error("the lease was not released")
				}
			})
		})
	}
}

// An idle provider costs a few goroutines and no work.
func TestAThousandProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var worlds []*world
		var providers []event.Provider
		byName := map[event.Provider]*world{}
		for i := range 1000 {
			p := event.Provider(fmt.Sprintf("cloud-%d", i))
			w := newWorld(t)
			worlds, providers, byName[p] = append(worlds, w), append(providers, p), w
		}
		s := worlds[0].service(nil)
		s.cfg.Committer = func(p event.Provider) Committer { return &worldCommitter{w: byName[p]} }
		s.cfg.Feed = feedOfMany(byName)
		ctx, stop := context.WithCancel(t.Context())
		before := runtime.NumGoroutine()
		done := make(chan error)
		go func() { done <- s.Run(ctx, providers...) }()
		synctest.Wait()
		if each := (runtime.NumGoroutine() - before) / len(providers); each > 4 {
			t.Errorf("%d goroutines for a provider", each)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := len(worlds[0].statuses); got != 2000 {
			t.Errorf("%d changes of state", got)
		}
	})
}

type feedOfMany map[event.Provider]*world

func (f feedOfMany) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (Reader, error) {
	return worldFeed{f[p]}.Open(ctx, p, from)
}

// An instance that meets what a newer version wrote leaves the lease to whoever can read it, and goes on when it is gone.
func TestWhatANewerVersionWroteStopsTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, lease := newWorld(t), newOneHolder()
		w.add("panko", "test", "a")
		r := event.Raw{ID: "panko-2", Received: time.Now(), Format: "test", Body: []byte("a")}
		m := r.Message(testProvider, "panko", 2, event.BodyRef{})
		m.Header.Set(event.HeaderMessageFormat, "99")
		w.numbers["panko"] = 2
		w.addMessage(m)
		s := w.service(nil)
		s.cfg.Lease = lease
		w.run(s, func(ctx context.Context) {
			w.await(ctx, "stopped", func() bool {
				return len(w.statuses) > 0 && w.statuses[len(w.statuses)-1].State == event.StateStopped
			})
			if reason := w.statuses[len(w.statuses)-1].Reason; !strings.Contains(reason, "newer stackstream (format 99") {
				t.Errorf("it says %q", reason)
			}
			if err := lease.Hold(ctx, "another", func(bool, string) {}, func(context.Context) error { return nil }); err != nil {
				t.Errorf("the lease is not free: %v", err)
			}
			<-time.After(10 * time.Minute)
			if len(w.outcomes) != 1 {
				t.Errorf("%d outcomes while it is stopped", len(w.outcomes))
			}
			if diff := cmp.Diff([]string{"starting", "live", "stopped"}, w.states()); diff != "" {
				t.Error(diff)
			}
			w.note(func() {
				w.raw[1].Header = maps.Clone(w.raw[1].Header) // the other one may be being read
				delete(w.raw[1].Header, event.HeaderMessageFormat)
			})
			w.await(ctx, "the end", w.allDone)
		})
		if err := w.check(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"starting", "live", "stopped", "live"}, w.states()); diff != "" {
			t.Error(diff)
		}
	})
}
