package checker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// record is a cursor: of a source in EVENTS_RAW, or of a provider in EVENTS_NORMALIZED.
type record struct {
	Position  uint64    `json:"position"`
	Watermark time.Time `json:"watermark"`
	// Of a provider.
	RawSeq     uint64              `json:"raw_seq"`
	RawCreated time.Time           `json:"raw_created"`
	Sources    map[string]position `json:"sources"`

	sequence uint64
}

type position struct {
	Position  uint64    `json:"position"`
	Watermark time.Time `json:"watermark"`
}

func parseRecord(m Message) (record, error) {
	r := record{sequence: m.Sequence}
	return r, json.Unmarshal(m.Body, &r)
}

// behind says in what r is behind an earlier record, "" if in nothing. None of it ever moves back.
func (r *record) behind(earlier *record) string {
	switch {
	case r.Position < earlier.Position:
		return fmt.Sprintf("position %d, was %d", r.Position, earlier.Position)
	case r.Watermark.Before(earlier.Watermark):
		return fmt.Sprintf("watermark %s, was %s", show(r.Watermark), show(earlier.Watermark))
	case r.RawSeq < earlier.RawSeq:
		return fmt.Sprintf("raw_seq %d, was %d", r.RawSeq, earlier.RawSeq)
	case !earlier.RawCreated.IsZero() && !r.RawCreated.Equal(earlier.RawCreated):
		return fmt.Sprintf("raw_created %s, was %s", show(r.RawCreated), show(earlier.RawCreated))
	}
	for _, name := range slices.Sorted(maps.Keys(earlier.Sources)) {
		now, was := r.Sources[name], earlier.Sources[name]
		if now.Position < was.Position || now.Watermark.Before(was.Watermark) {
			return fmt.Sprintf("source %s at %d with watermark %s, was at %d with %s", name, now.Position, show(now.Watermark),
				was.Position, show(was.Watermark))
		}
	}
	return ""
}

// unlike says what an event before the record is that the record does not agree with.
func (r *record) unlike(number, raw uint64) string {
	return fmt.Sprintf("position %d and raw_seq %d; the last event before it has Evt-Seq %d and Evt-Raw-Seq %d", r.Position, r.RawSeq,
		number, raw)
}

// claim is a watermark: everything that was handed over before it is among the events up to a number.
type claim struct {
	at     int64 // in ns
	number uint32
	by     claimBy
}

type claimBy uint8

const (
	claimEvent claimBy = iota
	claimCursor
	claimNormalized
)

func (b claimBy) where() string {
	if b == claimNormalized {
		return inNormalized
	}
	return inRaw
}

func (b claimBy) String() string {
	switch b {
	case claimEvent:
		return "the event"
	case claimCursor:
		return "the cursor of the source"
	default:
		return "the provider's cursor in NORMALIZED"
	}
}

// cursorRead is a record that was read outside of its stream's order.
type cursorRead struct {
	record
	of subject
}

// Cursor takes the last message of a cursor's subject, as it was read at some time, from whichever server. It may be older
// than one that was taken before.
func (c *Checker) Cursor(m Message) {
	s := parseSubject(m.Subject)
	if s.kind != subjectRawCursor && s.kind != subjectNormalizedCursor {
		c.misplaced("cursor", nil, m)
		return
	}
	r, err := parseRecord(m)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn(s, m, r, err) {
		c.reads = append(c.reads, cursorRead{r, s})
	}
}

// cursorInPlace takes a cursor between the messages of its stream: it stands behind the events that it speaks of.
func (c *Checker) cursorInPlace(s subject, m Message, r record, err error) {
	if !c.turn(s, m, r, err) && err != nil {
		return
	}
	number, raw := uint64(0), uint64(0)
	if s.kind == subjectRawCursor {
		number = c.sources.list[c.source(s.provider, s.source)].number
	} else {
		p := c.providers.list[c.provider(s.provider)]
		number, raw = p.number, p.raw
	}
	if r.Position != number || r.RawSeq < raw {
		c.found.add(BadCursor, s.where(), func() string {
			return fmt.Sprintf("message %d on %s: %s", m.Sequence, m.Subject, r.unlike(number, raw))
		})
	}
}

