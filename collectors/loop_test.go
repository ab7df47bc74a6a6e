package collectors_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

func TestLoopCommits(t *testing.T) {
	bubble(t, "what is queued while a commit is under way goes with the next one", func(t *testing.T) {
		log := collectorstest.NewLog()
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(time.Second)
			return true, nil
		}
		source := &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			for i := range 10 {
				if err := emit(ctx, collectors.Batch{Events: raws(i, i), Cursor: number(i)}); err != nil {
					return err
				}
				if i == 0 {
					<-time.After(time.Millisecond)
				}
			}
			<-ctx.Done()
			return nil
		}}
		b := newBench(log, source)
		b.start(t)
		after(3 * time.Second)
		b.wantIDs(t, ids(0, 9))
		if len(b.commits) != 2 || b.commits[0].Events != 1 || b.commits[1].Events != 9 {
			t.Errorf("commits: %+v; want one event, then the other nine", b.commits)
		}
		if c := log.Cursor(cloud, fakeSN); string(c.Cursor) != "9" || !c.Newest.Equal(raws(9, 9)[0].Time) {
			t.Errorf("the cursor is %+v", c)
		}
		b.stop(t)
	})

	bubble(t, "a commit has at most 500 events, but never less than a batch", func(t *testing.T) {
		log := collectorstest.NewLog()
		var sizes []int
		log.Fault = func(_ context.Context, events []event.Raw, _ event.Progress) (bool, error) {
			<-time.After(time.Second)
			sizes = append(sizes, len(events))
			return true, nil
		}
		b := newBench(log, emits(
			collectors.Batch{Events: raws(1, 1)},
			collectors.Batch{Events: raws(2, 301)}, collectors.Batch{Events: raws(302, 501)},
			collectors.Batch{Events: raws(502, 502)}, collectors.Batch{Events: raws(503, 1302)},
		))
		b.Options.QueueBytes = 100 << 20
		b.start(t)
		after(time.Minute)
		b.stop(t)
		b.wantIDs(t, ids(1, 1302))
		// The first commit starts as soon as there is anything, so how much it finds is not fixed.
		for i, n := range sizes {
			if n > 500 && n != 800 {
				t.Errorf("commit %d has %d events", i, n)
			}
		}
	})

	bubble(t, "a commit has at most 1 MiB, but never less than a batch", func(t *testing.T) {
		log := collectorstest.NewLog()
		b := newBench(log, &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			for i := range 12 {
				e := raws(i, i)
				e[0].Body = make([]byte, 300<<10)
				if i == 11 {
					e[0].Body = make([]byte, 3<<20)
				}
				if err := emit(ctx, collectors.Batch{Events: e}); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return nil
		}})
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(time.Second)
			return true, nil
		}
		b.start(t)
		after(time.Minute)
		b.stop(t)
		b.wantIDs(t, ids(0, 11))
		for i, c := range b.commits {
			if c.Bytes > 1<<20 && c.Events > 1 {
				t.Errorf("commit %d has %d bytes in %d events", i, c.Bytes, c.Events)
			}
		}
	})

	bubble(t, "an event without id gets its hash, one without time of receipt the present", func(t *testing.T) {
		future := time.Now().Add(1000 * time.Hour)
		b := newBench(collectorstest.NewLog(), emits(collectors.Batch{Events: []event.Raw{
			{Body: []byte("a")}, {Body: []byte("b"), Time: future}, {Body: []byte("a")},
		}}))
		b.start(t)
		b.stop(t)
		b.wantIDs(t, []event.ID{event.HashID([]byte("a")), event.HashID([]byte("b"))})
		for _, e := range b.log.Events(cloud) {
			if !e.Hashed || !e.Received.Equal(time.Now()) {
				t.Errorf("stored is %+v", e.Raw)
			}
		}
		if b.hashed != 2 || b.duplicates != 1 {
			t.Errorf("%d hashed, %d duplicates", b.hashed, b.duplicates)
		}
		if newest := b.log.Cursor(cloud, fakeSN).Newest; !newest.Equal(time.Now()) {
			t.Errorf("the newest time is %s: a wrong clock carries it into the future", newest)
		}
	})
}

