package checker

import (
	"encoding/json"
	"fmt"
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
		c.mu.Lock()
		defer c.mu.Unlock()
		c.follows(&c.norm.last, inNormalized, m)
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
		whose, faults := checkCanonical(s.provider, &m)
		problems = append(problems, faults...)
		if whose != "" && bounded(whose) != id {
			r.flags |= isOther
		}
		r.token = token(m.Body, c.opts.Marker)
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
	c.mention(m, objectUse{record: c.norm.n - 1})
}

// canonical is what is read of a canonical event.
type canonical struct {
	MessageID string          `json:"message_id"`
	EventType string          `json:"event_type"`
	Timestamp string          `json:"timestamp"`
	Payload   present         `json:"payload"`
	Provider  string          `json:"provider"`
	Source    string          `json:"source"`
	Object    json.RawMessage `json:"body_object"`
}

// present tells that a member is there, whatever it is.
type present bool

func (p *present) UnmarshalJSON([]byte) error { *p = true; return nil }

// checkCanonical finds fault with a message unless it is a CloudEvent with a canonical event in it. It returns the event's
// own id.
func checkCanonical(provider string, m *Message) (id string, problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var e canonical
	if err := json.Unmarshal(m.Body, &e); err != nil {
		bad("the body is not a canonical event: %v", err)
		return "", problems
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
	if v := m.header("ce-evtsource"); v != m.header(headerRawSource) {
		bad("ce-evtsource is %q", v)
	}
	if v := m.text("ce-type"); v == "" || !strings.HasPrefix(e.EventType, v) {
		bad("ce-type is %q, event_type %q", v, e.EventType)
	}
	return e.MessageID, problems
}

func (e *canonical) check(provider string, m *Message, bad func(format string, args ...any)) {
	if e.MessageID == "" || e.EventType == "" || !e.Payload {
		bad("message_id %q, event_type %q, a payload: %v", e.MessageID, e.EventType, e.Payload)
	}
	if _, err := time.Parse(time.RFC3339Nano, e.Timestamp); err != nil {
		bad("the timestamp %q is not one of RFC 3339", e.Timestamp)
	}
	if e.Provider != provider || e.Source != m.header(headerRawSource) {
		bad("provider %q, source %q", e.Provider, e.Source)
	}
}
