package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"stackstream/event"
	"stackstream/normalizer"
)

// What a Difference is.
const (
	Changed = "changed" // an event that would be another one
	Revived = "revived" // a dead letter that would be an event
	Died    = "died"    // an event that would be a dead letter
	Missing = "missing" // nothing is there to compare with
)

// Difference is what would become of a raw event other than what did.
type Difference struct {
	Kind string `json:"kind"`
	// RawSeq is where the raw event is in RAW; Source and RawNumber are what it is there.
	RawSeq    event.StreamSeq `json:"raw_seq"`
	Source    event.Source    `json:"source"`
	RawNumber event.Seq       `json:"raw_evt_seq"`
	ID        event.ID        `json:"id"`
	// Number is the one that what is there has in NORMALIZED; EventType is its type, or else that of what would be there.
	Number    event.Seq `json:"evt_seq,omitempty"`
	EventType string    `json:"event_type,omitempty"`
	// Of is set where a raw event gives several events: which one of them, from 1.
	Of      int      `json:"of,omitempty"`
	Changes []Change `json:"changes,omitempty"`
	// Old and New are the whole events of what is not only changed, and Reason and Detail are those of the dead letter.
	Old    json.RawMessage `json:"old,omitempty"`
	New    json.RawMessage `json:"new,omitempty"`
	Reason event.Reason    `json:"reason,omitempty"`
	Detail string          `json:"detail,omitempty"`
	// OldConverter and NewConverter are name and version.
	OldConverter string `json:"old_converter,omitempty"`
	NewConverter string `json:"new_converter,omitempty"`
}

// Tally is what a Comparison has found: how many raw events there are, and what would become of them.
type Tally struct {
	Raw       uint64 `json:"raw"`
	Same      uint64 `json:"same"`
	Changed   uint64 `json:"changed"`
	Revived   uint64 `json:"revived"`
	Died      uint64 `json:"died"`
	StillDead uint64 `json:"still_dead"`
	Missing   uint64 `json:"missing"`
	Filtered  uint64 `json:"filtered"` // neither is of a type that was asked for
	Skipped   uint64 `json:"skipped"`  // raw events that only say that a letter stays dead, and those numbered twice
	// Redriven is how many dead letters of the range were converted again already.
	Redriven uint64 `json:"redriven"`
	// Again is how many messages NORMALIZED has of raw events that it had before: it was rewound. They are not compared.
	Again uint64 `json:"again"`
	// Fields and Types say how many events change in a field, and how many of a type change. OtherFields and OtherTypes are
	// those for which there was no more room.
	Fields      map[string]uint64 `json:"fields"`
	OtherFields uint64            `json:"other_fields,omitempty"`
	Types       map[string]uint64 `json:"types"`
	OtherTypes  uint64            `json:"other_types,omitempty"`
}

// maxNames bounds how many fields, and how many types, are counted apart.
const maxNames = 1000

// Comparison reads raw events, and what NORMALIZED has of them, side by side. All of it is required but for Match, Progress
// and Waiting.
type Comparison struct {
	Provider event.Provider
	From, To event.StreamSeq // of Raw
	Raw      Range
	// Normalized has what was made of the raw events, in the order of RAW, and may have more.
	Normalized Range
	Conversion normalizer.Conversion
	Match      func(eventType string) bool
	// Each is called with every difference; an error of it ends the Comparison.
	Each     func(Difference) error
	Progress func(Tally)
	Waiting  func(error)
}

// Compare converts every raw event and says in what that differs from what is there. It writes nothing.
func (c *Comparison) Compare(ctx context.Context) (Tally, error) {
	defer c.Raw.Close()
	defer c.Normalized.Close()
	d := differ{
		Comparison: c, positions: map[event.Source]event.Seq{},
		tally: Tally{Fields: map[string]uint64{}, Types: map[string]uint64{}},
	}
	for {
		m, err := next(ctx, c.Raw, d.waits)
		if errors.Is(err, io.EOF) {
			return d.tally, nil
		}
		if err == nil {
			err = d.take(ctx, m)
		}
		if err != nil {
			return d.tally, err
		}
		if c.Progress != nil {
			c.Progress(d.tally)
		}
	}
}

