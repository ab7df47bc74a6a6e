package checker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// normalizedLog has the events and dead letters of EVENTS_NORMALIZED in their order.
type normalizedLog struct {
	chunked[normalizedRecord]
	last uint64
}

type normalizedRecord struct {
	sequence  uint32
	number    uint32 // Evt-Seq
	raw       uint32 // Evt-Raw-Seq
	rawNumber uint32 // Evt-Raw-Evt-Seq
	entry     uint32
	mark      uint32
	// token is that of an event's body, or of a dead letter the end of the body's sum.
	token  uint32
	source uint16
	flags  uint16
}

const (
	isDead   = 1 << iota
	isOther  // the body is that of another event
	isObject // the body is in an object
)

func (r *normalizedRecord) is(flags uint16) bool { return r.flags&flags != 0 }

// find is as that of rawLog.
func (l *normalizedLog) find(sequence uint32, near int) (int, bool) {
	return search(l.n, near, sequence, func(i int) uint32 { return l.at(i).sequence })
}

// Normalized takes a message of EVENTS_NORMALIZED: an event, a dead letter, or a cursor.
func (c *Checker) Normalized(m Message) {
	s := parseSubject(m.Subject)
	switch s.kind {
	case subjectNormalized, subjectDead:
		c.outcome(s, m)
	case subjectNormalizedCursor:
		r, err := parseRecord(m)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.follows(&c.norm.last, inNormalized, m) {
			c.cursorInPlace(s, m, r, err)
		}
	case subjectDeadState:
		c.state(&c.norm.last, inNormalized, s, m)
	default:
		c.misplaced(inNormalized, &c.norm.last, m)
	}
}

// outcome takes what became of a raw event.
func (c *Checker) outcome(s subject, m Message) {
	r := normalizedRecord{mark: c.mark(&m)}
	number, fits := small(m.number(headerSeq))
	raw, rawFits := small(m.number(headerRawSeq))
	rawNumber, rawNumberFits := small(m.number(headerRawEvtSeq))
	r.number, r.raw, r.rawNumber = number, raw, rawNumber
	var problems []string
	if number == 0 || raw == 0 || rawNumber == 0 || !fits || !rawFits || !rawNumberFits || m.header(headerRawSource) == "" {
		problems = append(problems, fmt.Sprintf("Evt-Seq %q, Evt-Raw-Seq %q, Evt-Raw-Evt-Seq %q, Evt-Raw-Source %q",
			m.header(headerSeq), m.header(headerRawSeq), m.header(headerRawEvtSeq), m.header(headerRawSource)))
	}
	if m.header(headerBodyObject) != "" {
		r.flags |= isObject
	}
	id := m.text(headerCeID)
	if s.kind == subjectDead {
		id = m.text(headerID)
		body, named := m.bodySum()
		r.flags, r.token = r.flags|isDead, uint32(body)
		if !named || m.header(headerReason) == "" || m.header(headerDetail) == "" {
			problems = append(problems, fmt.Sprintf("of a dead letter: Evt-Reason %q, Evt-Detail %q, Evt-Body-Object %q",
				m.header(headerReason), m.header(headerDetail), m.header(headerBodyObject)))
		}
	} else {
		e, faults := checkCanonical(s.provider, &m)
		problems = append(problems, faults...)
		if e.MessageID != "" && bounded(e.MessageID) != id {
			r.flags |= isOther
		}
		r.token = c.tokenOf(e, m.Body)
	}
	if id == "" {
		problems = append(problems, "it has no id")
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.follows(&c.norm.last, inNormalized, m) {
		return
	}
	r.sequence = uint32(m.Sequence)
	if len(problems) > 0 {
		c.found.add(Malformed, inNormalized, func() string {
			return fmt.Sprintf("message %d on %s: %s", m.Sequence, m.Subject, strings.Join(problems, "; "))
		})
	}
	r.entry = c.entry(s.provider, id)
	r.source = c.source(s.provider, m.header(headerRawSource))
	p := c.providers.list[c.sources.list[r.source].provider]
	c.next(&p.number, uint64(number), inNormalized, m)
	if uint64(raw) != p.raw {
		p.raw = uint64(raw)
		p.dealt++
	}
	if r.is(isDead) {
		p.dead++
	} else {
		p.events++
	}
	c.norm.add(r)
	if letter := m.number(headerRedriven); letter != 0 {
		c.repairs.marked[c.norm.n-1] = uint32(letter)
	}
	c.mention(m, objectUse{record: c.norm.n - 1})
}

// canonical is what is read of a canonical event.
type canonical struct {
	MessageID string          `json:"message_id"`
	EventType string          `json:"event_type"`
	Timestamp string          `json:"timestamp"`
	Payload   json.RawMessage `json:"payload"`
	Provider  string          `json:"provider"`
	Source    string          `json:"source"`
	Object    json.RawMessage `json:"body_object"`
}

// tokenOf is what of a canonical event is compared with what was handed over; body is all of it.
func (c *Checker) tokenOf(e canonical, body []byte) uint32 {
	if !c.opts.Payloads {
		return token(body, c.opts.Marker)
	}
	at, _ := time.Parse(time.RFC3339Nano, e.Timestamp) // what is no time is malformed
	return says(e.EventType, at, e.Payload)
}

// says is a hash of what an event says. The order of names and white space say nothing, digits do. It is never 0.
func says(eventType string, at time.Time, payload []byte) uint32 {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s\x00%d\x00", eventType, at.UnixNano())
	values := json.NewDecoder(bytes.NewReader(payload))
	values.UseNumber()
	var value any
	if err := values.Decode(&value); err != nil {
		_, _ = h.Write(payload)
	} else if text, err := json.Marshal(value); err == nil {
		_, _ = h.Write(text)
	}
	return max(h.Sum32(), 1)
}

// checkCanonical finds fault with a message unless it is a CloudEvent with a canonical event in it, which it returns.
func checkCanonical(provider string, m *Message) (e canonical, problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if err := json.Unmarshal(m.Body, &e); err != nil {
		bad("the body is not a canonical event: %v", err)
		return canonical{}, problems
	}
	e.check(provider, m, bad)
	if (len(e.Object) > 0) != (m.header(headerBodyObject) != "") {
		bad("body_object is %q, Evt-Body-Object %q", e.Object, m.header(headerBodyObject))
	}
	if v := m.header("ce-specversion"); v != "1.0" {
		bad("ce-specversion is %q", v)
	}
	if v := m.header("ce-source"); v != "/providers/"+provider {
		bad("ce-source is %q", v)
	}
	if v := m.header("ce-evtsource"); v != sourceOf(m) {
		bad("ce-evtsource is %q", v)
	}
	if v := m.text("ce-type"); v == "" || !strings.HasPrefix(e.EventType, v) {
		bad("ce-type is %q, event_type %q", v, e.EventType)
	}
	return e, problems
}

func (e *canonical) check(provider string, m *Message, bad func(format string, args ...any)) {
	if e.MessageID == "" || e.EventType == "" || e.Payload == nil {
		bad("message_id %q, event_type %q, a payload: %v", e.MessageID, e.EventType, e.Payload != nil)
	}
	if _, err := time.Parse(time.RFC3339Nano, e.Timestamp); err != nil {
		bad("the timestamp %q is not one of RFC 3339", e.Timestamp)
	}
	if e.Provider != provider || e.Source != sourceOf(m) {
		bad("provider %q, source %q", e.Provider, e.Source)
	}
}