func TestLoopRemovesDuplicates(t *testing.T) {
	bubble(t, "within a batch, in the queue and behind the commit", func(t *testing.T) {
		log := collectorstest.NewLog()
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(time.Second)
			return true, nil
		}
		b := newBench(log, emits(
			collectors.Batch{Events: slices.Concat(raws(1, 3), raws(2, 4))}, collectors.Batch{Events: raws(3, 6)},
			collectors.Batch{Events: raws(1, 6)}, collectors.Batch{Events: raws(5, 9)},
		))
		b.start(t)
		after(10 * time.Second)
		b.stop(t)
		b.wantIDs(t, ids(1, 9))
		if b.duplicates != 2+2+6+2 {
			t.Errorf("%d duplicates counted; want 12", b.duplicates)
		}
	})

	bubble(t, "after a restart, also those of another source of the provider", func(t *testing.T) {
		log := collectorstest.NewLog()
		b := newBench(log, emits(collectors.Batch{Events: raws(1, 2000)}))
		b.start(t)
		b.stop(t)
		var from event.From
		next := newBench(log, &script{run: func(ctx context.Context, f event.From, emit collectors.Emit) error {
			from = f
			_ = emit(ctx, collectors.Batch{Events: raws(1, 2003)})
			<-ctx.Done()
			return nil
		}})
		next.Name, next.Writer = "other", log.NewWriter(cloud, "other", event.Fence{})
		next.start(t)
		next.stop(t)
		next.wantIDs(t, ids(1, 2003))
		if from.Cursor != nil || !from.Newest.Equal(raws(2000, 2000)[0].Time) {
			t.Errorf("a first run starts from %+v", from)
		}
		again := newBench(log, emits(collectors.Batch{Events: raws(1950, 2003)}))
		again.start(t)
		again.stop(t)
		again.wantIDs(t, ids(1, 2003))
	})

	bubble(t, "as far back as the floor that is durable says", func(t *testing.T) {
		log := collectorstest.NewLog()
		floor := raws(1, 1)[0].Time
		b := newBench(log, emits(
			collectors.Batch{Events: raws(1, 3000), Cursor: number(1), Floor: floor},
			collectors.Batch{Events: raws(3001, 3002), Cursor: number(2), Floor: raws(2990, 2990)[0].Time},
		))
		b.Spec = collectors.Spec{}
		b.start(t)
		b.stop(t)
		c := log.Cursor(cloud, fakeSN)
		if c.DedupeFrom != 1 {
			t.Errorf("the last commit reads back from %d on; the new floor was not durable then", c.DedupeFrom)
		}
		var from event.From
		next := newBench(log, &script{run: func(ctx context.Context, f event.From, emit collectors.Emit) error {
			from = f
			_ = emit(ctx, collectors.Batch{Events: raws(2990, 3003), Cursor: number(3)})
			<-ctx.Done()
			return nil
		}})
		next.Spec = collectors.Spec{}
		next.start(t)
		next.stop(t)
		next.wantIDs(t, ids(1, 3003))
		if !from.Floor.Equal(raws(2990, 2990)[0].Time) || string(from.Cursor) != "2" {
			t.Errorf("the next run starts from %+v", from)
		}
		if d := log.Cursor(cloud, fakeSN).DedupeFrom; d < 2990 {
			t.Errorf("identities are read back from %d on, though the floor is above", d)
		}
	})

	bubble(t, "but not what was never taken", func(t *testing.T) {
		log := collectorstest.NewLog()
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			<-time.After(time.Minute)
			return true, nil
		}
		var first error
		b := newBench(log, &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			_ = emit(ctx, collectors.Batch{Events: raws(1, 1)})
			<-time.After(time.Second) // its commit is under way
			_ = emit(ctx, collectors.Batch{Events: raws(2, 2)})
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			batch := collectors.Batch{Events: raws(2, 4)}
			first = emit(short, batch)
			if err := emit(ctx, batch); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}})
		b.Options.QueueBytes = 1
		b.start(t)
		after(time.Hour)
		b.stop(t)
		if !errors.Is(first, context.DeadlineExceeded) {
			t.Errorf("the emit that found no room returned %v", first)
		}
		b.wantIDs(t, ids(1, 4))
	})
}
