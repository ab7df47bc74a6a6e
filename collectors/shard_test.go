package collectors_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

// reporting is a kind with one source, which is made anew for each run and given what it can report with.
func reporting(name string, run func(report collectors.Report) *script) collectors.Candidate {
	k := kind(name, nil)
	k.Shards[0].New = func(report collectors.Report) (collectors.Source, error) { return run(report), nil }
	return k
}

func TestSourceReports(t *testing.T) {
	prefix := []string{"a/: starting", "a/: live configured", "a/amqp: starting"}

	bubble(t, "trouble, and that it is over", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", "amqp", reporting("amqp", func(report collectors.Report) *script {
			return &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				_ = emit(ctx, collectors.Batch{Events: raws(1, 1)})
				for _, say := range []func(){
					func() { report(true, "exchange nova is missing") },
					func() { report(true, "exchange nova is missing") },
					func() { report(true, "the broker is low on memory") },
					func() { report(false, "the queue has other arguments") },
					func() { report(true, "") },
				} {
					<-time.After(time.Second)
					say()
				}
				<-ctx.Done()
				return nil
			}}
		})))
		after(time.Minute)
		f.wantStates(t, append(prefix, "a/amqp: live", "a/amqp: degraded exchange nova is missing",
			"a/amqp: degraded the broker is low on memory", "a/amqp: live the queue has other arguments", "a/amqp: live")...)
		stop()
	})

	bubble(t, "before it is live, and it shows when it is", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", "amqp", reporting("amqp", func(report collectors.Report) *script {
			report(true, "forgotten when Run withdraws it")
			return &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				report(false, "")
				report(true, "exchange nova is missing")
				<-time.After(time.Minute)
				f.wantStates(t, prefix...)
				_ = emit(ctx, collectors.Batch{})
				<-ctx.Done()
				return nil
			}}
		})))
		after(2 * time.Minute)
		f.wantStates(t, append(prefix, "a/amqp: degraded exchange nova is missing")...)
		stop()
	})

	bubble(t, "and a new run begins without what the one before said", func(t *testing.T) {
		f := newFleet()
		runs := 0
		stop := run(t, f.collector("a", "amqp", reporting("amqp", func(report collectors.Report) *script {
			runs++
			first := runs == 1
			return &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				_ = emit(ctx, collectors.Batch{Events: raws(runs, runs)})
				<-time.After(time.Second)
				if first {
					report(true, "exchange nova is missing")
					<-time.After(time.Second)
					return errors.New("connection reset")
				}
				<-ctx.Done()
				return nil
			}}
		})))
		after(time.Minute)
		f.wantStates(t, append(prefix, "a/amqp: live", "a/amqp: degraded exchange nova is missing",
			"a/amqp: backoff connection reset", "a/amqp: live")...)
		stop()
	})

	bubble(t, "and what it says while it is told to end hides nothing", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", "amqp", reporting("amqp", func(report collectors.Report) *script {
			return &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				go func() {
					<-time.After(2500 * time.Millisecond) // between two runs
					report(true, "late")
				}()
				<-time.After(2 * time.Second)
				return errors.New("connection reset")
			}}
		})))
		after(time.Minute)
		f.wantStates(t, append(prefix, "a/amqp: backoff connection reset")...)
		stop()
		after(3 * time.Second) // what the last run may have left behind
	})

	bubble(t, "to nobody while it is only asked whether it is available", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", collectors.Auto, reporting("amqp", func(report collectors.Report) *script {
			s := emits(collectors.Batch{Events: raws(1, 1)})
			s.available = func(context.Context) error { report(true, "asked"); return nil }
			return s
		})))
		f.wantStates(t, "a/: starting", "a/: live amqp answers", "a/amqp: starting", "a/amqp: live")
		stop()
	})

	bubble(t, "of one source, which the others are not blamed for", func(t *testing.T) {
		f := newFleet()
		amqp := reporting("amqp", func(report collectors.Report) *script {
			report(true, "exchange nova is missing")
			return emits(collectors.Batch{Events: raws(1, 1)})
		})
		other := kind("amqp-nova", emits(collectors.Batch{Events: raws(2, 2)})).Shards[0]
		amqp.Shards = append(amqp.Shards, other)
		stop := run(t, f.collector("a", "amqp", amqp))
		after(time.Minute)
		states := f.states.all()
		for _, want := range []string{"a/amqp: degraded exchange nova is missing", "a/amqp-nova: live"} {
			if !slices.Contains(states, want) {
				t.Errorf("no %q in the states:\n%s", want, strings.Join(states, "\n"))
			}
		}
		stop()
	})
}

