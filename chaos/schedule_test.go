//go:build chaos

package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// schedule does faults one after the other, several at a time, as the seed has it.
type schedule struct {
	w      *world
	random *rand.Rand
	kinds  []kind // that can be done here and are wanted
	deck   []kind

	mu    sync.Mutex
	free  *sync.Cond
	used  map[string]bool
	going int
	alone bool
}

func newSchedule(w *world) *schedule {
	w.t.Helper()
	s := &schedule{w: w, random: rand.New(rand.NewPCG(w.opt.seed, 1)), used: map[string]bool{}}
	s.free = sync.NewCond(&s.mu)
	var names []string
	for _, k := range w.kinds() {
		names = append(names, k.name)
		switch {
		case w.opt.only != nil && !slices.Contains(w.opt.only, k.name):
		case k.weight == 0:
			w.faults.leftOut = append(w.faults.leftOut, k.name)
		default:
			s.kinds = append(s.kinds, k)
		}
	}
	for _, name := range w.opt.only {
		if !slices.Contains(names, name) {
			w.t.Fatalf("there is no kind of fault %q; there are: %s", name, strings.Join(names, ", "))
		}
	}
	if len(s.kinds) == 0 {
		w.t.Fatalf("none of the faults that are wanted can be done here: %s", strings.Join(w.faults.leftOut, ", "))
	}
	return s
}

// next plans the next fault. Of each kind there are as many as its weight in a deck, in an order that the seed gives, and the
// first of each kind come before all others.
func (s *schedule) next() fault {
	if len(s.deck) == 0 {
		for _, k := range s.kinds {
			for range k.weight {
				s.deck = append(s.deck, k)
			}
		}
		s.random.Shuffle(len(s.deck), func(i, k int) { s.deck[i], s.deck[k] = s.deck[k], s.deck[i] })
		s.deck = firsts(s.deck)
	}
	k := s.deck[0]
	s.deck = s.deck[1:]
	f := k.plan(s.random)
	f.kind = k.name
	return f
}

// firsts moves the first of each kind to the front, in order.
func firsts(deck []kind) []kind {
	seen := map[string]bool{}
	var front, rest []kind
	for _, k := range deck {
		if seen[k.name] {
			rest = append(rest, k)
		} else {
			front = append(front, k)
		}
		seen[k.name] = true
	}
	return append(front, rest...)
}

// run does faults until ctx ends or enough says so, and then undoes what is going on.
func (s *schedule) run(ctx context.Context, enough func() bool) {
	var group sync.WaitGroup
	defer group.Wait()
	for !enough() {
		gap := time.Duration(s.random.ExpFloat64() * float64(s.w.opt.gap))
		f := s.next()
		if !sleep(ctx, min(gap, 4*s.w.opt.gap)) {
			return
		}
		if !s.enter(ctx, f) {
			return
		}
		group.Go(func() {
			defer s.leave(f)
			s.do(ctx, f)
		})
	}
}

func (s *schedule) do(ctx context.Context, f fault) {
	i := s.w.faults.begin(f.kind, f.on)
	// What is begun is undone, however soon the run ends.
	healing := context.WithoutCancel(ctx)
	if err := f.do(healing); err != nil {
		s.w.faults.drop(i, err)
		if !errors.Is(err, errNothing) {
			s.w.t.Errorf("%s %s: %v", f.kind, f.on, err)
		}
		_ = f.undo(healing)
		return
	}
	s.w.say("%s: %s", f.kind, f.on)
	until := time.Now().Add(f.hold)
	for time.Now().Before(until) && (f.over == nil || !f.over()) && sleep(ctx, min(50*time.Millisecond, time.Until(until))) {
	}
	if err := f.undo(healing); err != nil {
		s.w.t.Errorf("undo %s %s: %v", f.kind, f.on, err)
	}
	s.w.faults.finish(i)
}

// enter waits until nothing else is done to what the fault uses. One that is to be alone waits for all others to end.
func (s *schedule) enter(ctx context.Context, f fault) bool {
	defer context.AfterFunc(ctx, s.free.Broadcast)()
	s.mu.Lock()
	defer s.mu.Unlock()
	busy := func() bool {
		return s.alone || f.alone && s.going > 0 || s.going >= s.w.opt.lanes ||
			slices.ContainsFunc(f.uses, func(u string) bool { return s.used[u] })
	}
	for busy() {
		if ctx.Err() != nil {
			return false
		}
		s.free.Wait()
	}
	if f.alone {
		s.alone = true
		s.mu.Unlock()
		sleep(ctx, 5*time.Second) // what was wrong before is over by then
		s.mu.Lock()
	}
	for _, u := range f.uses {
		s.used[u] = true
	}
	s.going++
	return ctx.Err() == nil
}

func (s *schedule) leave(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range f.uses {
		delete(s.used, u)
	}
	s.going--
	s.alone = s.alone && !f.alone
	s.free.Broadcast()
}
