package collectors

import (
	"time"

	"stackstream/event"
)

// Hooks is how what happens here becomes metrics and health. Every function may be nil, must not block, and may be
// called from several goroutines at once.
type Hooks struct {
	// Status is called once per change of state or reason.
	Status func(event.Status)
	// Committed is called after each write, also one that moved the cursor only.
	Committed func(p event.Provider, s event.Source, c Commit)
	// Duplicates counts events that a source showed again and that were removed.
	Duplicates func(p event.Provider, s event.Source, n int)
	// Filtered counts events that a source left out by its filter.
	Filtered func(p event.Provider, s event.Source, n int)
	// Hashed counts events that came without an identity and got the hash of their body.
	Hashed func(p event.Provider, s event.Source, n int)
	// Failed is called each time a source's loop ended with an error.
	Failed func(p event.Provider, s event.Source, err error)
	// Beat says that a loop is alive and will say so again within the given time; 0 that it has ended and owes
	// nothing. Without a source it is about asking the sources whether they are available. What is overdue by far is
	// stuck, or waits for a source that ignores that it was told to end: only a restart of the process helps then.
	Beat func(p event.Provider, s event.Source, within time.Duration)
}

// Commit is one write of a loop.
type Commit struct {
	Events   int
	Bytes    int // of bodies
	Took     time.Duration
	Progress event.Progress
}

func (h Hooks) status(s event.Status) {
	if h.Status != nil {
		h.Status(s)
	}
}

func (h Hooks) committed(p event.Provider, s event.Source, c Commit) {
	if h.Committed != nil {
		h.Committed(p, s, c)
	}
}

func (h Hooks) failed(p event.Provider, s event.Source, err error) {
	if h.Failed != nil {
		h.Failed(p, s, err)
	}
}

func (h Hooks) beat(p event.Provider, s event.Source, within time.Duration) {
	if h.Beat != nil {
		h.Beat(p, s, within)
	}
}

// count calls one of the counting hooks, unless there is nothing to count.
func count(hook func(event.Provider, event.Source, int), p event.Provider, s event.Source, n int) {
	if hook != nil && n > 0 {
		hook(p, s, n)
	}
}
