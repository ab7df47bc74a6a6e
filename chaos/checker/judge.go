package checker

import "fmt"

// Progress tells how far the run is. It is cheap.
func (c *Checker) Progress() Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.progress()
}

func (c *Checker) progress() Progress {
	p := Progress{Handed: c.handed, Collected: c.collected, Raw: c.raw.n, DeadStream: c.dead.n, Violations: c.found.count}
	for _, of := range c.providers.list {
		p.Dealt += of.dealt
		p.Normalized += of.events
		p.Dead += of.dead
	}
	return p
}

// Verdict judges everything that the Checker was told. It may be asked at any time; what is under way then is lost. A
// million events take it about a second.
func (c *Checker) Verdict() Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subs {
		s.settle(&c.found)
	}
	found := c.found.copy()
	places := c.judgeRaw(&found)
	c.judgeRepairs(&found)
	for name, l := range c.lanes {
		c.judgeLane(&found, name, l, places)
	}
	c.judgeClaims(&found, places)
	c.judgeNormalized(&found, places)
	c.judgeDead(&found)
	for _, s := range c.subs {
		s.judge(&found)
	}
	c.judgeReads(&found)
	c.judgePositions(&found)
	v := Verdict{Progress: c.progress(), Found: found.sorted()}
	v.Violations = found.count
	return v
}

// judgeRaw compares EVENTS_RAW with what was handed over. It returns where each entry is there first, plus one.
func (c *Checker) judgeRaw(found *findings) (places []uint32) {
	places = make([]uint32, c.entries.n)
	for i := range c.raw.n {
		r := c.raw.at(i)
		if _, is := c.repairs.raw[i]; is {
			continue // no news
		}
		e := c.entries.at(int(r.entry))
		switch {
		case places[r.entry] != 0:
			found.add(Twice, inRaw, func() string {
				return fmt.Sprintf("%s is message %d and message %d", c.id(r.entry), c.raw.at(int(places[r.entry])-1).sequence, r.sequence)
			})
			continue
		case !e.is(handedOver):
			found.add(Invented, inRaw, func() string {
				return fmt.Sprintf("%s, message %d, was never handed over", c.id(r.entry), r.sequence)
			})
		case r.body != e.body && !c.isOther(r):
			found.add(Altered, inRaw, func() string {
				return fmt.Sprintf("%s, message %d, has another body than was handed over", c.id(r.entry), r.sequence)
			})
		}
		places[r.entry] = uint32(i + 1)
	}
	for i := range c.entries.n {
		if e := c.entries.at(i); places[i] == 0 && e.is(handedOver) && !e.is(maybe) {
			found.add(Lost, inRaw, func() string { return c.id(uint32(i)) + " was handed over and is not there" })
		}
	}
	return places
}

// isOther tells whether a raw event has one of several bodies that were handed over.
func (c *Checker) isOther(r *rawRecord) bool {
	for _, body := range c.others[r.entry] {
		if body == r.body {
			return true
		}
	}
	return false
}

// lane has the events within which an order was promised.
type lane struct{ chunked[laneEvent] }

type laneEvent struct {
	entry  uint32
	window uint32 // with isLoose
}

const isLoose = 1 << 31

func (l *lane) add(entry uint32, window int, loose bool) {
	e := laneEvent{entry, uint32(window) &^ isLoose}
	if loose {
		e.window |= isLoose
	}
	l.chunked.add(e)
}

// judgeLane finds events that come behind what was handed over later: in a later window, or later in the same one unless
// that is loose.
func (c *Checker) judgeLane(found *findings, name string, l *lane, places []uint32) {
	latest := uint32(0) // the last place so far
	for from := 0; from < l.n; {
		window, loose, to := l.at(from).window&^isLoose, false, from
		for ; to < l.n && l.at(to).window&^isLoose == window; to++ {
			loose = loose || l.at(to).window&isLoose != 0
		}
		settled := latest // in the windows before
		for i := from; i < to; i++ {
			entry := l.at(i).entry
			at := places[entry]
			if at == 0 || c.entries.at(int(entry)).is(again) {
				continue
			}
			if limit := latest; at < settled || !loose && at < limit {
				if loose {
					limit = settled
				}
				found.add(OutOfOrder, inRaw, func() string {
					return fmt.Sprintf("%s, message %d, comes before message %d, which lane %s handed over earlier", c.id(entry),
						c.raw.at(int(at)-1).sequence, c.raw.at(int(limit)-1).sequence, name)
				})
			}
			latest = max(latest, at)
		}
		from = to
	}
}

// outcomes counts what became of a raw event.
type outcomes struct{ events, dead uint8 }

