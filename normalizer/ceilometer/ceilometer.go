// Package ceilometer converts the events of Panko, of Ceilometer's older events API and of the publishers of
// Ceilometer's agent: one event in all three, made of a notification by a table of "traits".
//
//	{"message_id": "…", "event_type": "image.delete", "generated": "2026-11-22T06:06:06.755824",
//	 "traits": [{"name": "size", "type": "integer", "value": "100000"}], "raw": {}}
//
// The body of a raw event is one such object, or a notification of oslo.messaging that has such objects in a list for its
// payload: so the agent hands them out over a broker. Traits may be objects as above, triples as the publishers write them
// (["size", 2, "100000"]), or one object of names and values.
//
// The payload is an object of the traits. The type of a trait decides about a value that came as a string: integer
// and float become a number with exactly the digits it came with, datetime becomes RFC 3339 in UTC, everything else
// stays a string. A string that is not what its type says (inf, nan, "1,5", "never") stays the string it was: nothing is
// guessed and nothing lost, and a string where a number belongs is how it shows. A value that did not come as a
// string is kept as it is. A name that comes more than once becomes a list, in order, where it came first.
//
// Whatever else the event has goes into the payload too, under its own name, unless it is empty: above all "raw", the
// notification that the event was made of, where the service was told to keep it. Should a trait have that name,
// underscores are put in front. Left out is message_signature, by which the agent's own services know its messages: the events
// API does not have it, and the event is the same without it.
package ceilometer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/normalizer"
	"stackstream/normalizer/oslo"
	"stackstream/normalizer/rules"
)

// Format is the format of the raw events that this package converts.
const Format = "ceilometer"

// Converter is pure and may be used by any number of goroutines.
type Converter struct {
	rules *rules.Rules
}

var _ normalizer.Converter = (*Converter)(nil)

// New takes the rules that all converters share.
func New(r *rules.Rules) *Converter { return &Converter{rules: r} }

// Name returns "ceilometer/1".
func (*Converter) Name() string { return "ceilometer/1" }

// Convert makes one canonical event, or one of each event of a notification. Its timestamp is "generated"; where that is
// missing, empty or null it is the time at which the event was received. Without a message_id the event has the identity of the
// raw event. An error says that the body is no such event and has none: not JSON, no event_type, or a part that is not what it
// should be.
func (c *Converter) Convert(raw event.Raw) (normalizer.Converted, error) {
	events, mended, err := bodies(raw)
	if err != nil {
		return normalizer.Converted{}, err
	}
	all := normalizer.Converted{Mended: mended}
	for i, members := range events {
		one := raw
		if len(events) > 1 && raw.ID != "" { // for those that have no identity of their own
			one.ID = event.BoundID(raw.ID) + event.ID("."+strconv.Itoa(i+1))
		}
		e, redacted, trace, err := c.convert(one, members)
		if err != nil && len(events) > 1 {
			return normalizer.Converted{}, fmt.Errorf("payload[%d]: %w", i, err)
		}
		if err != nil {
			return normalizer.Converted{}, err
		}
		if len(events) == 1 {
			all.Trace = trace
		}
		all.Events, all.Redacted = append(all.Events, e), all.Redacted+redacted
	}
	return all, nil
}

func (c *Converter) convert(raw event.Raw, members rawjson.Object) (e event.Event, redacted int, trace event.Trace, err error) {
	if err := rules.Identify(&e, raw, members, "generated"); err != nil {
		return e, 0, trace, err
	}
	t, err := readTraits(members.Get("traits"))
	if err != nil {
		return e, 0, trace, err
	}
	payload, redacted := c.rules.Redact(t.payload(others(members)))
	e.Payload = []byte(payload)
	notification, _ := c.rules.Redact(members.Get("raw"))
	docs, trace := describe(&e, payload, notification)
	c.rules.Apply(&e, docs...)
	return e, redacted, trace, nil
}

// others returns the members that are not part of every event and have something in them. Of members with one name the
// last counts.
func others(members rawjson.Object) rawjson.Object {
	var last rawjson.Object
	at := map[string]int{}
	for _, m := range members {
		switch name := string(m.Name); name {
		case "message_id", "event_type", "generated", "traits", "message_signature":
		default:
			i, again := at[name]
			if !again {
				i = len(last)
				at[name] = i
				last = append(last, m)
			}
			last[i] = m
		}
	}
	return slices.DeleteFunc(last, func(m rawjson.Member) bool { return m.Value.IsEmpty() })
}

// describe fills in who published the event, on whose behalf, and what the service says about it, and returns the documents for
// the rules, and the trace context where the notification has one in its context, or the definitions make a trait of it. What the
// notification itself says counts first, and is what it is without the agent. The definitions of traits map some fields loosely: nova's
// publisher loses its host, and an image's owner, a project, is its user_id.
func describe(e *event.Event, payload, notification rawjson.Value) ([]rawjson.Object, event.Trace) {
	traits, _ := payload.Members()
	whole, _ := notification.Members()
	ctxt, _ := whole.Get("ctxt").Members()
	sent := oslo.Flatten(whole.Get("payload"))
	details, _ := sent.Members()
	documents := oslo.Describe(e, whole.Get, ctxt.Get, sent, details)

	e.PublisherID = cmp.Or(e.PublisherID, rules.Text(traits.Get("service")))
	e.Priority = cmp.Or(e.Priority, strings.ToLower(rules.Text(traits.Get("priority"))))
	e.Message = cmp.Or(e.Message, rules.Text(traits.Get("message")))
	var on event.Context
	if e.Context != nil {
		on = *e.Context
	}
	on.RequestID = cmp.Or(on.RequestID, rules.Text(traits.Get("request_id")))
	on.UserName = cmp.Or(on.UserName, rules.Text(traits.Get("user_name"), traits.Get("username")))
	on.ProjectID = cmp.Or(on.ProjectID, rules.Text(traits.Get("project_id"), traits.Get("tenant_id")))
	if user := rules.Text(traits.Get("user_id")); user != on.ProjectID {
		on.UserID = cmp.Or(on.UserID, user)
	}
	if on != (event.Context{}) {
		e.Context = &on
	}
	return append([]rawjson.Object{traits}, documents...), event.NewTrace(
		rules.Text(ctxt.Get(event.HeaderTraceparent), traits.Get(event.HeaderTraceparent)),
		rules.Text(ctxt.Get(event.HeaderTracestate), traits.Get(event.HeaderTracestate)))
}
