package collectors_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

func TestLoopFailures(t *testing.T) {
	failure := errors.New("connection reset")
	failing := func(err error) *script {
		return &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			_ = emit(ctx, collectors.Batch{Events: raws(1, 3), Cursor: number(3)})
			_ = emit(ctx, collectors.Batch{Cursor: number(4)})
			return err
		}}
	}
	for _, c := range []struct {
		name   string
		source *script
		says   string
		is     error
	}{
		{"an error", failing(failure), "connection reset", failure},
		{"an end without reason", failing(nil), "ended by itself", nil},
		{"a panic", &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			_ = emit(ctx, collectors.Batch{Events: raws(1, 3), Cursor: number(3)})
			_ = emit(ctx, collectors.Batch{Cursor: number(4)})
			panic("index out of range")
		}}, "panic: index out of range", nil},
		{"the end of its goroutine", &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			_ = emit(ctx, collectors.Batch{Events: raws(1, 3), Cursor: number(3)})
			_ = emit(ctx, collectors.Batch{Cursor: number(4)})
			runtime.Goexit()
			return nil
		}}, "ended its goroutine", nil},
		{"a panic in Done", &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			_ = emit(ctx, collectors.Batch{Events: raws(1, 3), Cursor: number(4), Done: func() { panic("channel closed") }})
			<-ctx.Done()
			return nil
		}}, "acknowledge upstream: panic: channel closed", nil},
	} {
		bubble(t, "of the source: "+c.name, func(t *testing.T) {
			b := newBench(collectorstest.NewLog(), c.source)
			b.start(t)
			err := <-b.ended
			if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("Run returns %v; want %q", err, c.says)
			}
			var p *collectors.PanicError
			if errors.As(err, &p) && (len(p.Stack) == 0 || strings.Contains(err.Error(), "goroutine")) {
				t.Errorf("the stack belongs into the log only: %v", err)
			}
			b.wantIDs(t, ids(1, 3))
			if got := string(b.log.Cursor(cloud, fakeSN).Cursor); got != "4" {
				t.Errorf("the cursor is %s; want 4", got)
			}
			if _, owed := b.beat(); owed != 0 {
				t.Error("the loop has ended and still owes a beat")
			}
			b.cancel()
		})
	}

	bubble(t, "of the source while a commit is under way: what is queued is committed too", func(t *testing.T) {
		b := newBench(collectorstest.NewLog(), failing(failure))
		fail := b.Source
		b.Source = &script{run: func(ctx context.Context, from event.From, emit collectors.Emit) error {
			if err := emit(ctx, collectors.Batch{Events: raws(0, 0), Cursor: number(0)}); err != nil {
				return err
			}
			<-time.After(time.Millisecond) // the loop takes it
			return fail.Run(ctx, from, emit)
		}}
		b.log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(time.Second)
			return true, nil
		}
		b.start(t)
		if err := <-b.ended; !errors.Is(err, failure) {
			t.Errorf("Run returns %v", err)
		}
		b.wantIDs(t, ids(0, 3))
		if got := string(b.log.Cursor(cloud, fakeSN).Cursor); got != "4" {
			t.Errorf("the cursor is %s; want 4", got)
		}
		b.cancel()
	})

	for _, kind := range []event.Kind{event.Fenced, event.Invalid} {
		bubble(t, "of the writer: "+kind.String(), func(t *testing.T) {
			log := collectorstest.NewLog()
			log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
				<-time.After(time.Second)
				return false, &event.Error{Kind: kind, Op: "append"}
			}
			acknowledged := false
			done := func() { acknowledged = true }
			b := newBench(log, emits(
				collectors.Batch{Events: raws(1, 1), Done: done}, collectors.Batch{Events: raws(2, 2), Done: done},
				collectors.Batch{Cursor: number(3), Done: done},
			))
			b.start(t)
			if err := <-b.ended; !errors.Is(err, kind) {
				t.Errorf("Run returns %v", err)
			}
			b.wantIDs(t, nil)
			if acknowledged {
				t.Error("something was acknowledged upstream")
			}
			log.Fault = nil
			b.start(t)
			b.stop(t)
			b.wantIDs(t, ids(1, 2))
		})
	}

	bubble(t, "of what it reads at the start", func(t *testing.T) {
		b := newBench(collectorstest.NewLog(), emits())
		b.Memory = brokenMemory{}
		b.start(t)
		if err := <-b.ended; err == nil || err.Error() != "read cursors: no leader" {
			t.Errorf("Run returns %v", err)
		}
		b.cancel()
	})
}

type brokenMemory struct{ collectors.Memory }

func (brokenMemory) Cursors(context.Context, event.Provider) (map[event.Source]event.RawCursor, error) {
	return nil, errors.New("no leader")
}

