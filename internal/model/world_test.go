package model_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
)

const cloud event.Provider = "cloud"

// quantum is the virtual time that passes before each step: longer than any pause that a part of the pipeline makes
// between two tries, so that whatever is not waiting for an answer has come to its next request.
const quantum = time.Minute

// fate is what becomes of a request.
type fate string

const (
	fine        fate = "fine"
	unanswered  fate = "done, the answer is lost"
	late        fate = "no answer, and done later or never"
	unavailable fate = "unavailable"
	full        fate = "full"
	lagging     fate = "answered by a replica that lags"
	lagsFar     fate = "answered by a replica that has nothing yet"
	diesBefore  fate = "the process dies, nothing is done"
	diesAfter   fate = "the process dies, it is done"
	diesLate    fate = "the process dies, and it is done later or never"
	stops       fate = "done, while the process is told to stop"
	repeats     fate = "handed over twice"
	one         fate = "only one is handed over"
	skips       fate = "one is lost on the way"
)

// request is something that a process waits for.
type request struct {
	by    *process
	name  string
	ready func() bool // nil: always
	fates []fate
	// serve runs while everything else stands still.
	serve func(f fate)
	// abandoned is called when the process does not wait any longer.
	abandoned func()
	done      chan struct{}
}

// world is everything that there is once: streams, event services, and what is under way.
type world struct {
	t      *testing.T
	choose chooser
	only   map[fate]bool // the fates that are explored; nil: all

	raw, norm *stream
	bodies    map[string][]byte
	consumer  *consumer
	check     *checker
	processes []*process
	// complete tells whether all is done that is to be done.
	complete func() bool
	// chosen is the kind that is chosen to collect, "" where there is no choice.
	chosen event.Source
	// disaster, if set, is something that happens once, at any time at which it may (nil: at any).
	disaster func()
	may      func() bool
	// later, if set, happens when nothing else does after that.
	later func()
	// stops is what a normalizer has to stop for after that, stopped why it did stop, and looks how often something
	// happened after that was right: it tries again for ever.
	stops   event.Kind
	stopped string
	looks   int

	mu      sync.Mutex
	pending []*request
	under   []flight

	trace []string
	fates map[fate]int // that came to pass
	err   error
}

// flight is a batch that was sent and neither stored nor refused.
type flight struct {
	stream *stream
	batch  event.Batch
	by     string
}

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// process is one life of an operating system process. What it knows dies with it.
type process struct {
	w     *world
	name  string
	index int
	main  func(ctx context.Context, p *process)

	ctx   context.Context
	kill  context.CancelFunc
	dead  bool
	ended chan struct{}

	mu      sync.Mutex
	stopRun context.CancelFunc

	// known is what the process's connection has read or written on each subject of a cursor.
	known map[string]event.StreamSeq
}

// add adds a process, which is started again whenever it dies.
func (w *world) add(name string, main func(ctx context.Context, p *process)) {
	w.processes = append(w.processes, &process{w: w, name: name, index: len(w.processes), main: main})
}

// start begins another life of a process.
func (w *world) start(ctx context.Context, was *process) {
	p := &process{w: w, name: was.name, index: was.index, main: was.main, ended: make(chan struct{}),
		known: map[string]event.StreamSeq{}}
	p.ctx, p.kill = context.WithCancel(ctx)
	w.processes[p.index] = p
	go func() {
		defer close(p.ended)
		p.main(p.ctx, p)
	}()
}

// die ends a process at once: nothing that it still does has an effect.
func (p *process) die() {
	p.dead = true
	p.kill()
}

// stop tells the work of a process to end in good order; it begins again after that.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopRun != nil {
		p.stopRun()
	}
}