func (s subject) where() string {
	if s.kind == subjectNormalizedCursor {
		return inNormalized
	}
	return inRaw
}

// turn compares a cursor with the newest one that is known of its subject, and takes its watermarks. It returns false for
// one that says nothing new.
func (c *Checker) turn(s subject, m Message, r record, err error) bool {
	if err != nil || !fitAll(&r) {
		c.found.add(Malformed, s.where(), func() string {
			return fmt.Sprintf("message %d on %s can't be read: %v", m.Sequence, m.Subject, err)
		})
		return false
	}
	newest := &c.providers.list[c.provider(s.provider)].cursor
	if s.kind == subjectRawCursor {
		newest = &c.sources.list[c.source(s.provider, s.source)].cursor
	}
	if newest.sequence == 0 {
		*newest = r
		c.claims(s, &r)
		return true
	}
	earlier, later := newest, &r
	if r.sequence < newest.sequence {
		earlier, later = &r, newest
	}
	back := later.behind(earlier)
	if r.sequence == newest.sequence && back == "" {
		back = earlier.behind(later)
	}
	if back != "" {
		c.found.add(BadCursor, s.where(), func() string {
			return fmt.Sprintf("%s moved back between message %d and message %d: %s", m.Subject, earlier.sequence, later.sequence, back)
		})
	}
	if r.sequence == newest.sequence {
		return false
	}
	c.claims(s, &r)
	if r.sequence < newest.sequence {
		return false
	}
	*newest = r
	return true
}

func fitAll(r *record) bool {
	_, position := small(r.Position)
	_, raw := small(r.RawSeq)
	for _, s := range r.Sources {
		if _, fits := small(s.Position); !fits {
			return false
		}
	}
	return position && raw
}

// claims keeps what a cursor says about time.
func (c *Checker) claims(s subject, r *record) {
	if s.kind == subjectRawCursor {
		c.claim(s.provider, s.source, r.Watermark, r.Position, claimCursor)
		return
	}
	for name, at := range r.Sources {
		c.claim(s.provider, name, at.Watermark, at.Position, claimNormalized)
	}
}

// claim keeps one, unless the last one of its kind says as much.
func (c *Checker) claim(provider, name string, watermark time.Time, number uint64, by claimBy) {
	if watermark.IsZero() {
		return
	}
	s := c.sources.list[c.source(provider, name)]
	next := claim{watermark.UnixNano(), uint32(number), by}
	if last := s.last[by]; last.at == next.at && last.number <= next.number {
		return
	}
	s.last[by] = next
	s.claims = append(s.claims, next)
}

// judgeReads compares the cursors that were read with what their streams hold before them. What comes behind the last
// message that was seen of a stream can't be judged.
func (c *Checker) judgeReads(found *findings) {
	slices.SortStableFunc(c.reads, func(a, b cursorRead) int { return cmp.Compare(a.sequence, b.sequence) })
	numbers, at := make([]uint32, len(c.sources.list)), 0
	raws, seen := make([]uint32, len(c.providers.list)), make([]uint32, len(c.providers.list))
	norm := 0
	for i := range c.reads {
		r := &c.reads[i]
		last, raw := uint32(0), uint32(0)
		if r.of.kind == subjectRawCursor {
			if r.sequence > c.raw.last {
				continue
			}
			for ; at < c.raw.n && uint64(c.raw.at(at).sequence) < r.sequence; at++ {
				numbers[c.raw.at(at).source] = c.raw.at(at).number
			}
			last = numbers[c.source(r.of.provider, r.of.source)]
		} else {
			if r.sequence > c.norm.last {
				continue
			}
			for ; norm < c.norm.n && uint64(c.norm.at(norm).sequence) < r.sequence; norm++ {
				n := c.norm.at(norm)
				p := c.sources.list[n.source].provider
				seen[p], raws[p] = n.number, n.raw
			}
			p := c.provider(r.of.provider)
			last, raw = seen[p], raws[p]
		}
		if r.Position != uint64(last) || r.RawSeq < uint64(raw) {
			found.add(BadCursor, r.of.where(), func() string {
				return fmt.Sprintf("message %d, the cursor of %s %s: %s", r.sequence, r.of.provider, r.of.source,
					r.unlike(uint64(last), uint64(raw)))
			})
		}
	}
}

