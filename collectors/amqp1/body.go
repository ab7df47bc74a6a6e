package amqp1

import (
	"bytes"
	"errors"
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

// decode decodes a message. What the decoder makes of foreign bytes must not end the process.
func decode(payload []byte) (m *amqp.Message, err error) {
	defer func() {
		if v := recover(); v != nil {
			m, err = nil, fmt.Errorf("panic: %v", v)
		}
	}()
	if tooDeep(payload) {
		return nil, errors.New("values nested too deep")
	}
	m = new(amqp.Message)
	if err := m.UnmarshalBinary(payload); err != nil {
		return nil, err
	}
	return m, nil
}

// open makes what is known of a message without looking into its body. A message without a body, and what is none, is not taken.
func open(p *parcel, maxMessage int, address string) (raw event.Raw, no *verdict) {
	if p.tooLarge {
		return raw, &verdict{reasonTooLarge, amqp.ErrCondMessageSizeExceeded, fmt.Sprintf("larger than %d bytes", maxMessage)}
	}
	m, err := decode(p.payload)
	if err != nil {
		return raw, &verdict{reasonUndecodable, amqp.ErrCondDecodeError, "not a message of AMQP 1.0"}
	}
	raw.Header = map[string]string{"Evt-Address": address}
	body, plain := content(m)
	switch {
	case plain && len(body) == 0:
		return raw, &verdict{reasonEmpty, amqp.ErrCondInvalidField, "the message has no body"}
	case plain:
		raw.Body = body
	default:
		raw.Format, raw.Body, raw.ContentType = Format, p.payload, "application/octet-stream"
	}
	raw.ID, raw.Hashed = identity(m, p.payload, !plain)
	describe(&raw, m)
	return raw, nil
}

// content is the text or the bytes that a message has for its body, also where it is empty; false if it has something else there.
func content(m *amqp.Message) (body []byte, plain bool) {
	if len(m.Sequence) > 0 {
		return nil, false
	}
	switch v := m.Value.(type) {
	case nil, amqp.Null:
		return bytes.Join(m.Data, nil), true
	case string:
		return []byte(v), true
	case []byte:
		return v, true
	case amqp.Symbol:
		return []byte(v), true
	default:
		return nil, false
	}
}

// describe adds what stands beside the body.
func describe(raw *event.Raw, m *amqp.Message) {
	if m.Header != nil && m.Header.DeliveryCount > 0 {
		raw.Header["Evt-Redelivered"] = "true"
	}
	if p := m.Properties; p != nil {
		if p.ContentType != nil && raw.ContentType == "" {
			raw.ContentType = *p.ContentType
		}
		if p.ContentEncoding != nil && *p.ContentEncoding != "utf-8" && *p.ContentEncoding != "" {
			raw.Header["Evt-Content-Encoding"] = *p.ContentEncoding
		}
		if p.Subject != nil && *p.Subject != "" {
			raw.Header["Evt-Subject"] = *p.Subject
		}
	}
	for _, name := range []string{event.HeaderTraceparent, event.HeaderTracestate} {
		if value, ok := m.ApplicationProperties[name].(string); ok {
			raw.Header[name] = value
		}
	}
}
