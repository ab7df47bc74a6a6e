// Package httpevent converts the records of HTTP event services, as the mapping of their provider says (package mapping).
//
// The body of a raw event is one record: JSON. The identity of the event is that of the raw event. A record whose type can't
// be told, or whose time is no time, is a mistake of the mapping or of the service and becomes a dead letter, to be
// converted again when the mapping is mended.
package httpevent

import (
	"errors"
	"fmt"
	"sync"

	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/mapping"
	"stackstream/internal/rawjson"
	"stackstream/normalizer"
	"stackstream/normalizer/rules"
)

// Format is the format of the records of a provider.
func Format(p event.Provider) string { return "http/" + string(p) }

// Converter converts the records of one provider. It is safe for concurrent use.
type Converter struct {
	rules   *rules.Rules
	mapping *mapping.Mapping
	desks   *sync.Pool // of *desk, one for each record that is being converted
}

// desk is where a record is converted.
type desk struct {
	doc  rawjson.Doc
	vars expr.Vars
	none map[string]string // the partition of most
}

func (d *desk) clear() {
	d.doc.Forget()
	clear(d.vars)
}

var _ normalizer.Converter = (*Converter)(nil)

// New takes the rules that all converters share, and the mapping.
func New(r *rules.Rules, m *mapping.Mapping) *Converter {
	return &Converter{rules: r, mapping: m, desks: &sync.Pool{
		New: func() any { return &desk{vars: expr.Vars{}, none: map[string]string{}} },
	}}
}

// Name returns "http/1-" and a version of the mapping.
func (c *Converter) Name() string { return "http/1-" + c.mapping.Version() }

// Convert makes one canonical event.
func (c *Converter) Convert(raw event.Raw) (normalizer.Converted, error) {
	at := c.desks.Get().(*desk)
	defer c.desks.Put(at)
	defer at.clear()
	return c.convert(raw, at)
}

func (c *Converter) convert(raw event.Raw, desk *desk) (normalizer.Converted, error) {
	doc, partition := &desk.doc, desk.none
	mended, err := doc.Parse(raw.Body, rawjson.All)
	if err != nil {
		return normalizer.Converted{}, fmt.Errorf("body: %w", err)
	}
	if name := raw.Header[mapping.HeaderPartitionName]; name != "" {
		partition = map[string]string{name: raw.Header[mapping.HeaderPartition]}
	}
	rec, vars := doc.Value(0), desk.vars
	mapping.SetVars(vars, expr.NewOpenRecord(*doc), partition)
	e := event.Event{MessageID: string(raw.ID)}
	if e.EventType, err = c.mapping.Type(vars); err != nil {
		return normalizer.Converted{}, err
	}
	at, ok, err := c.mapping.Time(vars)
	switch {
	case err != nil:
		return normalizer.Converted{}, err
	case ok:
		e.Timestamp = at
	case !raw.Time.IsZero():
		e.Timestamp = event.NewTimestamp(raw.Time)
	case !raw.Received.IsZero():
		e.Timestamp = event.NewTimestamp(raw.Received)
	default:
		return normalizer.Converted{}, errors.New("time: missing, and so is the time of receipt")
	}
	payload, err := c.mapping.Payload(rec, vars)
	if err != nil {
		return normalizer.Converted{}, err
	}
	// What is told of an event is what may be shown of its record.
	shown, redacted := c.rules.RedactDoc(doc)
	if whole := len(payload) == len(rec) && &payload[0] == &rec[0]; whole {
		payload = shown
	} else {
		payload, redacted = c.rules.Redact(payload)
	}
	e.Payload = []byte(payload)
	if &shown[0] != &rec[0] {
		mapping.SetVars(vars, expr.NewRecord(shown), partition)
	}
	c.mapping.Describe(&e, vars)
	if e.Message == rules.Redacted {
		e.Message = ""
	}
	targets := e.Targets
	c.rules.Apply(&e, mapping.Record(vars).Members())
	if len(targets) > 0 {
		e.Targets = targets
	}
	return normalizer.Converted{Events: []event.Event{e}, Redacted: redacted, Mended: mended, Trace: c.mapping.Trace(vars)}, nil
}
