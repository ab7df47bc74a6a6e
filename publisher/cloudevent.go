package publisher

import (
	"strconv"
	"unicode/utf8"

	"stackstream/event"
)

// The headers of a CloudEvent in binary mode, exactly as the NATS binding spells them.
const (
	ceSpecVersion     = "ce-specversion"
	ceID              = "ce-id"
	ceSource          = "ce-source"
	ceType            = "ce-type"
	ceTime            = "ce-time"
	ceSubject         = "ce-subject"
	ceDataContentType = "ce-datacontenttype"
	ceEvtSource       = "ce-evtsource" // an extension; the binding's name for it is evtsource
	// The extension "distributed tracing". The same stands in the headers that tracing itself reads of a message.
	ceTraceparent = "ce-traceparent"
	ceTracestate  = "ce-tracestate"
	contentType   = "content-type"

	mediaTypeJSON = "application/json"

	// noType is the CloudEvents type of an event without one: the attribute must not be empty.
	noType = "unknown"
	// maxAttribute bounds an attribute, in bytes before encoding. The body has the whole value.
	maxAttribute = 512
)

// cloudEvent sets the CloudEvents attributes of the event with the given index. They are the body's values, but for
// what an attribute can't be: an id that is empty is made from the raw event's, one that is too long is its hash, a type
// that is empty is "unknown", a long type is cut and a long subject left out.
func cloudEvent(h *event.Headers, p event.Provider, o *event.Outcome, index int) {
	e := &o.Events[index]
	id := event.BoundID(event.ID(e.MessageID))
	if id == "" {
		id = event.BoundID(o.Raw.ID)
		if len(o.Events) > 1 {
			id += event.ID("." + strconv.Itoa(index+1))
		}
	}
	kind := cut(e.EventType, maxAttribute)
	if kind == "" {
		kind = noType
	}
	h.Set(ceSpecVersion, "1.0")
	h.Set(ceID, event.EncodeHeader(string(id)))
	if own := event.BoundID(o.Raw.ID); own != id && own != "" {
		h.Set(event.HeaderID, event.EncodeHeader(string(own))) // by which the source would show it again
	}
	h.Set(ceSource, "/providers/"+string(p))
	h.Set(ceType, event.EncodeHeader(kind))
	if !e.Timestamp.IsZero() {
		h.Set(ceTime, e.Timestamp.String())
	}
	if len(e.Targets) > 0 {
		t := e.Targets[0]
		if subject := t.Kind + "/" + t.ID; len(subject) <= maxAttribute {
			h.Set(ceSubject, event.EncodeHeader(subject))
		}
	}
	h.Set(ceDataContentType, mediaTypeJSON)
	h.Set(contentType, mediaTypeJSON)
	source := o.Raw.Source
	if r := o.Raw.Repair; r != nil && r.Source != "" {
		source = r.Source // as the body has it
	}
	h.Set(ceEvtSource, string(source))
	if o.Trace.Parent == "" {
		return
	}
	h.Set(ceTraceparent, o.Trace.Parent)
	h.Set(event.HeaderTraceparent, o.Trace.Parent)
	if o.Trace.State != "" {
		state := event.EncodeHeader(o.Trace.State)
		h.Set(ceTracestate, state)
		h.Set(event.HeaderTracestate, state)
	}
}

// cut returns at most max bytes of s and does not end within a character.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}