// judgePositions compares how far the newest cursor of each provider says that its sources are normalized with where their
// events are in EVENTS_RAW.
func (c *Checker) judgePositions(found *findings) {
	for _, p := range c.providers.list {
		if p.cursor.sequence == 0 || p.cursor.RawSeq > c.raw.last {
			continue
		}
		numbers := map[string]uint32{}
		end, there := c.raw.find(uint32(p.cursor.RawSeq), 0)
		if there {
			end++
		}
		for i := range end {
			r := c.raw.at(i)
			if s := c.sources.list[r.source]; c.providers.list[s.provider] == p {
				numbers[s.name] = r.number
			}
		}
		for _, name := range slices.Sorted(maps.Keys(numbers)) {
			if said := p.cursor.Sources[name].Position; said != uint64(numbers[name]) {
				found.add(BadCursor, inNormalized, func() string {
					return fmt.Sprintf("message %d, the cursor of %s, says that source %s is at %d; raw_seq %d is behind event %d of it",
						p.cursor.sequence, p.name, name, said, p.cursor.RawSeq, numbers[name])
				})
			}
		}
	}
}

// judgeClaims finds watermarks behind which something was collected that had been handed over before.
func (c *Checker) judgeClaims(found *findings, places []uint32) {
	type sorted struct {
		claims []claim
		// furthest is the record of the highest number among the events that were confirmed before a claim and not before
		// the one in front of it, plus one.
		furthest []int
	}
	all := make([]sorted, len(c.sources.list))
	for i, s := range c.sources.list {
		claims := slices.SortedFunc(slices.Values(s.claims), func(a, b claim) int { return cmp.Compare(a.at, b.at) })
		all[i] = sorted{claims, make([]int, len(claims))}
	}
	for i := range c.raw.n {
		r := c.raw.at(i)
		e, s := c.entries.at(int(r.entry)), &all[r.source]
		if !e.is(handedOver) || e.confirmed == 0 || places[r.entry] != uint32(i+1) {
			continue
		}
		first, _ := slices.BinarySearchFunc(s.claims, e.confirmed, func(k claim, at int64) int {
			if k.at <= at {
				return -1
			}
			return 1
		})
		if first < len(s.claims) && (s.furthest[first] == 0 || c.raw.at(s.furthest[first]-1).number < r.number) {
			s.furthest[first] = i + 1
		}
	}
	for source, s := range all {
		furthest := 0
		for i, k := range s.claims {
			if f := s.furthest[i]; f > 0 && (furthest == 0 || c.raw.at(furthest-1).number < c.raw.at(f-1).number) {
				furthest = f
			}
			if furthest == 0 || c.raw.at(furthest-1).number <= k.number {
				continue
			}
			r := c.raw.at(furthest - 1)
			found.add(BadWatermark, k.by.where(), func() string {
				return fmt.Sprintf("%s with number %d of %s says that all is there up to %s; %s was handed over at %s and has number %d",
					k.by, k.number, c.sources.list[source].name, show(time.Unix(0, k.at)), c.id(r.entry),
					show(time.Unix(0, c.entries.at(int(r.entry)).confirmed)), r.number)
			})
		}
	}
}