type differ struct {
	*Comparison
	tally     Tally
	positions map[event.Source]event.Seq
	ahead     *event.Stored // of NORMALIZED, read and not dealt with
	ended     bool          // NORMALIZED has no more
	last      event.StreamSeq
}

func (d *differ) waits(why error) error {
	if d.Waiting != nil {
		d.Waiting(why)
	}
	return nil
}

// take compares one raw event.
func (d *differ) take(ctx context.Context, m event.Stored) error {
	d.tally.Raw++
	there, err := d.made(ctx, m.Sequence)
	if err != nil {
		return err
	}
	first := d.positions
	raw, malformed, err := normalizer.ParseRaw(m, d.Provider, func(s event.Source) event.Seq { return first[s] + 1 })
	if err != nil {
		return err
	}
	var o event.Outcome
	switch {
	case malformed != nil:
		o = event.Outcome{Raw: raw, Dead: &event.DeadLetter{Reason: event.ReasonMalformed, Detail: malformed.Error()}}
	case raw.Drops() || raw.Seq <= d.positions[raw.Source]:
		d.tally.Skipped++
		return nil
	default:
		if o, _, err = d.Conversion.Outcome(ctx, raw, d.waits); err != nil {
			return err
		}
	}
	if raw.Source != "" && raw.Seq > 0 {
		d.positions[raw.Source] = raw.Seq
	}
	if r := raw.Repair; r != nil && r.Sequence >= d.From && r.Sequence <= d.To {
		d.tally.Redriven++
	}
	would, err := newMade(&o)
	if err != nil {
		return err
	}
	return d.compare(ctx, &raw, there, would)
}

// made returns what NORMALIZED has of a raw event. Both streams have the order of RAW.
func (d *differ) made(ctx context.Context, seq event.StreamSeq) (made, error) {
	var found made
	for {
		if d.ahead == nil && !d.ended {
			m, err := next(ctx, d.Normalized, d.waits)
			switch {
			case errors.Is(err, io.EOF):
				d.ended = true
			case err != nil:
				return found, err
			default:
				d.ahead = &m
			}
		}
		if d.ahead == nil {
			return found, nil
		}
		m := d.ahead
		from, err := strconv.ParseUint(m.Header.Get(event.HeaderRawSeq), 10, 64)
		at := event.StreamSeq(from)
		switch {
		case err != nil: // the record of what became of a letter, or written by somebody else
		case at > seq:
			return found, nil
		case at < seq:
			if at <= d.last && at >= d.From {
				d.tally.Again++
			}
		default:
			d.last = seq
			if err := found.add(ctx, d, m); err != nil {
				return found, err
			}
		}
		d.ahead = nil
	}
}

// made is what a raw event became, or would become: events, or a dead letter, or nothing.
type made struct {
	events    [][]byte
	types     []string
	dead      *event.DeadLetter
	number    event.Seq // of the first
	converter string
	gone      bool // the object that holds an event
}

// add adds a message of NORMALIZED.
func (a *made) add(ctx context.Context, d *differ, m *event.Stored) error {
	if a.number == 0 {
		n, _ := strconv.ParseUint(m.Header.Get(event.HeaderSeq), 10, 64)
		a.number = event.Seq(n)
	}
	a.converter = event.DecodeHeader(m.Header.Get(event.HeaderConverter))
	if m.Subject == event.DeadSubject(d.Provider) {
		a.dead = &event.DeadLetter{
			Reason: event.Reason(event.DecodeHeader(m.Header.Get(event.HeaderReason))),
			Detail: event.DecodeHeader(m.Header.Get(event.HeaderDetail)),
		}
		return nil
	}
	whole := event.StoredRaw{Raw: event.Raw{Body: m.Body}, Sequence: m.Sequence, BodyRef: event.BodyRefOf(m.Header)}
	body, lost, err := d.Conversion.ReadBody(ctx, whole, d.waits)
	if err != nil {
		return err
	}
	a.gone = a.gone || lost != nil
	a.events = append(a.events, body)
	a.types = append(a.types, event.DecodeHeader(m.Header.Get("ce-type")))
	return nil
}

// maxEvents is how many events a raw event may give, as the publisher has it.
const maxEvents = 900

