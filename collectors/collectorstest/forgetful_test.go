package collectorstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// inbox is an event service in memory that shows what was not acknowledged, a few events at a time, and forgets the rest.
type inbox struct {
	mu     sync.Mutex
	number int
	events []event.Raw
	shown  int // of this run
	down   bool
	fails  int
	faults inboxFaults
}

type inboxFaults struct {
	eager    bool // what was handed over is acknowledged before it is durable
	generous bool // Done acknowledges what was handed over since, too
	lying    bool // the watermark is in the future
}

func (s *inbox) put(n int) []event.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []event.ID
	for range n {
		s.number++
		id := event.ID(fmt.Sprintf("e%03d", s.number))
		ids = append(ids, id)
		s.events = append(s.events, event.Raw{ID: id, Time: time.Now(), Format: "fake", Body: []byte(`{"n":1}`)})
	}
	return ids
}

func (s *inbox) answer() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := s.down || s.fails > 0
	s.fails = max(s.fails-1, 0)
	if failed {
		return &event.Error{Kind: event.Unavailable, Op: "read inbox", Err: errors.New("connection refused")}
	}
	return nil
}

func (s *inbox) Available(context.Context) error { return s.answer() }

func (s *inbox) Run(ctx context.Context, _ event.From, emit collectors.Emit) error {
	s.mu.Lock()
	s.shown = 0
	s.mu.Unlock()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := s.answer(); err != nil && ctx.Err() == nil {
			return err
		}
		if err := emit(ctx, s.next()); err != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// next is a batch of what was not shown in this run.
func (s *inbox) next() collectors.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(3, len(s.events)-s.shown)
	b := collectors.Batch{Events: append([]event.Raw(nil), s.events[s.shown:s.shown+n]...), Watermark: time.Now().Add(-time.Second)}
	if s.faults.lying {
		b.Watermark = time.Now().Add(time.Second)
	}
	s.shown += n
	forget := func(n int) { s.events, s.shown = s.events[n:], s.shown-n }
	if s.faults.eager {
		forget(n)
		return b
	}
	b.Done = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.faults.generous && s.shown < len(s.events) {
			n++
			s.shown++
		}
		forget(n)
	}
	return b
}

func newInbox(f inboxFaults) Harness {
	s := &inbox{faults: f}
	return Harness{
		Source: func() (collectors.Source, error) { return s, nil }, Spec: collectors.Spec{Quiet: time.Minute}, Put: s.put,
		Fail:    func(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.fails = n },
		Down:    func(down bool) { s.mu.Lock(); defer s.mu.Unlock(); s.down = down },
		Forgets: true,
	}
}

func TestGoodForgetfulSourcePasses(t *testing.T) {
	TestSource(t, func(*testing.T) Harness { return newInbox(inboxFaults{}) })
}

func TestBadForgetfulSourcesFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults inboxFaults
		check  func(context.Context, Harness) error
		says   string
	}{
		{"acknowledged before it is durable", inboxFaults{eager: true}, checkResume, "missing"},
		{"acknowledged before a kill", inboxFaults{eager: true}, checkKilled, "missing"},
		{"acknowledged with what came before", inboxFaults{generous: true}, checkResume, "missing"},
		{"the watermark lies", inboxFaults{lying: true}, checkPromises, "watermark"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := c.check(t.Context(), newInbox(c.faults))
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the check says %v; want %q", err, c.says)
				}
			})
		})
	}
}
