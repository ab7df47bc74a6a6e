package collectors_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

// pollable is a service that is read by time: all events from the cursor's number on, once every ten seconds. Some show late.
type pollable struct {
	mu     sync.Mutex
	hidden map[event.ID]bool
	all    []event.Raw
}

func (p *pollable) Available(context.Context) error { return nil }

func (p *pollable) shown(from time.Time) []event.Raw {
	p.mu.Lock()
	defer p.mu.Unlock()
	var events []event.Raw
	for _, e := range p.all {
		if !p.hidden[e.ID] && !e.Time.Before(from) {
			events = append(events, e)
		}
	}
	return events
}

func (p *pollable) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	since := from.Floor
	for {
		events := p.shown(since)
		b := collectors.Batch{Events: events, Floor: since, Watermark: time.Now()}
		if n := len(events); n > 0 {
			since = events[n-1].Time
			b.Cursor, b.Floor = event.Cursor(`"`+since.Format(time.RFC3339)+`"`), since
		}
		if err := emit(ctx, b); err != nil {
			return err
		}
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// rewind does to the cursor what the command does: everything from a number on is to be read and known again.
func rewind(t *testing.T, log *collectorstest.Log, first int) {
	t.Helper()
	to := raws(first, first)[0].Time
	log.Change(cloud, "panko", func(c *event.RawCursor) {
		c.Cursor = event.Cursor(`"` + to.Format(time.RFC3339) + `"`)
		c.Rewind(to, 1, 0)
	})
}

// Whoever collects when a source is rewound, and whoever takes over, knows again all that RAW has, and adds what it lacks.
func TestRewound(t *testing.T) {
	late := func(first, last int) *pollable {
		p := &pollable{hidden: map[event.ID]bool{}, all: raws(1, last)}
		for _, id := range ids(first, first+4) {
			p.hidden[id] = true
		}
		return p
	}
	appear := func(p *pollable) {
		p.mu.Lock()
		defer p.mu.Unlock()
		clear(p.hidden)
	}
	spec := func(p *pollable) collectors.Candidate {
		c := kind("panko", p)
		c.Shards[0].Spec = collectors.Spec{} // the time alone tells what may come again
		return c
	}
	want := slices.Concat(ids(1, 9), ids(15, 3000), ids(10, 14))
	check := func(t *testing.T, f *fleet) {
		t.Helper()
		if got := f.log.IDs(cloud); !slices.Equal(got, want) {
			t.Errorf("RAW has %d events, want %d; those from %d on are %v", len(got), len(want), len(want)-5, got[min(len(got), len(want)-5):])
		}
	}

	bubble(t, "while it collects", func(t *testing.T) {
		f, p := newFleet(), late(10, 3000)
		stop := run(t, f.collector("a", "panko", spec(p)))
		after(time.Minute)
		appear(p)
		rewind(t, f.log, 1)
		after(10 * time.Minute)
		check(t, f)
		if c := f.log.Cursor(cloud, "panko"); !c.Watermark.After(midnight) || string(c.Cursor) != `"1999-12-31T22:03:20Z"` {
			t.Errorf("it ended at %s, complete up to %v", c.Cursor, c.Watermark)
		}
		stop()
	})

	bubble(t, "while another stands by, which takes over", func(t *testing.T) {
		f, p := newFleet(), late(10, 3000)
		stopA := run(t, f.collector("a", "panko", spec(p)))
		after(time.Minute)
		b := f.collector("b", "panko", spec(p))
		memory := &slowMemory{Memory: f.log}
		b.Deps.Memory = memory
		stopB := run(t, b)
		after(time.Minute)
		before := memory.asked()
		stopA()
		after(time.Second)
		stopB()

		// It has read from where the floor was, and that is behind what comes again now.
		stopA = run(t, f.collector("a", "panko", spec(p)))
		after(time.Minute)
		stopB = run(t, b)
		after(time.Minute)
		appear(p)
		memory.asked()
		rewind(t, f.log, 1)
		f.leases.Lose(collectors.LeaseKey(cloud, "panko"))
		stopA()
		after(10 * time.Minute)
		check(t, f)
		if reads := memory.asked(); len(before) == 0 || len(reads) == 0 || slices.Min(reads) > 1 {
			t.Errorf("what stood by read from %v on, and after it was rewound from %v on", before, reads)
		}
		stopB()
	})

	bubble(t, "and what stands by reads ahead what is to be known again", func(t *testing.T) {
		f, p := newFleet(), late(10, 3000)
		// The one at work reads nothing more, so that nobody but the other has to do with the new cursor.
		stopA := run(t, f.collector("a", "panko", spec(p)))
		after(time.Minute)
		b := f.collector("b", "panko", spec(p))
		memory := &slowMemory{Memory: f.log}
		b.Deps.Memory = memory
		stopB := run(t, b)
		after(time.Minute)
		memory.asked()
		rewind(t, f.log, 1)
		after(6 * time.Second)
		if reads := memory.asked(); !slices.Contains(reads, 1) {
			t.Errorf("it read from %v on, want from the beginning", reads)
		}
		stopB()
		stopA()
	})
}

// A source that has nothing to write notices all the same, soon.
func TestQuietSourceNoticesACommand(t *testing.T) {
	bubble(t, "another cursor", func(t *testing.T) {
		f := newFleet()
		var begun trace
		quiet := emits(collectors.Batch{Events: raws(1, 5), Cursor: number(5)})
		source := &script{run: func(ctx context.Context, from event.From, emit collectors.Emit) error {
			begun.add(string(from.Cursor))
			return quiet.run(ctx, from, emit)
		}}
		stop := run(t, f.collector("a", "panko", kind("panko", source)))
		after(time.Hour)
		f.log.Change(cloud, "panko", func(c *event.RawCursor) { c.Cursor = number(3) })
		after(12 * time.Second)
		if got := begun.all(); !slices.Equal(got, []string{"", string(number(3))}) {
			t.Errorf("it began from %q", got)
		}
		after(time.Hour)
		stop()
		if got := begun.all(); len(got) != 2 {
			t.Errorf("it began from %q, and nobody has changed anything", got)
		}
	})
}

// A writer that began before a source was rewound writes nothing more, and so can't undo it.
func TestRewoundIsNotUndone(t *testing.T) {
	bubble(t, "by a batch on its way", func(t *testing.T) {
		log := collectorstest.NewLog()
		held, letGo := make(chan struct{}), make(chan struct{})
		first := true
		log.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			if first {
				first = false
				return true, nil
			}
			close(held)
			<-letGo
			return true, nil
		}
		floor := raws(5, 5)[0].Time
		b := newBench(log, slowly(
			collectors.Batch{Events: raws(1, 5), Cursor: number(5), Floor: floor}, collectors.Batch{Events: raws(6, 9), Cursor: number(9), Floor: floor}))
		b.start(t)
		<-held
		to := raws(2, 2)[0].Time
		log.Change(cloud, fakeSN, func(c *event.RawCursor) {
			c.Cursor = number(2)
			c.Rewind(to, 2, 0)
		})
		close(letGo)
		if err := <-b.ended; event.KindOf(err) != event.Fenced {
			t.Errorf("it goes on: %v", err)
		}
		b.wantIDs(t, ids(1, 5))
		if c := log.Cursor(cloud, fakeSN); !c.Floor.Equal(to) || string(c.Cursor) != string(number(2)) || c.DedupeFrom > 2 {
			t.Errorf("the cursor is %s with the floor %v and identities from %d on", c.Cursor, c.Floor, c.DedupeFrom)
		}
	})
}
