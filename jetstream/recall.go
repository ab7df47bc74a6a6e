package jetstream

import (
	"context"
	"time"

	"stackstream/event"
)

// Recall is what RAW holds of a provider that a source may show again when it reads from a time on.
type Recall struct {
	// From is the first event that is not older than the time, or that has none. If there is none it is where one would be that
	// came since.
	From event.StreamSeq
	// Events is how many the source itself collected that are not older than the time.
	Events uint64
	// Timeless is how many have no time, of whatever source, and Deep how many events there are from the first of them on.
	Timeless, Deep uint64
	// Gone is how many events RAW had and has no longer. First is when the oldest that is left was stored, zero if none is.
	Gone  uint64
	First time.Time
	// Newest is when the last one was received.
	Newest time.Time
	// Keeps is how long RAW keeps events.
	Keeps time.Duration
}

// Recall reads the identities of a provider, without keeping them.
func (c *Client) Recall(ctx context.Context, p event.Provider, s event.Source, to time.Time) (Recall, error) {
	var r Recall
	var err error
	memory := c.Memory()
	cursors, err := memory.Cursors(ctx, p)
	if err != nil {
		return r, err
	}
	info, err := c.streamInfo(ctx, event.StreamRaw, event.RawSubjects(p))
	if err != nil {
		return r, err
	}
	r.Keeps = info.Config.MaxAge
	var upTo event.StreamSeq
	for source, cursor := range cursors {
		upTo = max(upTo, cursor.Sequence)
		if held := info.State.Subjects[event.RawSubject(p, source)]; held < uint64(cursor.Position) {
			r.Gone += uint64(cursor.Position) - held
		}
		if cursor.Received.After(r.Newest) {
			r.Newest = cursor.Received
		}
	}
	oldest, ok, err := c.Raw().firstFrom(ctx, event.RawSubjects(p), 0)
	if err != nil {
		return r, err
	}
	if ok {
		r.First = oldest.Time
	}
	err = memory.Identities(ctx, p, 0, upTo, func(e event.Seen) {
		if e.Time.IsZero() {
			r.Timeless++
		}
		if r.Timeless > 0 {
			r.Deep++
		}
		if !e.Time.IsZero() && e.Time.Before(to) {
			return
		}
		if r.From == 0 {
			r.From = e.Sequence
		}
		if e.Source == s && !e.Time.IsZero() {
			r.Events++
		}
	})
	if r.From == 0 {
		r.From = upTo + 1
	}
	return r, err
}

// soonGone is how long before RAW drops an event it does not count as held: reading it again takes time.
const soonGone = time.Hour

// Since is the earliest time to which a source may be rewound so that nothing comes twice: RAW holds, and will for a while,
// every event that is not older. An event is not younger than the moment it was stored, unless its time lay in the future.
// The zero time means that RAW holds all there ever was.
func (r Recall) Since(now time.Time) time.Time {
	var since time.Time
	if r.Gone > 0 {
		since = r.First
		if since.IsZero() {
			since = r.Newest
		}
	}
	if r.Keeps > 0 && !r.First.IsZero() {
		if soon := now.Add(min(soonGone, r.Keeps/10) - r.Keeps); soon.After(r.First) && soon.After(since) {
			since = soon
		}
	}
	return since
}
