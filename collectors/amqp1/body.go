package amqp1

import (
	"fmt"

	amqp "github.com/Azure/go-amqp"

	"stackstream/event"
)

// Format is the format of messages that are neither text nor bytes: there is no converter for it, so that they are kept whole
// among the dead letters.
const Format = "amqp1"

// verdict is why a message is not taken.
type verdict struct {
	reason    string // for counting
	condition amqp.ErrCond
	text      string // for who sent it
}

const (
	reasonTooLarge    = "too-large"
	reasonUndecodable = "undecodable"
	reasonEmpty       = "empty"
)

// Reasons are those for which messages are rejected.
func Reasons() []string { return []string{reasonTooLarge, reasonUndecodable, reasonEmpty} }

// open makes what is known of a message without looking into its body. A message without a body, and what is none, is not taken.
func open(p *parcel, maxMessage int, address string) (raw event.Raw, no *verdict) {
	if p.tooLarge {
		return raw, &verdict{reasonTooLarge, amqp.ErrCondMessageSizeExceeded, fmt.Sprintf("larger than %d bytes", maxMessage)}
	}
	m, err := readMessage(p.payload)
	if err != nil {
		return raw, &verdict{reasonUndecodable, amqp.ErrCondDecodeError, "not a message of AMQP 1.0"}
	}
	raw.Header = map[string]string{"Evt-Address": address}
	switch {
	case m.plain && len(m.body) == 0:
		return raw, &verdict{reasonEmpty, amqp.ErrCondInvalidField, "the message has no body"}
	case m.plain:
		raw.Body = m.body
	default:
		raw.Format, raw.Body, raw.ContentType = Format, p.payload, "application/octet-stream"
	}
	raw.ID, raw.Hashed = identity(m, !m.plain)
	describe(&raw, m)
	return raw, nil
}

// describe adds what stands beside the body.
func describe(raw *event.Raw, m *message) {
	if m.redelivered {
		raw.Header["Evt-Redelivered"] = "true"
	}
	if raw.ContentType == "" {
		raw.ContentType = string(m.contentType)
	}
	if encoding := string(m.contentEncoding); encoding != "utf-8" && encoding != "" {
		raw.Header["Evt-Content-Encoding"] = encoding
	}
	if len(m.subject) > 0 {
		raw.Header["Evt-Subject"] = string(m.subject)
	}
	if m.traceparent != nil {
		raw.Header[event.HeaderTraceparent] = string(m.traceparent)
	}
	if m.tracestate != nil {
		raw.Header[event.HeaderTracestate] = string(m.tracestate)
	}
}
