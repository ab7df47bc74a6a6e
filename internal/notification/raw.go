package notification

import (
	"cmp"
	"fmt"
	"maps"
	"time"

	"stackstream/event"
	"stackstream/internal/kombu"
)

// The formats of the raw events made here, by which the normalizer chooses its converter.
const (
	Oslo       = "oslo"
	Ceilometer = "ceilometer"
)

const (
	// HeaderPart says which event of how many a raw event was in the notification that it came in: "2/5".
	HeaderPart = "Evt-Part"
	// HeaderEnvelope is the message_id of that notification, which is not that of the event.
	HeaderEnvelope = "Evt-Envelope-Id"
)

// Raws are the raw events that a message makes: one, or as many as a notification of Ceilometer's has events. message has
// what is known of it without looking inside: its body as it came, headers, an identity for what has none. plain is the body as it
// was before it was compressed. Events whose type keep does not want are left out. sent is when an ordinary notification says
// that it was sent. Earlier versions made one raw event of a notification of Ceilometer's, with the identity of the notification.
func (r *Reader) Raws(
	message event.Raw, plain []byte, keep func(eventType string) bool,
) (raws []event.Raw, filtered int, sent time.Time) {
	n, list := r.read(plain)
	events := eventsOf(plain, n, list)
	if events == nil {
		if n.Readable && !keep(n.Type) {
			return nil, 1, n.Time
		}
		message.Format = Oslo
		return []event.Raw{withNotice(message, n)}, 0, n.Time
	}
	envelope, was := n.ID, event.ID("")
	if !n.Vague { // under one that is vague any other may have been stored
		was = cmp.Or(event.BoundID(envelope), message.ID, event.HashID(message.Body))
	}
	for _, e := range events {
		if e.Readable && !keep(e.Type) {
			filtered++
			continue
		}
		one := message
		one.Format, one.Header, one.Was = Ceilometer, maps.Clone(message.Header), was
		if one.Header == nil {
			one.Header = map[string]string{}
		}
		if envelope != "" {
			one.Header[HeaderEnvelope] = string(event.BoundID(envelope))
		}
		if e.Of > 1 {
			one.ID, one.Hashed, one.Body = "", false, e.Body // another identity than its own would be that of all of them
			one.Header[HeaderPart] = fmt.Sprintf("%d/%d", e.Number, e.Of)
			delete(one.Header, kombu.Header)
		}
		raws = append(raws, withNotice(one, e.Notice))
	}
	return raws, filtered, time.Time{}
}

func withNotice(raw event.Raw, n Notice) event.Raw {
	switch {
	case n.Vague:
		raw.ID, raw.Hashed = event.HashID(raw.Body), true
	case n.ID != "":
		raw.ID, raw.Hashed = n.ID, false
	}
	raw.Time = n.Time
	return raw
}
