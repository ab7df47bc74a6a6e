package collectors_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

// counted is a Memory that counts how often identities are read, and fails as often as it is told to.
type counted struct {
	collectors.Memory
	reads, fails atomic.Int32
}

func (m *counted) Identities(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen)) error {
	m.reads.Add(1)
	if m.fails.Add(-1) >= 0 {
		return errors.New("no answer")
	}
	return m.Memory.Identities(ctx, p, from, upTo, yield)
}

// A source that can't reach its service is run again and again: what RAW holds must not be read each time.
func TestLoopReadsIdentitiesWithTheFirstEvents(t *testing.T) {
	bubble(t, "not before", func(t *testing.T) {
		log := collectorstest.NewLog()
		b := newBench(log, emits(collectors.Batch{Cursor: number(1), Events: raws(1, 3)}))
		b.start(t)
		after(time.Second)
		b.stop(t)
		from := log.Cursor(cloud, fakeSN).DedupeFrom

		b = newBench(log, emits(collectors.Batch{Cursor: number(2), Urgent: true}))
		memory := &counted{Memory: log}
		b.Memory = memory
		b.start(t)
		after(time.Second)
		b.stop(t)
		if n := memory.reads.Load(); n != 0 {
			t.Errorf("identities were read %d times for a cursor that moved", n)
		}
		if cursor := log.Cursor(cloud, fakeSN); string(cursor.Cursor) != string(number(2)) || cursor.DedupeFrom != from {
			t.Errorf("the cursor is %s with identities from %d on; want 2 and %d", cursor.Cursor, cursor.DedupeFrom, from)
		}

		b = newBench(log, emits(collectors.Batch{Events: raws(2, 4)}, collectors.Batch{Events: raws(3, 5)}))
		b.Memory = memory
		b.start(t)
		after(time.Second)
		b.stop(t)
		b.wantIDs(t, ids(1, 5))
		if n := memory.reads.Load(); n != 1 {
			t.Errorf("identities were read %d times; want once", n)
		}
	})

	bubble(t, "a failure to read them ends the run", func(t *testing.T) {
		log := collectorstest.NewLog()
		deaf := &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			_ = emit(ctx, collectors.Batch{Events: raws(1, 3)})
			return errors.New("something else")
		}}
		b := newBench(log, deaf)
		memory := &counted{Memory: log}
		memory.fails.Store(1)
		b.Memory = memory
		b.start(t)
		if err := <-b.ended; err == nil || err.Error() != "read identities: no answer" {
			t.Errorf("Run returns %v", err)
		}
		b.wantIDs(t, nil)
	})
}

// What an earlier version stored of several events under one identity is not taken again, event by event.
func TestLoopKnowsWhatEventsCameIn(t *testing.T) {
	came := func(in event.ID, events ...event.Raw) (all []event.Raw) {
		for _, e := range events {
			e.Was = in
			all = append(all, e)
		}
		return all
	}
	bubble(t, "known", func(t *testing.T) {
		log := collectorstest.NewLog()
		b := newBench(log, emits(collectors.Batch{Events: raws(1, 1)}))
		b.start(t)
		after(time.Second)
		b.stop(t)
		again := came("1", raws(11, 12)...)
		again = append(again, came("20", raws(20, 22)...)...) // the first has the identity of what they came in
		again = append(again, came("1", raws(13, 13)...)...)
		again = append(again, raws(30, 30)...)
		b = newBench(log, emits(collectors.Batch{Events: again}, collectors.Batch{Events: came("20", raws(20, 22)...)}))
		b.start(t)
		after(time.Second)
		b.stop(t)
		b.wantIDs(t, []event.ID{"1", "20", "21", "22", "30"})
	})
}
