package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stackstream/event"
)

// ErrNoGap says that nothing keeps the normalizer from going on.
var ErrNoGap = errors.New("there is no gap: the normalizer can go on")

// Mend is what has to become of a normalizer's cursor so that the normalizer can go on where RAW no longer holds what comes
// next, or is another one.
type Mend struct {
	// Found is why it can't: an error of the kind Expired or Regressed.
	Found error
	// Cursor is the cursor as it has to be.
	Cursor event.NormalizedCursor
	// Gaps are the raw events that will never be normalized.
	Gaps []event.RawGap
	// Again are the events that were normalized and that RAW has lost: their source may show them once more, under other
	// numbers, and nobody knows them again then.
	Again []event.RawGap
	// Ahead is how far ahead Gaps reach: they have what RAW still holds and would drop in that time, before the normalizer goes on.
	// 0 if nothing is about to be dropped.
	Ahead time.Duration
	// Replicated: the stream has replicas, and one that lags may look shorter than it is, for a while.
	Replicated bool
}

// Mend compares the normalizer's cursor of a provider with RAW. The error is ErrNoGap if nothing is wrong.
func (c *Client) Mend(ctx context.Context, p event.Provider) (Mend, error) {
	return c.mend(ctx, p, true)
}

// mend is Mend, which may leave out what becomes of another RAW.
func (c *Client) mend(ctx context.Context, p event.Provider, another bool) (Mend, error) {
	var m Mend
	from, err := c.Normalized().readNormalizedCursor(ctx, p)
	if err != nil {
		return m, err
	}
	if from.Sequence == 0 {
		return m, fmt.Errorf("nothing of %s was normalized yet: %w", p, ErrNoGap)
	}
	m.Cursor = from
	m.Cursor.Sources = maps.Clone(from.Sources)
	if m.Cursor.Sources == nil {
		m.Cursor.Sources = map[event.Source]event.SourcePosition{}
	}
	m.Found = c.Feed().Check(ctx, p, from)
	switch event.KindOf(m.Found) {
	case event.Regressed:
		if !another {
			return m, nil
		}
		return m, c.mendRegressed(ctx, p, &m)
	case event.Expired:
	default:
		if m.Found != nil {
			return m, m.Found
		}
	}
	if err := c.mendExpired(ctx, p, &m); err != nil {
		return m, err
	}
	if err := c.mendAhead(ctx, p, &m); err != nil {
		return m, err
	}
	switch {
	case len(m.Gaps) > 0 && m.Found == nil:
		g := m.Gaps[0]
		m.Found = expired("read "+event.RawSubjects(p), g.Source, g.From, g.To)
	case len(m.Gaps) == 0 && m.Found != nil:
		return m, fmt.Errorf("%w; what is gone lies behind events that are there: those can't be passed over", m.Found)
	case m.Found == nil:
		return m, ErrNoGap
	}
	return m, nil
}

// mendExpired moves each source to the event before the first one that is left.
func (c *Client) mendExpired(ctx context.Context, p event.Provider, m *Mend) error {
	cursors, err := c.Memory().Cursors(ctx, p)
	if err != nil {
		return err
	}
	for _, source := range slices.Sorted(maps.Keys(cursors)) {
		at, collected := m.Cursor.Sources[source], cursors[source]
		if collected.Position <= at.Position {
			continue
		}
		next, ok, err := c.nextRaw(ctx, p, source, m.Cursor.RawSeq, at.Position)
		if err != nil {
			return err
		}
		m.pass(source, collected, next, ok)
	}
	return nil
}

// pass moves a source to the event before next, or behind all that were collected if there is none.
func (m *Mend) pass(source event.Source, collected event.RawCursor, next event.StoredRaw, ok bool) {
	at := m.Cursor.Sources[source]
	gap := event.RawGap{Source: source, From: at.Position + 1, To: collected.Position, After: at.Received, Before: collected.Received}
	if ok {
		gap.To, gap.Before = next.Seq-1, next.Received
	} else {
		at.Received = collected.Received
	}
	if gap.To < gap.From {
		return
	}
	at.Position = gap.To
	m.Cursor.Sources[source] = at
	for i := range m.Gaps {
		if g := &m.Gaps[i]; g.Source == source {
			g.To, g.Before = gap.To, gap.Before
			return
		}
	}
	m.Gaps = append(m.Gaps, gap)
}

// mostAhead is more than a normalizer takes to notice that its cursor was mended, and to read what comes next.
const mostAhead = 30 * time.Second

// mendAhead also gives up what RAW is about to drop, where it has dropped something. Its oldest event is as old as it may get: without
// that the next ones would be gone before the normalizer gets to them, each time anew.
func (c *Client) mendAhead(ctx context.Context, p event.Provider, m *Mend) error {
	if len(m.Gaps) == 0 {
		return nil
	}
	handle, err := c.stream(ctx, event.StreamRaw)
	if err != nil {
		return err
	}
	info, err := infoOf(ctx, handle)
	if err != nil {
		return readError(ctx, "read "+event.StreamRaw, err)
	}
	age := info.Config.MaxAge
	if age == 0 {
		return nil
	}
	ahead := min(mostAhead, age/2)
	stays := info.TimeStamp.Add(ahead - age) // the server drops by its own clock, and ours may be wrong by hours
	cursors, err := c.Memory().Cursors(ctx, p)
	if err != nil {
		return err
	}
	for _, source := range slices.Sorted(maps.Keys(cursors)) {
		at, collected := m.Cursor.Sources[source].Position, cursors[source]
		if collected.Position <= at {
			continue
		}
		next, ok, err := c.nextRaw(ctx, p, source, m.Cursor.RawSeq, at)
		if err != nil {
			return err
		}
		if ok && next.StoredAt.Before(stays) {
			if next, ok, err = c.rawSince(ctx, p, source, stays, at); err != nil {
				return err
			}
			m.Ahead = ahead
		}
		m.pass(source, collected, next, ok)
	}
	slices.SortFunc(m.Gaps, func(a, b event.RawGap) int { return strings.Compare(string(a.Source), string(b.Source)) })
	return nil
}

