package checker

import (
	"slices"
	"sync"
	"time"
)

// Options say how to check.
type Options struct {
	// Marker is what a token begins with that whoever makes the events plants into each payload, where the converters leave
	// it as it is. The token goes on with the letters, digits, - and _ that follow. An event's canonical body must have the
	// token of the body that was handed over, so that a payload that went to another event is found. "": there are none.
	Marker string
	// Payloads compares type, time and payload of canonical events, value for value, with what Handed says of them, in place of
	// the token. Whoever makes the events must know what the converters make of them.
	Payloads bool
	// Examples is how many violations of one kind in one place a Verdict describes; 0 means 10. It counts all.
	Examples int
}

// Fate is what has to become of an event.
type Fate uint8

// The fates.
const (
	Normal     Fate = iota // it is normalized
	DeadLetter             // it can't be converted
	Either                 // nobody knows
)

// Handed is an event that was handed over to the pipeline: one that its broker confirmed or its API showed, so that the
// pipeline answers for it.
type Handed struct {
	Provider string
	// ID is the identity that the source gives the event, "" if none: then it is made of the body.
	ID string
	// Body has to be in EVENTS_RAW byte for byte. It is not kept.
	Body []byte
	// Lane is within what arrival order is promised, "" if nowhere: an exchange of a provider, for instance. The events of a
	// lane are to be handed over in their order.
	Lane string
	// Window numbers, rising, what was under way at the same time within a lane. Loose says that some of the window was sent
	// more than once: then its events have an order with those of other windows only.
	Window int
	Loose  bool
	Fate   Fate
	// Type, At and Payload are what has to be in the canonical event, with Options.Payloads. Without a Type that is not known.
	Type    string
	At      time.Time
	Payload []byte
	// Events is how many events have to become of it where that is not one.
	Events int
	// Maybe: nobody knows whether it was handed over. It may be missing.
	Maybe bool
	// Confirmed is from when on it counts as handed over: a watermark behind that speaks of it, too. Zero: none does.
	Confirmed time.Time
}

// entry is what is known of an identity from the source's side. It is there, without having been handed over, as soon as
// the identity is seen.
type entry struct {
	body      uint64 // sum
	confirmed int64  // in ns, 0 if not known
	marker    uint32 // hash of the token, 0 if there is none
	provider  uint16
	events    uint8
	flags     uint8
}

const (
	handedOver = 1 << iota // by Handed
	again                  // more than once
	maybe
	collected // it is in RAW
	fateShift = 6
)

func (e *entry) is(flags uint8) bool { return e.flags&flags != 0 }
func (e *entry) fate() Fate          { return Fate(e.flags >> fateShift) }

// Checker collects what it is told. It is safe for concurrent use.
type Checker struct {
	opts Options

	mu        sync.Mutex
	ids       identities
	entries   chunked[entry]
	others    map[uint32][]uint64 // bodies of what was handed over more than once with different ones
	providers table[*provider]
	sources   table[*source]
	lanes     map[string]*lane
	raw       rawLog
	norm      normalizedLog
	dead      deadLog
	subs      []*Subscription
	reads     []cursorRead
	objects   map[string]*object
	repairs   repairs
	handed    int
	collected int
	found     findings // at once
}

// New makes a Checker that knows of nothing.
func New(opts Options) *Checker {
	if opts.Examples == 0 {
		opts.Examples = 10
	}
	return &Checker{
		opts: opts, ids: newIdentities(), others: map[uint32][]uint64{}, lanes: map[string]*lane{},
		objects: map[string]*object{}, repairs: newRepairs(), found: newFindings(opts.Examples),
	}
}

// provider is a cloud.
type provider struct {
	name   string
	number uint64 // the last Evt-Seq in NORMALIZED
	dealt  int    // raw events that NORMALIZED has something of
	raw    uint64 // the last Evt-Raw-Seq
	events int    // in NORMALIZED
	dead   int    // likewise
	cursor record
}

// source is one source of a provider.
type source struct {
	provider  uint16
	name      string
	number    uint64    // the last Evt-Seq in RAW
	watermark time.Time // of the last event that had one
	cursor    record
	claims    []claim
	last      [claimNormalized + 1]claim // of each kind
}

// Handed takes an event that was handed over. It may be told after the event was seen in a stream.
//
// The same identity may be handed over again, by another source of the provider: RAW has to hold it once, with the body of
// either, and it has no place in the order of a lane then.
func (c *Checker) Handed(h Handed) {
	body, marker := sum(h.Body), token(h.Body, c.opts.Marker)
	if c.opts.Payloads && h.Type != "" {
		marker = says(h.Type, h.At, h.Payload)
	}
	id := h.ID
	if id == "" {
		id = hexSum(h.Body)
	}
	id = bounded(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.entry(h.Provider, id)
	e := c.entries.at(int(at))
	if e.is(handedOver) {
		c.handedAgain(at, e, h, body, marker)
		return
	}
	e.body, e.marker, e.events = body, marker, 1
	if h.Events > 0 {
		e.events = uint8(min(h.Events, 255))
	}
	e.flags |= handedOver | uint8(h.Fate)<<fateShift
	if h.Maybe {
		e.flags |= maybe
	} else {
		c.handed++
		if e.is(collected) {
			c.collected++
		}
	}
	e.confirmed = nanos(h.Confirmed)
	if h.Lane == "" {
		return
	}
	l := c.lanes[h.Lane]
	if l == nil {
		l = &lane{}
		c.lanes[h.Lane] = l
	}
	l.add(at, h.Window, h.Loose)
}

func (c *Checker) handedAgain(at uint32, e *entry, h Handed, body uint64, marker uint32) {
	e.flags |= again
	if body != e.body && !slices.Contains(c.others[at], body) {
		c.others[at] = append(c.others[at], body)
	}
	if marker != e.marker {
		e.marker = 0
	}
	if e.is(maybe) && !h.Maybe {
		e.flags &^= maybe
		c.handed++
		if e.is(collected) {
			c.collected++
		}
	}
	if h.Fate != e.fate() {
		e.flags = e.flags&(1<<fateShift-1) | uint8(Either)<<fateShift
	}
	// Which of the two is in RAW is not known; the later time claims less.
	if e.confirmed != 0 {
		e.confirmed = max(e.confirmed, nanos(h.Confirmed))
	}
}

// entry finds an identity, and takes one that is new.
func (c *Checker) entry(provider, id string) uint32 {
	p := c.provider(provider)
	at, isNew := c.ids.number(p, id)
	if isNew {
		c.entries.add(entry{provider: p})
	}
	return at
}

// id is the identity of an entry, and whose it is, for people.
func (c *Checker) id(at uint32) string {
	e := c.entries.at(int(at))
	return c.ids.text(at) + " of " + c.providers.list[e.provider].name
}

func (c *Checker) provider(name string) uint16 {
	return c.providers.find(name, func() *provider { return &provider{name: name} })
}

func (c *Checker) source(provider, name string) uint16 {
	p := c.provider(provider)
	return c.sources.find(provider+"."+name, func() *source { return &source{provider: p, name: name} })
}

func (c *Checker) providerOf(source uint16) *provider {
	return c.providers.list[c.sources.list[source].provider]
}

// nanos is t as a number, 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