func TestMaxPauseBoundsThePauses(t *testing.T) {
	pauses := func(t *testing.T, err error) []time.Duration {
		f := newFleet()
		var starts []time.Time
		failing := kind("amqp", &script{run: func(context.Context, event.From, collectors.Emit) error {
			starts = append(starts, time.Now())
			return err
		}})
		failing.Shards[0].Spec.MaxPause = 5 * time.Second
		stop := run(t, f.collector("a", "amqp", failing))
		after(29 * time.Minute)
		stop()
		var between []time.Duration
		for i := 1; i < len(starts); i++ {
			between = append(between, starts[i].Sub(starts[i-1]))
		}
		return between
	}

	bubble(t, "also after many tries", func(t *testing.T) {
		all := pauses(t, errors.New("connection refused"))
		if len(all) < 200 {
			t.Errorf("%d tries in 29 minutes", len(all))
		}
		if longest := slices.Max(all); longest > 7500*time.Millisecond { // 5 s and their jitter
			t.Errorf("the longest pause is %s", longest)
		}
	})

	bubble(t, "but not that which a service asks for", func(t *testing.T) {
		all := pauses(t, &collectors.RetryAfter{After: 10 * time.Minute, Err: errors.New("429")})
		if want := []time.Duration{10 * time.Minute, 10 * time.Minute}; !slices.Equal(all, want) {
			t.Errorf("pauses: %v; want %v", all, want)
		}
	})
}

// shaky is a memory that at times can't be read.
type shaky struct {
	*collectorstest.Log
	fault func() error
}

func (s *shaky) Cursors(ctx context.Context, p event.Provider) (map[event.Source]event.RawCursor, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Log.Cursors(ctx, p)
}

// formerly makes shards of the cursors that have something left.
func formerly(source func(name event.Source) *script) func(map[event.Source]event.RawCursor) []collectors.Shard {
	return func(cursors map[event.Source]event.RawCursor) []collectors.Shard {
		var found []collectors.Shard
		for name, c := range cursors {
			if name != "amqp" && !c.Retired {
				found = append(found, kind(string(name), source(name)).Shards[0])
			}
		}
		return found
	}
}

// leave writes cursors as sources of an earlier configuration left them.
func leave(t *testing.T, log *collectorstest.Log, s event.Source, p event.Progress) {
	t.Helper()
	w := log.NewWriter(cloud, s, event.Fence{})
	if _, err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context(), nil, p); err != nil {
		t.Fatal(err)
	}
}

func TestFormerShards(t *testing.T) {
	bubble(t, "run beside the configured ones until they are retired", func(t *testing.T) {
		f := newFleet()
		leave(t, f.log, "amqp-nova", event.Progress{Cursor: number(1)})
		leave(t, f.log, "amqp-heat", event.Progress{Cursor: number(1), Retired: true})
		amqp := kind("amqp", emits(collectors.Batch{Events: raws(1, 3)}))
		amqp.Former = formerly(func(event.Source) *script {
			return emits(collectors.Batch{Events: raws(4, 5), Cursor: number(2), Retired: true, Urgent: true})
		})
		stop := run(t, f.collector("a", "amqp", amqp))
		after(time.Second)
		if got := len(f.log.IDs(cloud)); got != 5 {
			t.Errorf("RAW has %d events; want 5", got)
		}
		if c := f.log.Cursor(cloud, "amqp-nova"); !c.Retired || c.Position != 2 {
			t.Errorf("the cursor of the former shard is %+v", c)
		}
		stop()
		before := len(f.states.all())
		stop = run(t, f.collector("a", "amqp", amqp))
		after(time.Second)
		for _, line := range f.states.all()[before:] {
			if strings.HasPrefix(line, "a/amqp-") {
				t.Errorf("after it was retired: %s", line)
			}
		}
		stop()
	})

	bubble(t, "are looked for again, with growing pauses, while the cursors can't be read", func(t *testing.T) {
		f := newFleet()
		leave(t, f.log, "amqp-nova", event.Progress{Cursor: number(1)})
		var reads atomic.Int64
		var mended atomic.Bool
		amqp := kind("amqp", emits(collectors.Batch{Events: raws(1, 3)}))
		amqp.Former = formerly(func(event.Source) *script { return emits(collectors.Batch{Events: raws(4, 5)}) })
		c := f.collector("a", "amqp", amqp)
		c.Deps.Memory = &shaky{Log: f.log, fault: func() error {
			reads.Add(1)
			if !mended.Load() {
				return errors.New("no servers available")
			}
			return nil
		}}
		stop := run(t, c)
		after(10 * time.Minute)
		if n := reads.Load(); n < 7 || n > 30 {
			t.Errorf("read %d times in 10 minutes", n)
		}
		f.wantStates(t, "a/: starting", "a/: backoff read cursors: no servers available")
		if fails := f.fails.all(); int64(len(fails)) != reads.Load() || fails[0] != "read cursors: no servers available" {
			t.Errorf("failures: %v", fails)
		}
		mended.Store(true)
		after(2 * time.Minute)
		if got := len(f.log.IDs(cloud)); got != 5 {
			t.Errorf("RAW has %d events; want 5", got)
		}
		stop()
	})
}

