package backfill

import (
	"time"

	"stackstream/event"
)

// Held is what a job holds, for tests.
type Held struct{ h *held }

// NewHeld holds nothing yet of a range.
func NewHeld(from, to time.Time) *Held {
	return &Held{&held{marks: map[identity]mark{}, from: from, to: to}}
}

// Take takes an identity.
func (h *Held) Take(e event.Seen) { h.h.take(e) }
