package normalizer

import (
	"errors"
	"time"

	"stackstream/event"
)

// Hooks are told what the service does, for metrics and readiness. Any of them may be nil. They are called by several
// goroutines at once and must not block.
type Hooks struct {
	// Status is called when a provider's state or its reason changes.
	Status func(event.Status)
	// Normalized is called after each commit: how many events and dead letters it has, and how long it took.
	Normalized func(p event.Provider, events, dead int, took time.Duration)
	// Lag is called after each commit with the time that the last raw event of it had been in RAW.
	Lag func(p event.Provider, lag time.Duration)
	// DeadLetter is called after the commit for each dead letter of it.
	DeadLetter func(p event.Provider, reason event.Reason)
	// Redacted is called after the commit with the number of fields of it whose value was redacted, if there are any.
	Redacted func(p event.Provider, fields int)
	// Skipped is called for raw events that were handed over although they had been dealt with before.
	Skipped func(p event.Provider, events int)
	// SequenceGap is called when raw events are found missing, each time they are found missing again. Where the Feed
	// found it, the source is empty and the numbers are 0; the reason of the Status that follows says more.
	SequenceGap func(p event.Provider, s event.Source, expected, found event.Seq)
	// Fenced is called when another writer turned out to work for the provider too.
	Fenced func(p event.Provider)
	// Beat is called every BeatEvery for as long as the provider's loop is alive: also while it waits, backs off or is
	// stopped, but not while a converter does not come back from one event.
	Beat func(p event.Provider)
}

func (h *Hooks) status(s event.Status) {
	if h.Status != nil {
		h.Status(s)
	}
}

// committed reports what has become durable.
func (h *Hooks) committed(p event.Provider, b batch, took time.Duration, lag time.Duration) {
	events, dead, redacted := 0, 0, 0
	for i := range b.outcomes {
		o := &b.outcomes[i]
		events += len(o.Events)
		redacted += o.Redacted
		if o.Dead == nil {
			continue
		}
		dead++
		if h.DeadLetter != nil {
			h.DeadLetter(p, o.Dead.Reason)
		}
	}
	if h.Normalized != nil {
		h.Normalized(p, events, dead, took)
	}
	if h.Redacted != nil && redacted > 0 {
		h.Redacted(p, redacted)
	}
	if h.Lag != nil {
		h.Lag(p, lag)
	}
}

func (h *Hooks) skipped(p event.Provider, n int) {
	if h.Skipped != nil && n > 0 {
		h.Skipped(p, n)
	}
}

func (h *Hooks) sequenceGap(p event.Provider, err error) {
	if h.SequenceGap == nil {
		return
	}
	var g gapError
	errors.As(err, &g)
	h.SequenceGap(p, g.source, g.expected, g.found)
}

func (h *Hooks) fenced(p event.Provider) {
	if h.Fenced != nil {
		h.Fenced(p)
	}
}
