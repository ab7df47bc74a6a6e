package amqp1

import (
	"encoding/binary"
	"unicode/utf8"

	amqp "github.com/Azure/go-amqp"

	"stackstream/event"
)

// identity is what a message is known by whose body does not say it. The protocol wants a message-id to be one of a kind, and where it is
// text or a UUID that is believed. Numbers and bytes are what senders count their own messages by, and others count, too: then it is a
// hash of all that nobody changes on the way, however often the message is handed over and by whom. So it is where there is no id, and the
// body is kept as it was encoded (whole), for the header of a message counts how often it was handed over. It is "" where the hash of the
// body is as good.
func identity(m *amqp.Message, payload []byte, whole bool) (id event.ID, hashed bool) {
	var given any
	if m.Properties != nil {
		given = m.Properties.MessageID
	}
	switch given := given.(type) {
	case string:
		if given != "" && utf8.ValidString(given) {
			return event.BoundID(event.ID(given)), false
		}
		whole = whole || given != ""
	case amqp.UUID:
		return event.ID(given.String()), false
	case nil:
	default:
		whole = true
	}
	if !whole {
		return "", false
	}
	return event.HashID(bare(payload)), true
}

// bare is a message without what those who hand it on may change: header, annotations and footer.
func bare(payload []byte) []byte {
	from, to := 0, len(payload)
	for at := 0; at < len(payload); {
		end := behind(payload, at)
		if end <= at {
			break
		}
		switch section(payload[at:]) {
		case 0x70, 0x71, 0x72:
			if from == at {
				from = end
			}
		case 0x78:
			if end == len(payload) {
				to = at
			}
		}
		at = end
	}
	return payload[from:to]
}

// section is the number of the section that b begins with, 0 if it can't be read.
func section(b []byte) uint64 {
	switch {
	case len(b) > 2 && b[0] == 0 && b[1] == 0x53:
		return uint64(b[2])
	case len(b) > 9 && b[0] == 0 && b[1] == 0x80:
		return binary.BigEndian.Uint64(b[2:])
	}
	return 0
}

// behind is where the value at a place in b ends; what can't be read ends nowhere, which is before it.
func behind(b []byte, at int) int {
	for values := 1; values > 0; values-- {
		if at >= len(b) {
			return -1
		}
		kind := b[at]
		at++
		size := 0
		switch kind >> 4 {
		case 0x0:
			values += 2 // what describes a value, and the value
		case 0x5, 0x6, 0x7, 0x8, 0x9:
			at += 1 << (kind>>4 - 5)
		case 0xa, 0xc, 0xe:
			size = 1
		case 0xb, 0xd, 0xf:
			size = 4
		}
		if at+size > len(b) {
			return -1
		}
		switch size {
		case 1:
			at += 1 + int(b[at])
		case 4:
			at += 4 + int(binary.BigEndian.Uint32(b[at:]))
		}
	}
	if at > len(b) {
		return -1
	}
	return at
}
