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
	"fmt"

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
}

var _ normalizer.Converter = (*Converter)(nil)

// New takes the rules that all converters share.
func New(r *rules.Rules) *Converter { return &Converter{rules: r} }

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
	members, mended, err := Open(body)
	if err != nil {
		return normalizer.Converted{}, err
	}
	var e event.Event
	if err := rules.Identify(&e, raw, members, "timestamp"); err != nil {
		return normalizer.Converted{}, err
	}
	payload, redacted := c.rules.Redact(flatten(members.Get("payload")))
	if payload == nil {
		payload = rawjson.Value("{}")
	}
	e.Payload = []byte(payload)
	details, _ := payload.Members()
	describe(&e, c.rules.Shown(members), details)
	c.rules.Apply(&e, documents(details)...)
	trace := event.NewTrace(rules.Text(members.Get("_context_traceparent")), rules.Text(members.Get("_context_tracestate")))
	return normalizer.Converted{Events: []event.Event{e}, Redacted: redacted, Mended: mended, Trace: trace}, nil
}
