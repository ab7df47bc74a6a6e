package amqp1

import (
	"unicode/utf8"

	amqp "github.com/Azure/go-amqp"

	"stackstream/event"
)

// identity is what a message is known by whose body does not say it. The protocol wants a message-id to be one of a kind, and where it is
// text or a UUID that is believed. Numbers and bytes are what senders count their own messages by, and others count, too: then it is a
// hash of all that nobody changes on the way, however often the message is handed over and by whom. So it is where there is no id, and the
// body is kept as it was encoded (whole), for the header of a message counts how often it was handed over. It is "" where the hash of the
// body is as good.
func identity(m *message, whole bool) (id event.ID, hashed bool) {
	switch {
	case m.id == nil:
	case isText(m.id[0]):
		given := contents(m.id)
		if len(given) > 0 && utf8.Valid(given) {
			return event.BoundID(event.ID(given)), false
		}
		whole = whole || len(given) > 0
	case m.id[0] == isUUID:
		return event.ID(amqp.UUID(m.id[1:]).String()), false
	default:
		whole = true
	}
	if !whole {
		return "", false
	}
	return event.HashID(m.bare), true
}
