package collectors_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

func TestLoopAcknowledgesUpstream(t *testing.T) {
	bubble(t, "after the commit and in order", func(t *testing.T) {
		log := collectorstest.NewLog()
		var order trace
		log.Fault = func(_ context.Context, events []event.Raw, _ event.Progress) (bool, error) {
			<-time.After(time.Second)
			for _, e := range events {
				order.add("stored " + string(e.ID))
			}
			return true, nil
		}
		done := func(name string) func() { return func() { order.add("done " + name) } }
		b := newBench(log, &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			_ = emit(ctx, collectors.Batch{Events: raws(1, 1), Done: done("a")})
			<-time.After(time.Millisecond)
			_ = emit(ctx, collectors.Batch{Events: raws(2, 2), Done: done("b")})
			_ = emit(ctx, collectors.Batch{Events: raws(1, 2), Done: done("c")}) // duplicates, one of them not durable
			_ = emit(ctx, collectors.Batch{Events: raws(3, 3), Done: done("d")})
			<-ctx.Done()
			return nil
		}})
		b.start(t)
		after(10 * time.Second)
		want := []string{"stored 1", "done a", "stored 2", "stored 3", "done b", "done c", "done d"}
		if got := order.all(); !slices.Equal(got, want) {
			t.Errorf("order: %v; want %v", got, want)
		}
		b.stop(t)
	})

	bubble(t, "at once where all is durable already, and after the cursor where only that moved", func(t *testing.T) {
		var order trace
		done := func(name string) func() { return func() { order.add(name) } }
		b := newBench(collectorstest.NewLog(), slowly(
			collectors.Batch{Events: raws(1, 2), Cursor: number(1), Done: done("new")},
			collectors.Batch{Events: raws(1, 2), Cursor: number(1), Done: done("again")},
			collectors.Batch{Cursor: number(1), Done: done("says nothing")},
			collectors.Batch{Events: raws(1, 2), Cursor: number(2), Done: done("again, cursor moved")},
			collectors.Batch{Cursor: number(3), Done: done("cursor moved")},
			collectors.Batch{Events: raws(1, 2), Done: done("again, behind that")},
		))
		b.start(t)
		after(time.Second)
		first := []string{"new", "again", "says nothing", "again, cursor moved"}
		if got := order.all(); !slices.Equal(got, first) {
			t.Errorf("at once: %v; want %v", got, first)
		}
		after(90 * time.Second)
		if want := append(first, "cursor moved", "again, behind that"); !slices.Equal(order.all(), want) {
			t.Errorf("after the cursor was written: %v; want %v", order.all(), want)
		}
		b.stop(t)
	})
}

func TestLoopWritesTheCursorOfEmptyBatches(t *testing.T) {
	bubble(t, "once at first, then once a minute, and at the end", func(t *testing.T) {
		n := 0
		b := newBench(collectorstest.NewLog(), &script{
			run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				for ctx.Err() == nil {
					n++
					if err := emit(ctx, collectors.Batch{Cursor: number(n), Watermark: time.Now()}); err != nil {
						return err
					}
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
					}
				}
				return nil
			},
		})
		b.start(t)
		if got := b.log.Commits(); got != 1 {
			t.Errorf("%d commits at first; want 1", got)
		}
		after(10*time.Minute - time.Millisecond)
		if got := b.log.Commits(); got < 9 || got > 11 {
			t.Errorf("%d commits in ten minutes", got)
		}
		before := n
		b.stop(t)
		c := b.log.Cursor(cloud, fakeSN)
		if string(c.Cursor) != string(number(before)) || !c.Watermark.After(midnight.Add(9*time.Minute)) || c.Position != 0 {
			t.Errorf("at the end the cursor is %+v; want %d", c, before)
		}
	})

	bubble(t, "not while nothing moved", func(t *testing.T) {
		b := newBench(collectorstest.NewLog(), &script{
			run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				for ctx.Err() == nil {
					_ = emit(ctx, collectors.Batch{Cursor: number(7), Watermark: midnight})
					_ = emit(ctx, collectors.Batch{Watermark: midnight.Add(-time.Hour), Floor: time.Time{}})
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
					}
				}
				return nil
			},
		})
		b.start(t)
		after(10 * time.Minute)
		b.stop(t)
		if got := b.log.Commits(); got != 1 {
			t.Errorf("%d commits; want 1", got)
		}
		if w := b.log.Cursor(cloud, fakeSN).Watermark; !w.Equal(midnight) {
			t.Errorf("the watermark went to %s", w)
		}
	})

	bubble(t, "at once when many wait for it", func(t *testing.T) {
		var acknowledged atomic.Int64
		b := newBench(collectorstest.NewLog(), &script{
			run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
				for n := range 1200 {
					_ = emit(ctx, collectors.Batch{Cursor: number(n), Done: func() { acknowledged.Add(1) }})
				}
				<-ctx.Done()
				return nil
			},
		})
		b.start(t)
		if n := acknowledged.Load(); n < 700 {
			t.Errorf("%d of 1200 acknowledged", n)
		}
		b.stop(t)
		if n := acknowledged.Load(); n != 1200 {
			t.Errorf("%d of 1200 acknowledged at the end", n)
		}
	})
}

// aheadOf is a Memory that has one event more of a source than its cursor says.
type aheadOf struct {
	collectors.Memory
	seq event.Seq
}

func (m aheadOf) Identities(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen)) error {
	yield(event.Seen{ID: "ahead", Source: fakeSN, Seq: m.seq, Sequence: 1000})
	yield(event.Seen{ID: "other", Source: "other", Seq: 99, Sequence: 1001})
	return m.Memory.Identities(ctx, p, from, upTo, yield)
}

// Numbers that the stream has already must not be given to other events: the normalizer would take those for repeats.
func TestLoopDoesNotStartBehindItsOwnEvents(t *testing.T) {
	for _, test := range []struct {
		name string
		seq  event.Seq
		want event.Kind
	}{
		{"the cursor's own event", 3, 0},
		{"one that the cursor does not know", 4, event.Fenced},
	} {
		bubble(t, test.name, func(t *testing.T) {
			log := collectorstest.NewLog()
			b := newBench(log, emits(collectors.Batch{Events: raws(1, 3)}))
			b.start(t)
			after(time.Second)
			b.stop(t)

			b = newBench(log, emits(collectors.Batch{Events: raws(4, 4)}))
			b.Memory = aheadOf{log, test.seq}
			b.start(t)
			after(time.Second)
			if test.want == 0 {
				b.stop(t)
				b.wantIDs(t, ids(1, 4))
				return
			}
			if err := <-b.ended; event.KindOf(err) != test.want {
				t.Errorf("Run returns %v", err)
			}
			b.wantIDs(t, ids(1, 3))
		})
	}
}

// What a job brought does not tell a source that never ran where to begin.
func TestJobsDoNotCountAsNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := collectorstest.NewLog()
		for source, newest := range map[event.Source]time.Time{"other": midnight, "backfill-day": midnight.Add(time.Hour), "redrive": midnight.Add(2 * time.Hour)} {
			w := log.NewWriter(cloud, source, event.Fence{})
			if _, err := w.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Commit(t.Context(), nil, event.Progress{Newest: newest}); err != nil {
				t.Fatal(err)
			}
		}
		var got event.From
		b := newBench(log, &script{run: func(_ context.Context, from event.From, _ collectors.Emit) error {
			got = from
			return errors.New("enough")
		}})
		_ = b.Run(t.Context())
		if !got.Newest.Equal(midnight) {
			t.Errorf("it begins behind %s", got.Newest)
		}
	})
}
