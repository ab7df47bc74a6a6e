// Package oslo converts the notifications that OpenStack's services send with oslo.messaging: nova's legacy and versioned
// ones, keystone's CADF and basic ones, and whatever else has a message_id, an event_type and a payload.
//
//	{"oslo.version": "2.0", "oslo.message": "{\"message_id\": …, \"event_type\": …, \"payload\": …, \"timestamp\": …}"}
//
// The body of a raw event is such an envelope, also as the member "request" of another object, which is how notifications come
// over AMQP 1.0; or what it holds ("v1"). An envelope of another major version is refused,
// since nobody knows what it means; of another minor version it is read.
//
// The payload is the source's, value for value, whatever it is: an object, a list, a string, null. Two things are
// different from what was sent. Secrets are "***" (see package rules). And versioned objects are flattened, at any depth,
// so that their fields are found where those of a legacy notification are:
//
//	{"nova_object.name": "FlavorPayload", "nova_object.namespace": "nova", "nova_object.version": "1.4",
//	 "nova_object.data": {"flavorid": "f", "vcpus": 1}}
//
// becomes
//
//	{"nova_object.name": "FlavorPayload", "nova_object.namespace": "nova", "nova_object.version": "1.4",
//	 "flavorid": "f", "vcpus": 1}
//
// Nothing is lost by that: every other member of the object came from its data.
//
// A body that oslo.messaging compressed (the header Evt-Compression says how) is read as it was before.
//
// The request's context (the members "_context_…") is not part of the payload; what the canonical event has a place for
// is taken from it, and the trace context, where a service puts one there.
package oslo

import (
	"bytes"
	"fmt"
	"sync"

	"stackstream/event"
	"stackstream/internal/kombu"
	"stackstream/internal/rawjson"
	"stackstream/normalizer"
	"stackstream/normalizer/rules"
)

// Format is the format of the raw events that this package converts.
const Format = "oslo"

// maxDecompressed bounds what a compressed body may become.
const maxDecompressed = 16 << 20

// Converter is pure and may be used by any number of goroutines.
type Converter struct {
	rules *rules.Rules
	desks *sync.Pool // of *desk, one for each notification that is being converted
}

var _ normalizer.Converter = (*Converter)(nil)

// New takes the rules that all converters share.
func New(r *rules.Rules) *Converter {
	return &Converter{rules: r, desks: &sync.Pool{New: func() any { return new(desk) }}}
}

// Name returns "oslo/1".
func (*Converter) Name() string { return "oslo/1" }

// Convert makes one canonical event. Its timestamp is the notification's; where that is missing, empty or null it is the
// time at which the event was received. Without a message_id the event has the identity of the raw event. An error says
// that the body is not a notification: not JSON, an envelope of another version, no event_type, or a part that is not
// what it should be. It quotes no more of the body than one character.
func (c *Converter) Convert(raw event.Raw) (normalizer.Converted, error) {
	body := raw.Body
	if method := raw.Header[kombu.Header]; method != "" {
		var err error
		if body, err = kombu.Decompress(method, body, maxDecompressed); err != nil {
			return normalizer.Converted{}, fmt.Errorf("body: %w", err)
		}
	}
	d := c.desks.Get().(*desk)
	defer c.desks.Put(d)
	defer d.clear()
	return c.convert(raw, body, d)
}

func (c *Converter) convert(raw event.Raw, body []byte, d *desk) (normalizer.Converted, error) {
	notification, mended, err := d.envelope.Open(body, rawjson.All)
	if err != nil {
		return normalizer.Converted{}, err
	}
	d.members = notification.AppendMembers(d.members, 0)
	events := make([]event.Event, 1)
	e := &events[0]
	if err := rules.Identify(e, raw, d.members, "timestamp"); err != nil {
		return normalizer.Converted{}, err
	}
	trace := event.NewTrace(rules.Text(d.members.Get("_context_traceparent")), rules.Text(d.members.Get("_context_tracestate")))
	payload, redacted := c.payload(d, notification)
	if e.Payload = []byte(payload); notification.Compact() {
		e.SetCompact(e.Payload)
	}
	shown := rules.NewIndex(c.rules.Shown(d.members))
	documents := Describe(e, shown.Get, func(name string) rawjson.Value { return shown.Get("_context_" + name) }, payload, d.details)
	c.rules.Apply(e, documents...)
	return normalizer.Converted{Events: events, Redacted: redacted, Mended: mended, Trace: trace}, nil
}

// payload returns what may be shown of the payload, flattened, and how many secrets it had. The desk has its members then.
func (c *Converter) payload(d *desk, notification *rawjson.Doc) (payload rawjson.Value, redacted int) {
	at := notification.Member(0, "payload")
	if at < 0 {
		return rawjson.Value("{}"), 0
	}
	d.sent = notification.Inner(at, nil)
	doc := &d.sent
	if mayFlatten(doc.Value(0)) {
		doc = d.flat.flatten(doc)
	}
	payload, redacted = c.rules.RedactDoc(doc)
	switch {
	case redacted > 0:
		doc = &d.payload
		doc.Open(payload, 2)
	case doc == &d.sent:
		payload = bytes.Clone(payload)
	}
	d.details = doc.AppendMembers(d.details, 0)
	return payload, redacted
}
