package checker

import "fmt"

// deadLog has the dead letters of EVENTS_DEAD in their order.
type deadLog struct {
	chunked[deadRecord]
	last uint64
}

type deadRecord struct {
	sequence uint32
	number   uint32 // Evt-Seq
	mark     uint32
	entry    uint32
}

// Dead takes a message of EVENTS_DEAD. It holds the dead letters of EVENTS_NORMALIZED, each once and in order.
func (c *Checker) Dead(m Message) {
	s := parseSubject(m.Subject)
	switch s.kind {
	case subjectDead:
	case subjectDeadState:
		c.state(&c.dead.last, inDead, s, m)
		return
	default:
		c.misplaced(inDead, &c.dead.last, m)
		return
	}
	mark := c.mark(&m)
	number, _ := small(m.number(headerSeq))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.follows(&c.dead.last, inDead, m) {
		return
	}
	c.dead.add(deadRecord{sequence: uint32(m.Sequence), number: number, mark: mark, entry: c.entry(s.provider, m.text(headerID))})
}

// judgeDead compares EVENTS_DEAD with the dead letters of EVENTS_NORMALIZED.
func (c *Checker) judgeDead(found *findings) {
	type key struct {
		provider uint16
		number   uint32
	}
	want := map[key]int{}
	for i := range c.norm.n {
		if r := c.norm.at(i); r.is(isDead) {
			want[key{c.sources.list[r.source].provider, r.number}] = i
		}
	}
	seen := map[key]bool{}
	last := map[uint16]uint32{}
	for i := range c.dead.n {
		d := c.dead.at(i)
		k := key{c.entries.at(int(d.entry)).provider, d.number}
		text := func(what string) func() string {
			return func() string { return fmt.Sprintf("message %d, %s, %s", d.sequence, c.id(d.entry), what) }
		}
		at, known := want[k]
		switch {
		case !known:
			found.add(Invented, inDead, text("is not in EVENTS_NORMALIZED"))
			continue
		case seen[k]:
			found.add(Twice, inDead, text("was there before"))
			continue
		case d.mark != c.norm.at(at).mark:
			found.add(Altered, inDead, text(fmt.Sprintf("is not what message %d of EVENTS_NORMALIZED is", c.norm.at(at).sequence)))
		case d.number < last[k.provider]:
			found.add(OutOfOrder, inDead, text("comes behind a later one"))
		}
		seen[k] = true
		last[k.provider] = max(last[k.provider], d.number)
	}
	for i := range c.norm.n {
		r := c.norm.at(i)
		if r.is(isDead) && !seen[key{c.sources.list[r.source].provider, r.number}] {
			found.add(Lost, inDead, func() string {
				return fmt.Sprintf("%s, message %d of EVENTS_NORMALIZED, is missing", c.id(r.entry), r.sequence)
			})
		}
	}
}
