package collectors_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

// post is what a sender hands to a replica.
type post struct {
	events []event.Raw
	fate   chan bool
}

// replica is one of several sources that share their events.
type replica struct {
	name event.Source
	in   chan post
	log  *collectorstest.Log
}

// source hands over what comes, each post as a batch.
func (r *replica) source() *script {
	return &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
		for {
			b := collectors.Batch{Watermark: time.Now(), Floor: time.Now().Add(-time.Hour)}
			select {
			case p := <-r.in:
				b.Events = p.events
				b.Done, b.Undone = func() { p.fate <- true }, func() { p.fate <- false }
				if err := emit(ctx, b); err != nil {
					p.fate <- false
					return err
				}
				continue
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return nil
			}
			if err := emit(ctx, b); err != nil {
				return err
			}
		}
	}}
}

// run runs loops until ctx ends, each for as long as it gets.
func (r *replica) run(ctx context.Context, lives func() time.Duration) {
	for ctx.Err() == nil {
		loop := &collectors.Loop{
			Provider: cloud, Name: r.name, Source: r.source(), Spec: collectors.Spec{Shared: true},
			Writer: r.log.NewWriter(cloud, r.name, event.Fence{}), Memory: r.log, Log: zerolog.Nop(),
			Options: collectors.Options{QueueBytes: 3000, Heartbeat: 200 * time.Millisecond, Drain: 50 * time.Millisecond},
		}
		life, cancel := context.WithTimeout(ctx, lives())
		_ = loop.Run(life) // whatever it ends with, it is run again
		cancel()
	}
}

// Whatever is posted to whichever of several sources, at the same time, again after an answer that said nothing, while sources are
// ended and commits fail: all of it is stored, once, and a sender that is told so can rely on it.
func TestSharedEventsAreStoredOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		replicas := rapid.IntRange(1, 3).Draw(rt, "replicas")
		senders := rapid.IntRange(1, 6).Draw(rt, "senders")
		pool := rapid.IntRange(1, 40).Draw(rt, "ids")
		failing := rapid.IntRange(0, 30).Draw(rt, "failing commits in a hundred")
		life := time.Duration(rapid.IntRange(50, 2000).Draw(rt, "life")) * time.Millisecond
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(seed, 0))
			n := func(most int) int {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(most)
			}
			log := collectorstest.NewLog()
			log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
				<-time.After(time.Duration(n(3)) * time.Millisecond)
				if n(100) >= failing {
					return true, nil
				}
				return n(2) == 0, errors.New("no answer")
			}
			ctx, cancel := context.WithCancel(t.Context())
			var all []*replica
			var running sync.WaitGroup
			for i := range replicas {
				r := &replica{name: event.Source(fmt.Sprint("fake-", i)), in: make(chan post), log: log}
				all = append(all, r)
				running.Go(func() { r.run(ctx, func() time.Duration { return life + time.Duration(n(100))*time.Millisecond }) })
			}
			told := map[event.ID]bool{}
			var sending sync.WaitGroup
			for range senders {
				sending.Go(func() {
					for range 12 {
						var events []event.Raw
						for range 1 + n(4) {
							id := event.ID(fmt.Sprint("id-", n(pool)))
							events = append(events, event.Raw{ID: id, Format: "fake", Body: []byte(id), Time: time.Now()})
						}
						for {
							p := post{slices.Clone(events), make(chan bool, 1)}
							all[n(len(all))].in <- p
							if <-p.fate {
								break
							}
						}
						mu.Lock()
						for _, e := range events {
							told[e.ID] = true
						}
						mu.Unlock()
					}
				})
			}
			sending.Wait()
			cancel()
			running.Wait()
			count := map[event.ID]int{}
			for _, id := range log.IDs(cloud) {
				if count[id]++; count[id] > 1 {
					t.Errorf("%s is stored %d times", id, count[id])
				}
			}
			for id := range told {
				if count[id] == 0 {
					t.Errorf("a sender was told that %s is stored, and it is not", id)
				}
			}
		})
	})
}

// A source that shares needs a writer that can.
func TestSharingNeedsASharer(t *testing.T) {
	log := collectorstest.NewLog()
	b := newBench(log, emits())
	b.Spec.Shared = true
	b.Writer = struct{ collectors.Writer }{b.Writer}
	if err := b.Run(t.Context()); event.KindOf(err) != event.Invalid {
		t.Errorf("it runs: %v", err)
	}
}

// What is queued behind a commit when the source is told to end is told so, and so is what a writer refused.
func TestUndone(t *testing.T) {
	for name, refused := range map[string]bool{"ended": false, "refused": true} {
		bubble(t, name, func(t *testing.T) {
			var said trace
			batch := func(n int) collectors.Batch {
				return collectors.Batch{
					Events: raws(n, n), Done: func() { said.add(fmt.Sprint(n, " done")) }, Undone: func() { said.add(fmt.Sprint(n, " undone")) },
				}
			}
			log := collectorstest.NewLog()
			free := make(chan struct{})
			log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
				<-free
				if refused {
					return false, &event.Error{Kind: event.Fenced, Op: "commit"}
				}
				return true, nil
			}
			b := newBench(log, slowly(batch(1), batch(2), batch(3)))
			b.start(t)
			after(time.Second)
			b.cancel()
			synctest.Wait()
			close(free)
			<-b.ended
			want := []string{"2 undone", "3 undone", "1 done"}
			if refused {
				want = []string{"2 undone", "3 undone", "1 undone"}
			}
			if got := said.all(); !slices.Equal(got, want) {
				t.Errorf("it is said %v, want %v", got, want)
			}
		})
	}
}