func TestUrgentBatch(t *testing.T) {
	begin := func(t *testing.T, log *collectorstest.Log, batches ...collectors.Batch) (b *bench, cursors *trace) {
		b, cursors = newBench(log, slowly(batches...)), &trace{}
		b.Hooks.Committed = func(_ event.Provider, _ event.Source, c collectors.Commit) {
			cursors.add(string(c.Progress.Cursor))
		}
		b.start(t)
		return b, cursors
	}
	step := func(n int, urgent bool) collectors.Batch { return collectors.Batch{Cursor: number(n), Urgent: urgent} }

	bubble(t, "has its cursor written at once, others wait", func(t *testing.T) {
		var order trace
		last := step(4, true)
		last.Done = func() { order.add("done") }
		b, cursors := begin(t, collectorstest.NewLog(),
			step(1, false), step(2, false), step(3, true), step(3, false), last, step(5, false))
		after(time.Second)
		if got, want := cursors.all(), []string{"1", "3", "4"}; !slices.Equal(got, want) {
			t.Errorf("written at once: %v; want %v", got, want)
		}
		if got := order.all(); !slices.Equal(got, []string{"done"}) {
			t.Errorf("Done was called: %v", got)
		}
		after(2 * time.Minute)
		if got, want := cursors.all(), []string{"1", "3", "4", "5"}; !slices.Equal(got, want) {
			t.Errorf("written: %v; want %v", got, want)
		}
		b.stop(t)
	})

	bubble(t, "that says nothing new does not hurry the next one", func(t *testing.T) {
		b, cursors := begin(t, collectorstest.NewLog(), step(1, false), step(1, true), step(2, false))
		after(time.Second)
		if got, want := cursors.all(), []string{"1"}; !slices.Equal(got, want) {
			t.Errorf("written at once: %v; want %v", got, want)
		}
		b.stop(t)
	})

	bubble(t, "that comes while another is being written is written next", func(t *testing.T) {
		log := collectorstest.NewLog()
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(time.Second)
			return true, nil
		}
		b, cursors := begin(t, log, step(1, true), step(2, true), step(3, false))
		after(3 * time.Second)
		if got, want := cursors.all(), []string{"1", "3"}; !slices.Equal(got, want) {
			t.Errorf("written: %v; want %v", got, want)
		}
		b.stop(t)
	})
}

func TestRetired(t *testing.T) {
	bubble(t, "lands in the cursor and goes with the next one", func(t *testing.T) {
		b := newBench(collectorstest.NewLog(), slowly(
			collectors.Batch{Events: raws(1, 1), Cursor: number(1)},
			collectors.Batch{Cursor: number(1), Retired: true, Urgent: true},
			collectors.Batch{Watermark: midnight.Add(time.Second), Urgent: true}, // without a cursor it says nothing of it
			collectors.Batch{Cursor: number(1), Urgent: true},
			collectors.Batch{Retired: true, Watermark: midnight.Add(2 * time.Second), Urgent: true},
		))
		b.start(t)
		after(time.Second)
		b.stop(t)
		var got []bool
		for _, c := range b.commits {
			got = append(got, c.Progress.Retired)
		}
		if want := []bool{false, true, true, false, false}; !slices.Equal(got, want) {
			t.Errorf("retired: %v; want %v", got, want)
		}
	})

	bubble(t, "is there after a restart", func(t *testing.T) {
		log := collectorstest.NewLog()
		b := newBench(log, emits(collectors.Batch{Cursor: number(1), Retired: true}))
		b.start(t)
		b.stop(t)
		b = newBench(log, emits(collectors.Batch{Watermark: midnight.Add(time.Hour)}))
		b.start(t)
		b.stop(t)
		if c := log.Cursor(cloud, fakeSN); !c.Retired || !c.Watermark.Equal(midnight.Add(time.Hour)) {
			t.Errorf("the cursor is %+v", c)
		}
	})
}
