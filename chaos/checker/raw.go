package checker

import (
	"fmt"
	"sort"
	"time"
)

// rawLog has the events of EVENTS_RAW in their order.
type rawLog struct {
	chunked[rawRecord]
	last uint64 // the sequence of the last message, of whatever kind
}

type rawRecord struct {
	body     uint64 // sum
	entry    uint32
	sequence uint32
	number   uint32 // Evt-Seq
	source   uint16
}

// find returns where the record with a sequence is, or would be, looking from near on.
func (l *rawLog) find(sequence uint32, near int) (int, bool) {
	return search(l.n, near, sequence, func(i int) uint32 { return l.at(i).sequence })
}

// search finds a sequence among n that rise. They rise by one at least, so that what is looked for is no further away from
// near than its sequence is.
func search(n, near int, sequence uint32, at func(int) uint32) (int, bool) {
	if n == 0 {
		return 0, false
	}
	near = max(min(near, n-1), 0)
	have := at(near)
	low, high := near, min(near+int(sequence-have)+1, n)
	if sequence < have {
		low, high = max(near-int(have-sequence), 0), near
	}
	i := low + sort.Search(high-low, func(i int) bool { return at(low+i) >= sequence })
	return i, i < n && at(i) == sequence
}

// Raw takes a message of EVENTS_RAW, an event or a cursor.
func (c *Checker) Raw(m Message) {
	s := parseSubject(m.Subject)
	switch s.kind {
	case subjectRaw:
		c.rawEvent(s, m)
	case subjectRawCursor:
		r, err := parseRecord(m)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.follows(&c.raw.last, inRaw, m) {
			c.cursorInPlace(s, m, r, err)
		}
	case subjectChoice:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.follows(&c.raw.last, inRaw, m)
	default:
		c.misplaced(inRaw, &c.raw.last, m)
	}
}

func (c *Checker) rawEvent(s subject, m Message) {
	body, named := m.bodySum()
	number, fits := small(m.number(headerSeq))
	watermark, markErr := parseTime(m.header(headerWatermark))
	id := m.text(headerID)
	what, repairs := repair{}, s.source == sourceRedrive
	if repairs {
		var ok bool
		what, ok = repairOf(&m)
		named = named && ok
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.follows(&c.raw.last, inRaw, m) {
		return
	}
	if id == "" || number == 0 || !fits || !named || markErr != nil {
		c.found.add(Malformed, inRaw, func() string {
			return fmt.Sprintf("message %d on %s: Evt-Id %q, Evt-Seq %q, Evt-Watermark %q, Evt-Body-Object %q, Evt-Redriven %q, "+
				"Evt-Dropped %q", m.Sequence, m.Subject, id, m.header(headerSeq), m.header(headerWatermark), m.header(headerBodyObject),
				m.header(headerRedriven), m.header(headerDropped))
		})
	}
	at := c.entry(s.provider, id)
	e := c.entries.at(int(at))
	if !repairs && !e.is(collected) {
		e.flags |= collected
		if e.is(handedOver) && !e.is(maybe) {
			c.collected++
		}
	}
	n := c.source(s.provider, s.source)
	from := c.sources.list[n]
	c.next(&from.number, uint64(number), inRaw, m)
	c.raw.add(rawRecord{body: body, entry: at, sequence: uint32(m.Sequence), number: number, source: n})
	if repairs {
		c.repairs.raw[c.raw.n-1] = what
	}
	c.mention(m, objectUse{raw: true, record: c.raw.n - 1})
	if watermark.IsZero() {
		return
	}
	if watermark.Before(from.watermark) {
		c.found.add(BadCursor, inRaw, func() string {
			return fmt.Sprintf("message %d on %s has the watermark %s, one before it had %s", m.Sequence, m.Subject,
				show(watermark), show(from.watermark))
		})
	}
	if watermark.After(from.watermark) {
		from.watermark = watermark
		from.claims = append(from.claims, claim{watermark.UnixNano(), number, claimEvent})
	}
}

// follows tells whether a message comes behind the last one of its stream. Only such a message is taken.
func (c *Checker) follows(last *uint64, where string, m Message) bool {
	if _, fits := small(m.Sequence); m.Sequence <= *last || !fits {
		c.found.add(Regressed, where, func() string {
			return fmt.Sprintf("message %d comes behind message %d", m.Sequence, *last)
		})
		return false
	}
	*last = m.Sequence
	return true
}

// next checks a number, of which the last one is given.
func (c *Checker) next(last *uint64, number uint64, where string, m Message) {
	if number != *last+1 {
		was := *last
		c.found.add(BadNumber, where, func() string {
			return fmt.Sprintf("message %d on %s has Evt-Seq %d, the one before it has %d", m.Sequence, m.Subject, number, was)
		})
	}
	*last = number
}

// misplaced takes a message of which nobody knows what it is.
func (c *Checker) misplaced(where string, last *uint64, m Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last != nil && !c.follows(last, where, m) {
		return
	}
	c.found.add(Malformed, where, func() string {
		return fmt.Sprintf("message %d has the subject %q, which has no business here", m.Sequence, m.Subject)
	})
}

// parseTime reads a time that may be left out.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}

func show(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