// judgeNormalized compares EVENTS_NORMALIZED with EVENTS_RAW.
func (c *Checker) judgeNormalized(found *findings, places []uint32) {
	became := make([]outcomes, c.raw.n)
	last := make([]uint32, len(c.providers.list)) // Evt-Raw-Seq
	near := make([]int, len(c.providers.list))
	again := map[int]made{} // of what redriven letters became
	for i := range c.norm.n {
		r := c.norm.at(i)
		p := c.sources.list[r.source].provider
		text := func(what string) func() string {
			return func() string { return fmt.Sprintf("message %d, %s, %s", r.sequence, c.id(r.entry), what) }
		}
		at, ok := c.origin(found, r, &near[p], places, text)
		if !ok {
			continue
		}
		raw := c.raw.at(at)
		if raw.sequence < last[p] {
			found.add(OutOfOrder, inNormalized, text(fmt.Sprintf("was made of raw message %d and comes behind what was made of %d",
				raw.sequence, last[p])))
		}
		last[p] = max(last[p], raw.sequence)
		c.judgeBody(found, r, raw, text)
		if what, is := c.repairs.raw[at]; is || c.repairs.marked[i] != 0 {
			if what.letter != c.repairs.marked[i] || what.drop {
				found.add(BadOrigin, inNormalized, text(fmt.Sprintf("says that it was dead letter %d; its raw event is about %d",
					c.repairs.marked[i], what.letter)))
			}
			of, has := again[at]
			if of.last = i; !has {
				of.first = i
			}
			again[at] = of
		}
		if o := &became[at]; r.is(isDead) {
			o.dead += min(1, 255-o.dead)
		} else {
			o.events += min(1, 255-o.events)
		}
	}
	for i := range became {
		what, is := c.repairs.raw[i]
		if is && what.drop {
			became[i].dead++ // it has to become nothing
		}
		c.judgeOutcomes(found, c.raw.at(i), became[i], is)
	}
	c.judgeStates(found, again)
}

// origin finds the raw event that a message was made of, and judges what the message says about it. ok is false if there
// is none.
func (c *Checker) origin(
	found *findings, r *normalizedRecord, near *int, places []uint32, text func(string) func() string,
) (at int, ok bool) {
	at, there := c.raw.find(r.raw, *near)
	*near = at
	if there {
		raw := c.raw.at(at)
		if e := c.entries.at(int(raw.entry)); raw.entry == r.entry || !e.is(handedOver) || e.events > 1 {
			if raw.source == r.source && raw.number == r.rawNumber {
				return at, true
			}
			found.add(BadOrigin, inNormalized, text(fmt.Sprintf("says that it was event %d of source %s; it was %d of %s", r.rawNumber,
				c.sources.list[r.source].name, raw.number, c.sources.list[raw.source].name)))
			return at, true
		}
	}
	first := places[r.entry]
	if first == 0 {
		found.add(Invented, inNormalized, text("has no raw event"))
		return 0, false
	}
	found.add(BadOrigin, inNormalized, text(fmt.Sprintf("says that it was made of raw message %d; its raw message is %d", r.raw,
		c.raw.at(int(first)-1).sequence)))
	return int(first) - 1, true
}

// judgeBody compares the body of an event or a dead letter with that of its raw event.
func (c *Checker) judgeBody(found *findings, r *normalizedRecord, raw *rawRecord, text func(string) func() string) {
	e := c.entries.at(int(raw.entry))
	switch {
	case r.is(isDead):
		if r.token != uint32(raw.body) {
			found.add(Altered, inNormalized, text(fmt.Sprintf("has another body than raw message %d", raw.sequence)))
		}
	case r.is(isOther):
		found.add(Altered, inNormalized, text("has the body of another event: its message_id is not ce-id"))
	case !r.is(isObject) && e.marker != 0 && r.token != e.marker:
		found.add(Altered, inNormalized, text("does not say what was handed over"))
	}
}

// judgeOutcomes judges what became of a raw event. That of one that repairs a letter is up to the converters of then.
func (c *Checker) judgeOutcomes(found *findings, raw *rawRecord, o outcomes, repairs bool) {
	e := c.entries.at(int(raw.entry))
	want := e.events
	if !e.is(handedOver) {
		want = max(o.events, 1)
	}
	text := func() string {
		return fmt.Sprintf("%s, raw message %d, became %d events and %d dead letters", c.id(raw.entry), raw.sequence, o.events, o.dead)
	}
	switch {
	case o.dead == 0 && o.events < want:
		found.add(Lost, inNormalized, text)
	case o.dead > 1 || o.events > want || o.dead > 0 && o.events > 0:
		found.add(Twice, inNormalized, text)
	}
	if e.is(handedOver) && !repairs && (o.dead > 0 && e.fate() == Normal || o.events > 0 && e.fate() == DeadLetter) {
		found.add(BadFate, inNormalized, text)
	}
}
