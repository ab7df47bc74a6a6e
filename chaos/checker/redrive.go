package checker

import (
	"encoding/json"
	"fmt"
)

// sourceRedrive is the source through which what is done about dead letters comes into EVENTS_RAW.
const sourceRedrive = "redrive"

// What is recorded of a letter.
const (
	stateRedriven = "redriven"
	stateDead     = "dead"
	stateDropped  = "dropped"
)

// repair is a raw event by which a dead letter is converted again, or dropped.
type repair struct {
	letter uint32
	drop   bool
}

// letterKey names a dead letter.
type letterKey struct {
	provider uint16
	number   uint32 // Evt-Seq
}

// letterState is a record of what became of a letter.
type letterState struct {
	letterKey
	state    string
	made     uint32 // Evt-Seq of what was made of it
	sequence uint32
}

// repairs are what was done about dead letters. There are few.
type repairs struct {
	raw    map[int]repair // by the record of the raw event
	marked map[int]uint32 // Evt-Redriven of records of EVENTS_NORMALIZED
	states []letterState  // of EVENTS_NORMALIZED
	copied []letterState  // of EVENTS_DEAD
}

func newRepairs() repairs { return repairs{raw: map[int]repair{}, marked: map[int]uint32{}} }

// repairOf reads what a raw event of the source says.
func repairOf(m *Message) (repair, bool) {
	again, drop := m.number(headerRedriven), m.number(headerDropped)
	letter, fits := small(max(again, drop))
	return repair{letter: letter, drop: drop != 0}, fits && letter != 0 && (again == 0) != (drop == 0)
}

// sourceOf is the source that an event says it is of: what was a dead letter is of the source that it came from first.
func sourceOf(m *Message) string {
	if first := m.header(headerOriginSource); first != "" && m.header(headerRawSource) == sourceRedrive {
		return first
	}
	return m.header(headerRawSource)
}

// state takes a record of what became of a dead letter.
func (c *Checker) state(last *uint64, where string, s subject, m Message) {
	var of struct {
		Letter uint64 `json:"letter"`
		State  string `json:"state"`
		Seq    uint64 `json:"seq"`
	}
	err := json.Unmarshal(m.Body, &of)
	letter, fits := small(of.Letter)
	made, madeFits := small(of.Seq)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.follows(last, where, m) {
		return
	}
	known := of.State == stateRedriven || of.State == stateDead || of.State == stateDropped
	if err != nil || letter == 0 || !fits || !madeFits || !known || (made == 0) != (of.State == stateDropped) {
		c.found.add(Malformed, where, func() string {
			return fmt.Sprintf("message %d on %s is no record of what became of a dead letter: %.200s", m.Sequence, m.Subject, m.Body)
		})
		return
	}
	record := letterState{letterKey{c.provider(s.provider), letter}, of.State, made, uint32(m.Sequence)}
	if where == inDead {
		c.repairs.copied = append(c.repairs.copied, record)
		return
	}
	c.repairs.states = append(c.repairs.states, record)
	if of.State == stateDropped {
		c.providers.list[record.provider].dealt++
	}
}

// judgeRepairs finds what was done about a letter more than once, about one that is none, or with something else than the letter.
func (c *Checker) judgeRepairs(found *findings) {
	letters := map[letterKey]int{}
	for i := range c.norm.n {
		if r := c.norm.at(i); r.is(isDead) {
			letters[letterKey{c.sources.list[r.source].provider, r.number}] = i
		}
	}
	redriven, dropped := map[letterKey]bool{}, map[letterKey]bool{}
	for i := range c.raw.n {
		what, is := c.repairs.raw[i]
		if !is {
			continue
		}
		r := c.raw.at(i)
		key := letterKey{c.sources.list[r.source].provider, what.letter}
		text := func(why string) func() string {
			return func() string {
				return fmt.Sprintf("%s, message %d, is to repair dead letter %d, %s", c.id(r.entry), r.sequence, what.letter, why)
			}
		}
		at, there := letters[key]
		switch {
		case !there:
			found.add(Invented, inRaw, text("which is none"))
		case redriven[key] || what.drop && dropped[key]:
			found.add(Twice, inRaw, text("about which something was done before"))
		case c.norm.at(at).entry != r.entry:
			found.add(Altered, inRaw, text("which is "+c.id(c.norm.at(at).entry)))
		case !what.drop && c.norm.at(at).token != uint32(r.body):
			found.add(Altered, inRaw, text("which has another body"))
		}
		if what.drop {
			dropped[key] = true
		} else {
			redriven[key] = true
		}
	}
}

// made is what a redriven letter became: its first message in EVENTS_NORMALIZED, and the last one.
type made struct{ first, last int }

// judgeStates compares the records of what became of letters with what did. became has what was made of which raw event.
func (c *Checker) judgeStates(found *findings, became map[int]made) {
	next := map[letterKey][]letterState{}
	for _, s := range c.repairs.states {
		next[s.letterKey] = append(next[s.letterKey], s)
	}
	for i := range c.raw.n {
		what, is := c.repairs.raw[i]
		if !is {
			continue
		}
		r := c.raw.at(i)
		key := letterKey{c.sources.list[r.source].provider, what.letter}
		of, isMade := became[i]
		if !isMade && !what.drop {
			continue // lost, and told
		}
		text := func(why string) func() string {
			return func() string { return fmt.Sprintf("dead letter %d, %s, %s", what.letter, c.id(r.entry), why) }
		}
		if len(next[key]) == 0 {
			found.add(Lost, inNormalized, text("has no record of what became of it"))
			continue
		}
		s := next[key][0]
		next[key] = next[key][1:]
		want, number, behind := stateDropped, uint32(0), s.sequence
		if !what.drop {
			first := c.norm.at(of.first)
			want, number, behind = stateRedriven, first.number, c.norm.at(of.last).sequence+1
			if first.is(isDead) {
				want = stateDead
			}
		}
		if s.state != want || s.made != number || s.sequence != behind {
			found.add(Altered, inNormalized, text(fmt.Sprintf("is recorded as %s, %d, in message %d; it is %s, %d, to be recorded in %d",
				s.state, s.made, s.sequence, want, number, behind)))
		}
	}
	for _, s := range c.repairs.states {
		if left := next[s.letterKey]; len(left) > 0 && left[0].sequence == s.sequence {
			next[s.letterKey] = left[1:]
			found.add(Invented, inNormalized, func() string {
				return fmt.Sprintf("message %d, that letter %d is %s: nothing was done about it", s.sequence, s.number, s.state)
			})
		}
	}
	c.judgeCopies(found)
}

// judgeCopies compares the records in EVENTS_DEAD with those of EVENTS_NORMALIZED.
func (c *Checker) judgeCopies(found *findings) {
	type what struct {
		letterKey
		state string
		made  uint32
	}
	count := map[what]int{}
	for _, s := range c.repairs.states {
		count[what{s.letterKey, s.state, s.made}]++
	}
	for _, s := range c.repairs.copied {
		key := what{s.letterKey, s.state, s.made}
		if count[key]--; count[key] < 0 {
			found.add(Invented, inDead, func() string {
				return fmt.Sprintf("message %d, that letter %d is %s, is not in EVENTS_NORMALIZED, or was there before", s.sequence,
					s.number, s.state)
			})
		}
	}
	for _, s := range c.repairs.states {
		key := what{s.letterKey, s.state, s.made}
		if count[key] > 0 {
			count[key]--
			found.add(Lost, inDead, func() string {
				return fmt.Sprintf("message %d of EVENTS_NORMALIZED, that letter %d is %s, is missing", s.sequence, s.number, s.state)
			})
		}
	}
}
