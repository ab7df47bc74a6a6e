package collectors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// fate is what becomes of one commit.
type fate string

const (
	stored       fate = "stored"
	slow         fate = "stored slowly"
	fenced       fate = "fenced"
	crashed      fate = "not stored, and the process dies"
	crashedAfter fate = "stored, and the process dies before it knows"
	stopped      fate = "stored, while the process is told to stop"
)

// plan is one run of the model: a service with events, processes that collect them, and what goes wrong.
type plan struct {
	events, page, overlap int
	floor                 bool // the source gives a floor; else it says how much it repeats
	queue                 int
	processes             int
	fates                 []fate // of the first commits
	failAfter             []int  // batches after which the first runs of a source fail
	stutter               []int  // batches that are handed over twice
}

func drawPlan(t *rapid.T) plan {
	return plan{
		events:    rapid.IntRange(1, 60).Draw(t, "events"),
		page:      rapid.IntRange(1, 9).Draw(t, "page"),
		overlap:   rapid.IntRange(0, 12).Draw(t, "overlap"),
		floor:     rapid.Bool().Draw(t, "floor"),
		queue:     rapid.SampledFrom([]int{1, 1000, 5000, 1 << 20}).Draw(t, "queue"),
		processes: rapid.IntRange(1, 2).Draw(t, "processes"),
		fates: rapid.SliceOfN(rapid.SampledFrom(
			[]fate{stored, slow, fenced, crashed, crashedAfter, stopped}), 0, 12).Draw(t, "fates"),
		failAfter: rapid.SliceOfN(rapid.IntRange(0, 8), 0, 4).Draw(t, "fail after"),
		stutter:   rapid.SliceOfN(rapid.IntRange(0, 12), 0, 3).Draw(t, "stutter"),
	}
}

// world is what the processes of a plan share.
type world struct {
	plan
	log *collectorstest.Log
	all []event.Raw

	mu      sync.Mutex
	commits int
	runs    int
	broken  error
}

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}

// process is one collector that is started again whenever it dies.
type process struct {
	*world
	stop context.CancelFunc // ends the present run
}

type processKey struct{}

// decide is the Log's Fault.
func (w *world) decide(ctx context.Context, _ []event.Raw, _ event.Progress) (bool, error) {
	w.mu.Lock()
	f := stored
	if w.commits < len(w.fates) {
		f = w.fates[w.commits]
	}
	w.commits++
	w.mu.Unlock()
	died := errors.New("died")
	switch f {
	case slow:
		<-time.After(3 * time.Second)
	case fenced:
		return false, &event.Error{Kind: event.Fenced, Op: "append"}
	case crashed:
		return false, died
	case crashedAfter:
		return true, died
	case stopped:
		ctx.Value(processKey{}).(*process).stop()
	}
	return true, nil
}

// run keeps a loop running until ctx ends.
func (p *process) run(ctx context.Context, nth int) {
	for ctx.Err() == nil {
		var runCtx context.Context
		runCtx, p.stop = context.WithCancel(context.WithValue(ctx, processKey{}, p))
		spec := collectors.Spec{Quiet: time.Minute}
		if !p.floor {
			spec.Repeats = p.overlap + p.page
		}
		l := &collectors.Loop{
			Provider: cloud, Name: fakeSN, Source: &script{run: p.source}, Spec: spec,
			Writer: p.log.NewWriter(cloud, fakeSN, event.Fence{}), Memory: p.log,
			Options: collectors.Options{QueueBytes: p.queue}, Log: zerolog.Nop(),
		}
		_ = l.Run(runCtx) // how it ends does not matter: what is stored does
		p.stop()
		select {
		case <-time.After(time.Duration(10+7*nth) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// source shows all events after the cursor, and an overlap before it, page by page.
func (p *process) source(ctx context.Context, from event.From, emit collectors.Emit) error {
	p.mu.Lock()
	failAfter := -1
	if p.runs < len(p.failAfter) {
		failAfter = p.failAfter[p.runs]
	}
	p.runs++
	p.mu.Unlock()
	at := 0
	if from.Cursor != nil {
		at, _ = strconv.Atoi(string(from.Cursor))
	}
	o := &outstanding{process: p}
	n := 0
	for next := max(0, at-p.overlap); next < len(p.all); next = min(next+p.page, len(p.all)) {
		end := min(next+p.page, len(p.all))
		b := collectors.Batch{Events: slices.Clone(p.all[next:end]), Cursor: number(max(at, end))}
		if p.floor {
			b.Floor = p.all[max(0, max(at, end)-p.overlap-p.page)].Time
		}
		times := 1
		if slices.Contains(p.stutter, n) {
			times = 2
		}
		for range times {
			if n == failAfter {
				return errors.New("500")
			}
			n++
			if err := o.emit(ctx, b, emit); err != nil {
				return err
			}
		}
	}
	<-ctx.Done()
	return nil
}

// outstanding checks Done and the memory of one run.
type outstanding struct {
	*process
	emitted  int
	done     int
	handedTo []event.ID
}

func (o *outstanding) emit(ctx context.Context, b collectors.Batch, emit collectors.Emit) error {
	number, events := o.emitted, b.Events
	o.emitted++
	b.Done = func() {
		if number != o.done {
			o.fail("batch %d is acknowledged when it is the turn of %d", number, o.done)
		}
		o.done++
		durable := o.log.IDs(cloud)
		for _, e := range events {
			if !slices.Contains(durable, e.ID) {
				o.fail("batch %d is acknowledged, and its event %s is not durable", number, e.ID)
			}
		}
	}
	if err := emit(ctx, b); err != nil {
		return err
	}
	durable := o.log.IDs(cloud)
	for _, e := range events {
		if !slices.Contains(o.handedTo, e.ID) {
			o.handedTo = append(o.handedTo, e.ID)
		}
	}
	o.handedTo = slices.DeleteFunc(o.handedTo, func(id event.ID) bool { return slices.Contains(durable, id) })
	// At most one queue and one commit, each as large as the queue or as one batch. An event takes 256 bytes and more.
	if most := 2 * max(o.queue/256, o.page); len(o.handedTo) > most {
		o.fail("%d events were taken and are not durable; at most %d fit", len(o.handedTo), most)
	}
	return nil
}

func TestLoopAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{plan: drawPlan(rt)}
		w.all = raws(1, w.events)
		synctest.Test(t, func(t *testing.T) {
			w.log = collectorstest.NewLog()
			w.log.Fault = w.decide
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var group sync.WaitGroup
			for nth := range w.processes {
				p := &process{world: w}
				group.Go(func() { p.run(ctx, nth) })
			}
			if err := w.log.Wait(ctx, func() bool { return len(w.log.IDs(cloud)) >= w.events }); err != nil {
				w.fail("not all events came: %w", err)
			}
			after(2 * time.Minute) // for what might come twice
			cancel()
			group.Wait()
		})
		if got, want := w.log.IDs(cloud), ids(1, w.events); !slices.Equal(got, want) {
			rt.Errorf("RAW has %v; want %v", got, want)
		}
		if w.broken != nil {
			rt.Error(w.broken)
		}
	})
}
