// Package cloudevent converts CloudEvents 1.0 in JSON (structured mode).
//
// The payload is the event without what the canonical event says itself: specversion, id, type and time. What is left stays under
// its own name, value for value: source, subject, extensions, and data or data_base64. A subject is the event's target where no
// rule finds another.
package cloudevent

import (
	"errors"
	"fmt"

	"stackstream/event"
	"stackstream/internal/rawjson"
	"stackstream/normalizer"
	"stackstream/normalizer/rules"
)

// Format is the format of the raw events that this package converts.
const Format = "cloudevents"

// Converter is pure and may be used by any number of goroutines.
type Converter struct {
	rules *rules.Rules
}

var _ normalizer.Converter = (*Converter)(nil)

// New takes the rules that all converters share.
func New(r *rules.Rules) *Converter { return &Converter{rules: r} }

// Name returns "cloudevents/1".
func (*Converter) Name() string { return "cloudevents/1" }

// Convert makes one canonical event, with the identity of the raw event. Without a time it has the one at which it was received.
func (c *Converter) Convert(raw event.Raw) (normalizer.Converted, error) {
	body, mended, err := rawjson.ParseMended(raw.Body)
	if err != nil {
		return normalizer.Converted{}, fmt.Errorf("body: %w", err)
	}
	members, ok := body.Members()
	if !ok {
		return normalizer.Converted{}, errors.New("body: not an object")
	}
	if version, _ := members.Get("specversion").Text(); version != "1.0" {
		return normalizer.Converted{}, errors.New("specversion: not 1.0")
	}
	e := event.Event{MessageID: string(raw.ID)}
	if e.EventType, ok = members.Get("type").Text(); !ok || e.EventType == "" {
		return normalizer.Converted{}, errors.New("type: missing, or not a string")
	}
	if e.Timestamp, err = timeOf(members.Get("time"), raw); err != nil {
		return normalizer.Converted{}, err
	}
	payload, redacted := c.rules.Redact(payloadOf(members))
	e.Payload = []byte(payload)
	// What is told of an event is what may be shown of it.
	shown, _ := payload.Members()
	e.PublisherID = rules.Text(shown.Get("source"))
	data, _ := shown.Get("data").Members()
	c.rules.Apply(&e, data, shown)
	if subject := rules.Text(shown.Get("subject")); len(e.Targets) == 0 && subject != "" {
		e.Targets = []event.Target{{Kind: "subject", ID: subject}}
	}
	trace := event.NewTrace(rules.Text(members.Get(event.HeaderTraceparent)), rules.Text(members.Get(event.HeaderTracestate)))
	return normalizer.Converted{Events: []event.Event{e}, Redacted: redacted, Mended: mended, Trace: trace}, nil
}

func timeOf(v rawjson.Value, raw event.Raw) (at event.Timestamp, err error) {
	text, ok := v.Text()
	switch {
	case !v.IsNull() && !ok:
		return at, errors.New("time: not a string")
	case text != "":
		if at, err = event.ParseTimestamp(text); err != nil {
			return at, fmt.Errorf("time: %w", err)
		}
		return at, nil
	case !raw.Received.IsZero():
		return event.NewTimestamp(raw.Received), nil
	default:
		return at, errors.New("time: missing, and so is the time of receipt")
	}
}

// payloadOf is an event without what the canonical event says. Of members with one name the last counts.
func payloadOf(members rawjson.Object) rawjson.Value {
	last := map[string]int{}
	for i, m := range members {
		last[string(m.Name)] = i
	}
	out := []byte{'{'}
	for i, m := range members {
		switch name := string(m.Name); {
		case name == "specversion", name == "id", name == "type", name == "time", last[name] != i:
		default:
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(append(rawjson.AppendQuoted(out, name), ':'), m.Value...)
		}
	}
	return append(out, '}')
}
