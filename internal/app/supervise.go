package app

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"

	"stackstream/event"
)

// work is what runs for one part of the pipeline, a provider in one role, for as long as its settings stay what they are.
type work struct {
	// settings are all that the work is made of. Two with the same settings are the same work.
	settings any
	// prepare makes the loop. It starts nothing.
	prepare func() (loop func(context.Context) error, err error)
	// finish, if set, waits until work that is not wanted any more has done what is left. Only then is it told to end, unless other
	// work is to take its place.
	finish func(context.Context)
}

// same tells whether two works are the same.
func same(a, b work) bool { return reflect.DeepEqual(a.settings, b.settings) }

// supervisor runs the parts of the pipeline that belong to providers, and exchanges those whose settings change. All others
// run on and do not notice:
//
//	change ─► supervisor ─┬─ collector prod    one loop each; the next one of a part
//	                      ├─ normalizer prod   begins when the one before has returned
//	                      └─ collector lab …
//
// A loop that ends with an error has left something running. Nothing takes its place then: two would do the same work.
type supervisor struct {
	supervisorHooks
	changes chan change
	tasks   map[part]*task

	mu   sync.Mutex
	want map[event.Provider]bool
	live map[event.Provider]int // loops that have not ended
}

// supervisorHooks are told what becomes of the parts.
type supervisorHooks struct {
	// Turn, if set, is called before each loop, and waits until it may begin or its context ends.
	Turn func(context.Context, part)
	// Begins is called before each loop begins, when the one before has ended.
	Begins func(part)
	// Gone is called when all loops of a provider have ended that is no longer wanted.
	Gone func(event.Provider)
	// Stuck is called with the error of a loop that left something running.
	Stuck func(part, error)
}

// task is a loop that runs, or is to run next, or has ended.
type task struct {
	work
	wanted bool
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	err    error // known when done is closed
}

// change is a set of work that is to run from now on.
type change struct {
	wanted  map[part]work
	applied chan<- outcome
}

// outcome says what a change came to.
type outcome struct {
	added, changed, removed []part
	err                     error
}

func newSupervisor(hooks supervisorHooks) *supervisor {
	return &supervisor{
		supervisorHooks: hooks, changes: make(chan change), tasks: map[part]*task{},
		want: map[event.Provider]bool{}, live: map[event.Provider]int{},
	}
}

// Run runs what Change says until ctx ends, and returns when all loops have ended. Each loop is told to end by its context,
// and may take its time for that.
func (s *supervisor) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	defer loops.Wait()
	for {
		select {
		case c := <-s.changes:
			c.applied <- s.apply(ctx, &loops, c.wanted)
		case <-ctx.Done():
			return nil
		}
	}
}

// Change makes the wanted work run, and nothing else. It returns when what is new was told to begin and what is not wanted was
// told to end; it waits for neither. Where something can't be made, nothing changes.
func (s *supervisor) Change(ctx context.Context, wanted map[part]work) (outcome, error) {
	applied := make(chan outcome, 1)
	select {
	case s.changes <- change{wanted, applied}:
		o := <-applied
		return o, o.err
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
}

// Providers are those that work is wanted for, in alphabetical order.
func (s *supervisor) Providers() []event.Provider {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.want))
}

// While calls f if work is wanted for the provider. Gone is not called meanwhile.
func (s *supervisor) While(p event.Provider, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want[p] {
		f()
	}
}

func (s *supervisor) apply(ctx context.Context, loops *sync.WaitGroup, wanted map[part]work) outcome {
	var o outcome
	next := map[part]func(context.Context) error{}
	for _, p := range sortedParts(wanted) {
		before := s.tasks[p]
		if before != nil && before.wanted && same(before.work, wanted[p]) {
			continue
		}
		loop, err := wanted[p].prepare()
		if err != nil {
			return outcome{err: err}
		}
		next[p] = loop
		if before == nil || !before.wanted {
			o.added = append(o.added, p)
		} else {
			o.changed = append(o.changed, p)
		}
	}
	s.mu.Lock()
	clear(s.want)
	for p := range wanted {
		s.want[p.provider] = true
	}
	for p := range next {
		s.live[p.provider]++
	}
	s.mu.Unlock()
	for _, p := range sortedParts(s.tasks) {
		t := s.tasks[p]
		if _, stays := wanted[p]; !stays && t.wanted {
			o.removed = append(o.removed, p)
			t.wanted = false
			if t.finish == nil {
				t.cancel()
			} else {
				loops.Go(func() { t.finish(t.ctx); t.cancel() })
			}
		} else if next[p] != nil {
			t.cancel()
		}
	}
	for p, loop := range next {
		running, cancel := context.WithCancel(ctx)
		t := &task{work: wanted[p], wanted: true, ctx: running, cancel: cancel, done: make(chan struct{})}
		before := s.tasks[p]
		s.tasks[p] = t
		loops.Go(func() { s.follow(p, t, before, loop) })
	}
	return o
}

// follow runs a loop when the task before it has ended.
func (s *supervisor) follow(p part, t, before *task, loop func(context.Context) error) {
	defer close(t.done)
	defer t.cancel()
	if before != nil {
		<-before.done
		t.err = before.err
	}
	if t.err == nil && s.Turn != nil {
		s.Turn(t.ctx, p)
	}
	if t.err == nil && t.ctx.Err() == nil { // else it is not wanted any more, or nothing is
		s.Begins(p)
		if t.err = loop(t.ctx); t.err != nil {
			s.Stuck(p, t.err)
		}
	}
	if t.err == nil {
		s.ended(p.provider)
	}
}

// ended takes note that a loop of a provider has ended for good.
func (s *supervisor) ended(p event.Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[p]--; s.live[p] == 0 && !s.want[p] {
		s.Gone(p)
	}
}

// sortedParts are the keys of a map, by provider and role.
func sortedParts[V any](of map[part]V) []part {
	return slices.SortedFunc(maps.Keys(of), func(a, b part) int {
		return cmp.Or(cmp.Compare(a.provider, b.provider), cmp.Compare(a.role, b.role))
	})
}