// rawSince returns the first raw event of a source that was stored no earlier than a time.
func (c *Client) rawSince(ctx context.Context, p event.Provider, s event.Source, since time.Time, after event.Seq) (
	raw event.StoredRaw, ok bool, err error,
) {
	found, err := c.headers(ctx, event.RawSubject(p, s), Bound{Time: since})
	if err != nil {
		return raw, false, readError(ctx, "read "+event.RawSubject(p, s), err)
	}
	for _, m := range found {
		if raw, err := event.ParseRaw(m); err == nil && raw.Seq > after {
			return raw, true, nil
		}
	}
	if len(found) == 0 {
		return raw, false, nil
	}
	return c.nextRaw(ctx, p, s, found[len(found)-1].Sequence, after)
}

// nextRaw returns the first raw event of a source behind a sequence and a number.
func (c *Client) nextRaw(ctx context.Context, p event.Provider, s event.Source, behind event.StreamSeq, after event.Seq) (
	raw event.StoredRaw, ok bool, err error,
) {
	for {
		m, ok, err := c.Raw().firstFrom(ctx, event.RawSubject(p, s), behind+1)
		if err != nil || !ok {
			return raw, false, err
		}
		raw, err := event.ParseRaw(m)
		if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
			return raw, false, err
		}
		if err == nil && raw.Seq > after {
			return raw, true, nil
		}
		behind = m.Sequence // not one of ours, or dealt with
	}
}

// taking is what was found of a source in a RAW that is another one, or has lost its end.
type taking struct {
	last event.Seq   // the last event that was there when the source was normalized
	next *event.Seen // the first one that came later
}

// mendRegressed takes over another RAW. What has the number of an event that was normalized, and was received no later than the
// last of these, is what was there before; all else is new, whatever its number.
func (c *Client) mendRegressed(ctx context.Context, p event.Provider, m *Mend) error {
	cursors, err := c.Memory().Cursors(ctx, p)
	if err != nil {
		return err
	}
	info, err := c.streamInfo(ctx, event.StreamRaw, event.RawSubjects(p))
	if err != nil {
		return err
	}
	m.Replicated = info.Cluster != nil && len(info.Cluster.Replicas) > 0
	found := map[event.Source]*taking{}
	for _, source := range slices.Concat(slices.Collect(maps.Keys(cursors)), slices.Collect(maps.Keys(m.Cursor.Sources))) {
		found[source] = &taking{}
	}
	err = c.Memory().Identities(ctx, p, 0, 0, func(e event.Seen) { m.saw(found, e) })
	if err != nil {
		return err
	}
	anew := !m.Cursor.RawCreated.Equal(info.Created)
	m.Cursor.RawCreated, m.Cursor.RawSeq = info.Created, event.StreamSeq(info.State.LastSeq)
	for _, source := range slices.Sorted(maps.Keys(found)) {
		t := found[source]
		m.take(source, t, cursors[source], anew)
		if t.next != nil {
			m.Cursor.RawSeq = min(m.Cursor.RawSeq, t.next.Sequence-1)
		}
	}
	return nil
}

// saw takes notice of an event of another RAW, in the order of the stream.
func (m *Mend) saw(found map[event.Source]*taking, e event.Seen) {
	t, at := found[e.Source], m.Cursor.Sources[e.Source]
	if t == nil {
		t = &taking{}
		found[e.Source] = t
	}
	switch {
	case t.next != nil:
	case e.Seq > at.Position || e.Received.After(at.Received):
		t.next = &e
	default:
		t.last = max(t.last, e.Seq)
	}
}

// take moves a source to where it goes on in another RAW.
func (m *Mend) take(source event.Source, t *taking, collected event.RawCursor, anew bool) {
	at, had := m.Cursor.Sources[source]
	done, to, before := at.Position, collected.Position, collected.Received
	if t.next != nil {
		to, before = t.next.Seq-1, t.next.Received
	}
	held := done
	if anew && t.last == 0 && to < done {
		held = 0 // its numbers began anew, too
	}
	if to > held {
		m.Gaps = append(m.Gaps, event.RawGap{Source: source, From: held + 1, To: to, After: at.Received, Before: before})
	}
	if lost := min(to, held); lost < done {
		m.Again = append(m.Again, event.RawGap{Source: source, From: lost + 1, To: done, Before: at.Received})
	}
	if at.Position = to; had || to > 0 {
		m.Cursor.Sources[source] = at
	}
}

// LooksShorter tells whether RAW still looks as if it had been made anew or had lost its end.
func (c *Client) LooksShorter(ctx context.Context, p event.Provider) (bool, error) {
	from, err := c.Normalized().readNormalizedCursor(ctx, p)
	if err != nil {
		return false, err
	}
	err = c.Feed().Check(ctx, p, from)
	switch event.KindOf(err) {
	case event.Regressed:
		return true, nil
	case event.Expired, 0:
		return false, nil
	default:
		return false, err
	}
}

// Believed is for how long RAW has to look shorter than it was until that is believed of one with replicas.
const Believed = 30 * time.Second