// newMade is what would be written of an outcome.
func newMade(o *event.Outcome) (made, error) {
	a := made{dead: o.Dead, converter: o.Converter}
	if a.dead == nil && len(o.Events) > maxEvents {
		a.dead = &event.DeadLetter{Reason: event.ReasonTooMany, Detail: fmt.Sprintf("%d events", len(o.Events))}
	}
	if a.dead != nil {
		return a, nil
	}
	for i := range o.Events {
		body, err := o.Events[i].Encode()
		if err != nil {
			return made{
				dead:      &event.DeadLetter{Reason: event.ReasonUnwritable, Detail: fmt.Sprintf("encode event %d: %v", i+1, err)},
				converter: o.Converter,
			}, nil
		}
		a.events, a.types = append(a.events, body), append(a.types, o.Events[i].EventType)
	}
	return a, nil
}

// compare counts what would become of a raw event, and tells it where that is something else.
func (d *differ) compare(ctx context.Context, raw *event.StoredRaw, there, would made) error {
	if d.Match != nil && !d.matches(there) && !d.matches(would) {
		d.tally.Filtered++
		return nil
	}
	diff := Difference{
		RawSeq: raw.Sequence, Source: raw.Source, RawNumber: raw.Seq, ID: raw.ID, Number: there.number,
		OldConverter: there.converter, NewConverter: would.converter, EventType: would.eventType(),
	}
	if t := there.eventType(); t != "" {
		diff.EventType = t
	}
	switch {
	case there.gone || there.dead == nil && len(there.events) == 0:
		d.tally.Missing++
		diff.Kind = Missing
		return d.Each(diff)
	case there.dead != nil && would.dead != nil:
		d.tally.StillDead++
		return nil
	case there.dead != nil:
		d.tally.Revived++
		diff.Kind, diff.Reason, diff.Detail = Revived, there.dead.Reason, there.dead.Detail
		diff.New = would.first()
		return d.Each(diff)
	case would.dead != nil:
		d.tally.Died++
		diff.Kind, diff.Reason, diff.Detail = Died, would.dead.Reason, would.dead.Detail
		diff.Old = there.first()
		return d.Each(diff)
	}
	return d.events(diff, there, would)
}

// events compares the events of a raw event one by one.
func (d *differ) events(diff Difference, there, would made) error {
	var found []Difference
	fields := map[string]bool{}
	for i := range max(len(there.events), len(would.events)) {
		one := diff
		one.Kind, one.Number = Changed, diff.Number+event.Seq(i)
		if len(there.events) > 1 || len(would.events) > 1 {
			one.Of = i + 1
		}
		switch {
		case i >= len(there.events):
			one.New, one.Number = would.events[i], 0
			fields["(an event more)"] = true
		case i >= len(would.events):
			one.Old = there.events[i]
			fields["(an event less)"] = true
		default:
			var err error
			if one.Changes, err = changes(there.events[i], would.events[i]); err != nil {
				return fmt.Errorf("raw event %d: %w", diff.RawSeq, err)
			}
			if len(one.Changes) == 0 {
				continue
			}
			for _, c := range one.Changes {
				fields[c.Field()] = true
			}
		}
		found = append(found, one)
	}
	if len(found) == 0 {
		d.tally.Same++
		return nil
	}
	d.tally.Changed++
	count(d.tally.Types, diff.EventType, &d.tally.OtherTypes)
	for f := range fields {
		count(d.tally.Fields, f, &d.tally.OtherFields)
	}
	for _, one := range found {
		if err := d.Each(one); err != nil {
			return err
		}
	}
	return nil
}

// count counts a name, or where there are too many of them the others.
func count(names map[string]uint64, name string, others *uint64) {
	if _, known := names[name]; !known && len(names) >= maxNames {
		*others++
		return
	}
	names[name]++
}

func (d *differ) matches(a made) bool {
	for _, t := range a.types {
		if d.Match(t) {
			return true
		}
	}
	return a.dead != nil
}

func (a *made) eventType() string {
	if len(a.types) == 0 {
		return ""
	}
	return a.types[0]
}

func (a *made) first() json.RawMessage {
	if len(a.events) == 0 {
		return nil
	}
	return a.events[0]
}