// works runs work again and again until the process ends.
func (p *process) works(ctx context.Context, work func(ctx context.Context) error) {
	for ctx.Err() == nil {
		run, stop := context.WithCancel(ctx)
		p.mu.Lock()
		p.stopRun = stop
		p.mu.Unlock()
		_ = work(run)
		stop()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// ask waits until the request is served. An error means that it was not, or that nobody is left to learn of it.
func (p *process) ask(ctx context.Context, r request) error {
	r.by, r.done = p, make(chan struct{})
	p.w.mu.Lock()
	if p.ctx.Err() != nil || ctx.Err() != nil {
		p.w.mu.Unlock()
		return context.Canceled
	}
	p.w.pending = append(p.w.pending, &r)
	p.w.mu.Unlock()
	select {
	case <-r.done:
		return p.ctx.Err()
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if i := slices.Index(p.w.pending, &r); i >= 0 {
		p.w.pending = slices.Delete(p.w.pending, i, i+1)
		if r.abandoned != nil {
			r.abandoned()
		}
	}
	return context.Canceled
}

// step is one thing that may happen next.
type step struct {
	name string
	do   func()
}

// run lets things happen until all is done. It is called in a bubble.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	for _, p := range w.processes {
		w.start(ctx, p)
	}
	for n, quiet := 0, 0; w.failed() == nil && (quiet < 3 || !w.complete()) && w.looks < 4; n++ {
		<-time.After(quantum)
		synctest.Wait()
		if w.restart(ctx) {
			continue
		}
		steps := w.steps()
		if len(steps) == 0 {
			quiet++
			switch {
			case quiet > 30:
				w.fail("nothing happens any more, and not all is done")
			case quiet > 2 && w.disaster == nil && w.later != nil:
				w.later()
				w.later = nil
			}
			continue
		}
		quiet = 0
		if w.halted() {
			w.looks++
		}
		if n > 3000 {
			w.fail("no end")
		}
		i := 0
		if len(steps) > 1 {
			i = w.choose.choose("next of "+names(steps), len(steps))
		}
		steps[i].do()
	}
	cancel()
	for _, p := range w.processes {
		<-p.ended
	}
	for _, f := range w.under {
		_, _ = f.stream.append(f.batch)
	}
}

func names(steps []step) string {
	var text []string
	for _, s := range steps {
		text = append(text, s.name)
	}
	return strings.Join(text, " | ")
}

func (w *world) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// halted tells whether there was a disaster and a normalizer says which.
func (w *world) halted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.disaster == nil && w.stops != 0 && strings.Contains(w.stopped, w.stops.String())
}

// restart starts the processes that died.
func (w *world) restart(ctx context.Context) bool {
	some := false
	for _, p := range w.processes {
		if p.dead {
			<-p.ended
			w.note("%s starts again", p.name)
			w.start(ctx, p)
			some = true
		}
	}
	return some
}

// steps are what may happen next, those that need no interruption of anybody first.
func (w *world) steps() []step {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortStableFunc(w.pending, func(a, b *request) int {
		return cmp.Or(cmp.Compare(a.by.index, b.by.index), cmp.Compare(a.name, b.name))
	})
	var out []step
	for _, r := range w.pending {
		if r.ready == nil || r.ready() {
			out = append(out, step{r.by.name + " " + r.name, func() { w.serve(r) }})
		}
	}
	for i := range w.under {
		out = append(out, step{"a batch of " + w.under[i].by + " arrives", func() { w.land(i) }})
	}
	if w.disaster != nil && (w.may == nil || w.may()) {
		out = append(out, step{"disaster", func() {
			w.note("disaster")
			do := w.disaster
			w.disaster = nil
			do()
		}})
	}
	return out
}

func (w *world) land(i int) {
	f := w.under[i]
	w.under = slices.Delete(w.under, i, i+1)
	seq, err := f.stream.append(f.batch)
	w.note("a batch of %s arrives: %d %v", f.by, seq, err)
}

func (w *world) serve(r *request) {
	w.mu.Lock()
	i := slices.Index(w.pending, r)
	w.pending = slices.Delete(w.pending, i, i+1)
	w.mu.Unlock()
	fates := r.fates
	if w.only != nil {
		fates = slices.DeleteFunc(slices.Clone(fates), func(f fate) bool { return f != fine && !w.only[f] })
	}
	f := fates[0]
	if len(fates) > 1 {
		f = fates[w.choose.choose(r.by.name+" "+r.name, len(fates))]
	}
	w.note("%s %s: %s", r.by.name, r.name, f)
	w.fates[f]++
	switch f {
	case diesBefore:
		r.by.die()
	case diesAfter, diesLate:
		r.serve(f)
		r.by.die()
	default:
		r.serve(f)
	}
	close(r.done)
}
