package app

import (
	"context"
	"sync"
	"time"

	"stackstream/event"
)

const (
	// startsAtOnce is how many parts may begin at once.
	startsAtOnce = 16
	// startsWithin is for how long one that begins may keep others waiting.
	startsWithin = 250 * time.Millisecond
)

// starts has many parts begin in turn, each as soon as one before it is at work, or says why it is not. What a thousand take that
// begin at once stays with the process: their stacks have grown, and what they keep lies among what they have dropped. To begin takes
// processor time, as a rule, so that all of them are at work no later. One that has to wait, for a service or a lease, keeps its place
// for a moment only. It is safe for concurrent use.
type starts struct {
	places chan struct{}
	within time.Duration
	waits  func(part) // is told of each that is to begin, before its turn has come

	mu    sync.Mutex
	under map[part]*time.Timer // parts that begin; no source is named
}

func newStarts(atOnce int, within time.Duration, waits func(part)) *starts {
	return &starts{places: make(chan struct{}, atOnce), within: within, waits: waits, under: map[part]*time.Timer{}}
}

// begin waits until the part may begin, or ctx ends.
func (s *starts) begin(ctx context.Context, p part) {
	s.begun(p) // by the one before it
	if ctx.Err() != nil {
		return
	}
	s.waits(p)
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under[p] = time.AfterFunc(s.within, func() { s.begun(p) })
}

// begun says that a part has begun.
func (s *starts) begun(p part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	timer, begins := s.under[p]
	if !begins {
		return
	}
	timer.Stop()
	delete(s.under, p)
	<-s.places
}

// status takes what a part says of itself. A collector has chosen a source before that one is at work.
func (s *starts) status(of event.Status) {
	choosing := of.Role == event.RoleCollector && of.Source == "" && of.State == event.StateLive
	if of.State != event.StateStarting && !choosing {
		s.begun(part{role: of.Role, provider: of.Provider})
	}
}
