package backfill

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"stackstream/event"
)

// astray is by how much the time of an event may differ between what the streams have and what the service shows: more than any
// clock or zone is wrong by.
const astray = 24 * time.Hour

// identity is an id in constant space; two that share the first 128 bits of their SHA-256 are not expected to exist.
type identity [16]byte

func identityOf(id event.ID) identity {
	sum := sha256.Sum256([]byte(event.BoundID(id)))
	return identity(sum[:16])
}

// mark says what is known of an identity.
type mark uint8

const (
	streams mark = iota // the streams have it
	shown               // and the service has shown it
)

// held are the identities that must not be added: what the streams have and may come again, and what was handed over.
type held struct {
	marks  map[identity]mark
	source event.Source // of the job
	base   event.Seq    // its last event before the job began
	from   time.Time    // of the range
	to     time.Time

	raw   uint64          // events of the range in RAW
	older uint64          // and such as RAW has dropped
	upTo  event.StreamSeq // RAW is read up to here
	own   event.Seq       // the last number of the job's own events
	given event.GivenUp   // what RAW has in vain
}

// take takes an identity that the streams have, and tells whether it is of the range.
func (h *held) take(e event.Seen) bool {
	if !e.Time.IsZero() && (e.Time.Before(h.from.Add(-astray)) || !e.Time.Before(h.to.Add(astray))) {
		return false
	}
	id := identityOf(e.ID)
	if _, known := h.marks[id]; known {
		return false
	}
	m := streams
	if e.Source == h.source && e.Seq > h.base {
		m = shown // it was counted then
	}
	h.marks[id] = m
	return !e.Time.Before(h.from) && e.Time.Before(h.to)
}

// hold reads what the streams have. upTo is known to be in RAW.
func (j *Job) hold(ctx context.Context, o *Outlook, upTo event.StreamSeq) error {
	h := &held{marks: map[identity]mark{}, source: j.source, base: o.base, from: j.From, to: j.To, given: o.given}
	if err := h.readRaw(ctx, j, 0, upTo); err != nil {
		return err
	}
	// RAW first: what it drops meanwhile was read.
	err := j.Deps.Archive.Identities(ctx, j.Provider, j.From.Add(-astray), func(e event.Seen) {
		if h.take(e) {
			h.older++
		}
	})
	if err != nil {
		return fmt.Errorf("read what RAW has dropped: %w", err)
	}
	j.held = h
	return nil
}

// readRaw reads RAW from a sequence on.
func (h *held) readRaw(ctx context.Context, j *Job, from, upTo event.StreamSeq) error {
	err := j.Deps.Memory.Identities(ctx, j.Provider, from, upTo, func(e event.Seen) {
		h.upTo = e.Sequence
		if e.Source == h.source {
			h.own = max(h.own, e.Seq)
		}
		if !h.given.Has(e.Source, e.Seq) && h.take(e) {
			h.raw++
		}
	})
	if err != nil {
		return fmt.Errorf("read the identities in RAW: %w", err)
	}
	h.upTo = max(h.upTo, upTo)
	return nil
}
