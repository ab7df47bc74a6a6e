package collectors_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// slowMemory is a Memory that takes its time and remembers what was asked for.
type slowMemory struct {
	collectors.Memory
	takes time.Duration

	mu    sync.Mutex
	reads []event.StreamSeq
}

func (m *slowMemory) Identities(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen)) error {
	m.mu.Lock()
	m.reads = append(m.reads, from)
	m.mu.Unlock()
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	return m.Memory.Identities(ctx, p, from, upTo, yield)
}

// asked returns what was asked for since it was called last.
func (m *slowMemory) asked() []event.StreamSeq {
	m.mu.Lock()
	defer m.mu.Unlock()
	reads := m.reads
	m.reads = nil
	return reads
}

// steady hands over so many events every ten seconds, from number 1 on or behind what was handed over before.
func steady(log interface {
	Cursor(event.Provider, event.Source) event.RawCursor
}, n int,
) *script {
	return &script{run: func(ctx context.Context, _ event.From, emit collectors.Emit) error {
		for {
			first := int(log.Cursor(cloud, "amqp").Position) + 1
			if err := emit(ctx, collectors.Batch{Events: raws(first, first+n-1)}); err != nil {
				return err
			}
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return nil
			}
		}
	}}
}

func TestStandbyReadsAhead(t *testing.T) {
	pair := func(t *testing.T, n int, takes time.Duration) (f *fleet, memory *slowMemory, stopA, stopB func()) {
		t.Helper()
		f = newFleet()
		stopA = run(t, f.collector("a", "amqp", kind("amqp", steady(f.log, n))))
		after(25 * time.Second)
		b := f.collector("b", "amqp", kind("amqp", steady(f.log, n)))
		memory = &slowMemory{Memory: f.log, takes: takes}
		b.Deps.Memory = memory
		return f, memory, stopA, run(t, b)
	}
	wantAll := func(t *testing.T, f *fleet) {
		t.Helper()
		if got := f.log.IDs(cloud); !slices.Equal(got, ids(1, len(got))) {
			t.Errorf("RAW has %v", got)
		}
	}

	bubble(t, "and has little to read when it takes over", func(t *testing.T) {
		f, memory, stopA, stopB := pair(t, 900, 0)
		after(64 * time.Second)
		stopA()
		after(9 * time.Second)
		stopB()
		wantAll(t, f)
		reads := memory.asked()
		if len(reads) < 3 || len(reads) > 5 {
			t.Fatalf("read %d times; want the first time, after every 2000 events, and at the end", len(reads))
		}
		if first, last := reads[0], reads[len(reads)-1]; first > 1800 || last < 6000 {
			t.Errorf("read from %v on; want to begin far back and to end near 8000", reads)
		}
	})

	bubble(t, "and reads nothing where nothing comes", func(t *testing.T) {
		_, memory, stopA, stopB := pair(t, 1, 0)
		after(time.Hour)
		if reads := memory.asked(); len(reads) != 1 {
			t.Errorf("read %d times for 360 events", len(reads))
		}
		stopB()
		stopA()
	})

	bubble(t, "and asks for the lease when it has", func(t *testing.T) {
		f, _, stopA, stopB := pair(t, 1, 20*time.Second)
		after(19 * time.Second)
		before := f.states.all()
		after(2 * time.Second)
		if all := f.states.all(); before[len(before)-1] != "b/amqp: starting" || all[len(all)-1] != "b/amqp: standby held by a" {
			t.Errorf("states are %v, and 2 s later %v", before, all)
		}
		stopB()
		stopA()
	})

	bubble(t, "or when that takes too long", func(t *testing.T) {
		f, _, stopA, stopB := pair(t, 1, 20*time.Minute)
		after(31 * time.Second)
		if all := f.states.all(); all[len(all)-1] != "b/amqp: standby held by a" {
			t.Errorf("states are %v", all)
		}
		stopB()
		stopA()
		wantAll(t, f)
	})

	bubble(t, "and ends while it does", func(t *testing.T) {
		f, _, stopA, stopB := pair(t, 1, 20*time.Minute)
		after(time.Second)
		stopB()
		if all := f.states.all(); all[len(all)-1] != "b/amqp: starting" {
			t.Errorf("states are %v", all)
		}
		stopA()
	})

	bubble(t, "but not for a source that never collected", func(t *testing.T) {
		f := newFleet()
		a := f.collector("a", "amqp", kind("amqp", emits()))
		memory := &slowMemory{Memory: f.log}
		a.Deps.Memory = memory
		stop := run(t, a)
		after(time.Minute)
		if reads := memory.asked(); len(reads) != 0 {
			t.Errorf("read %d times", len(reads))
		}
		stop()
	})
}