func TestLoopNoticesSilence(t *testing.T) {
	bubble(t, "of a source that waits for ever", func(t *testing.T) {
		b := newBench(collectorstest.NewLog(), emits(collectors.Batch{Events: raws(1, 1)}))
		b.Spec.Quiet = time.Minute
		b.start(t)
		err := <-b.ended
		if err == nil || err.Error() != "silent since 2000-01-01T00:00:00Z" {
			t.Errorf("Run returns %v", err)
		}
		if took := time.Since(midnight); took < 3*time.Minute || took > 4*time.Minute {
			t.Errorf("noticed after %s", took)
		}
		b.wantIDs(t, ids(1, 1))
		b.cancel()
	})

	bubble(t, "but not while the stream is full", func(t *testing.T) {
		log := collectorstest.NewLog()
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(5 * time.Hour)
			return true, nil
		}
		b := newBench(log, &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			for i := 1; i <= 5; i++ {
				if err := emit(ctx, collectors.Batch{Events: raws(i, i)}); err != nil {
					return err
				}
			}
			for ctx.Err() == nil {
				if err := emit(ctx, collectors.Batch{}); err != nil {
					return err
				}
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
				}
			}
			return nil
		}})
		b.Options.QueueBytes = 1
		b.Spec.Quiet = time.Minute
		b.start(t)
		after(30 * time.Hour)
		b.wantIDs(t, ids(1, 5))
		b.stop(t)
	})

	bubble(t, "nor of one that promises nothing", func(t *testing.T) {
		b := newBench(collectorstest.NewLog(), emits())
		b.start(t)
		after(100 * time.Hour)
		b.stop(t)
	})
}

func TestLoopReportsWhatIsStuck(t *testing.T) {
	bubble(t, "a source that ignores its end", func(t *testing.T) {
		release := make(chan struct{})
		b := newBench(collectorstest.NewLog(), &script{
			run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				_ = emit(ctx, collectors.Batch{Events: raws(1, 1)})
				<-release
				return emit(context.WithoutCancel(ctx), collectors.Batch{Events: raws(2, 2)})
			},
		})
		b.Spec.Quiet = time.Minute
		b.start(t)
		after(10 * time.Minute)
		if ago, owed := b.beat(); ago < 3*owed {
			t.Errorf("the last beat was %s ago, though only a restart helps", ago)
		}
		states := b.states.all()
		if len(states) != 2 || states[0] != "live" || !strings.HasPrefix(states[1], "backoff stuck: ") {
			t.Errorf("states: %q", states)
		}
		select {
		case err := <-b.ended:
			t.Errorf("Run returns %v while its source runs", err)
		default:
		}
		close(release)
		if err := <-b.ended; err == nil || !strings.Contains(err.Error(), "silent") {
			t.Errorf("Run returns %v", err)
		}
		b.wantIDs(t, ids(1, 1))
		b.cancel()
	})

	bubble(t, "a healthy loop beats on time, also while the stream is full", func(t *testing.T) {
		log := collectorstest.NewLog()
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(time.Hour)
			return true, nil
		}
		b := newBench(log, emits(collectors.Batch{Events: raws(1, 1)}))
		b.start(t)
		for range 100 {
			after(time.Minute)
			if ago, owed := b.beat(); ago > owed {
				t.Fatalf("the last beat was %s ago; owed every %s", ago, owed)
			}
		}
		b.stop(t)
	})
}

func TestLoopStops(t *testing.T) {
	bubble(t, "after the commit under way, without what is queued", func(t *testing.T) {
		log := collectorstest.NewLog()
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(5 * time.Second)
			return true, nil
		}
		acknowledged := 0
		done := func() { acknowledged++ }
		b := newBench(log, &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			_ = emit(ctx, collectors.Batch{Events: raws(1, 1), Cursor: number(1), Done: done})
			<-time.After(time.Second)
			_ = emit(ctx, collectors.Batch{Events: raws(2, 2), Cursor: number(2), Done: done})
			<-ctx.Done()
			return ctx.Err()
		}})
		b.start(t)
		after(2 * time.Second)
		b.stop(t)
		b.wantIDs(t, ids(1, 1))
		if acknowledged != 1 || string(log.Cursor(cloud, fakeSN).Cursor) != "1" {
			t.Errorf("%d acknowledged, the cursor is %s", acknowledged, log.Cursor(cloud, fakeSN).Cursor)
		}
	})

	bubble(t, "within the time to drain, though the commit hangs", func(t *testing.T) {
		log := collectorstest.NewLog()
		log.Fault = func(ctx context.Context, _ []event.Raw, _ event.Progress) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}
		b := newBench(log, emits(collectors.Batch{Events: raws(1, 1)}))
		b.start(t)
		after(time.Hour)
		b.stop(t)
		if took := time.Since(midnight) - time.Hour; took != 10*time.Second {
			t.Errorf("stopped after %s; want 10 s", took)
		}
	})

	bubble(t, "before it has opened its cursor", func(t *testing.T) {
		b := newBench(collectorstest.NewLog(), emits())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Run(ctx); err != nil {
			t.Errorf("Run returns %v", err)
		}
	})
}

func TestLoopQueueIsBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		body int
		most int
	}{
		{"in bytes", 100 << 10, 2 + 10},
		{"one batch that is larger passes alone", 3 << 20, 2},
		{"small ones count too", 0, 2 + 1<<20/256},
	} {
		bubble(t, c.name, func(t *testing.T) {
			log := collectorstest.NewLog()
			log.Fault = func(ctx context.Context, _ []event.Raw, _ event.Progress) (bool, error) {
				<-ctx.Done() // the stream is full
				return false, ctx.Err()
			}
			taken := 0
			b := newBench(log, &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				for i := 1; ; i++ {
					e := raws(i, i)
					e[0].Body = make([]byte, c.body)
					if err := emit(ctx, collectors.Batch{Events: e}); err != nil {
						return nil
					}
					taken++
					if taken == 1 {
						<-time.After(time.Second)
					}
				}
			}})
			b.Options.QueueBytes = 1 << 20
			b.start(t)
			after(time.Hour)
			if taken > c.most || taken < 2 {
				t.Errorf("%d batches were taken; want at most %d", taken, c.most)
			}
			b.stop(t)
		})
	}
}
