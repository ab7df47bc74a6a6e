package amqp1

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"stackstream/event"
)

// The sections of a message: part 3 of AMQP 1.0, section 3.2.
const (
	sectionHeader              = 0x70
	sectionDeliveryAnnotations = 0x71
	sectionAnnotations         = 0x72
	sectionProperties          = 0x73
	sectionApplication         = 0x74
	sectionData                = 0x75
	sectionSequence            = 0x76
	sectionValue               = 0x77
	sectionFooter              = 0x78
)

// message is what matters here of one. Its slices are parts of what it was read from.
type message struct {
	redelivered bool
	id          []byte // a value, as it was encoded; nil: none

	contentType, contentEncoding, subject []byte
	traceparent, tracestate               []byte

	body  []byte
	plain bool   // the body is text or bytes, also where it is empty
	bare  []byte // what those may not change who hand it on: all but header, annotations and footer
}

var errNoMessage = errors.New("not a message of AMQP 1.0")

// readMessage reads a message in one pass. All that is in it has to be well formed; but what need not be known is not decoded, and
// nothing is copied but a body that stands in several sections.
func readMessage(b []byte) (*message, error) {
	m := new(message)
	var data, value []byte
	several, sequence := false, false
	from, to := 0, len(b)
	w := walker{values: math.MaxInt, kept: true}
	for at := 0; at < len(b); {
		section, start := sectionAt(b, at)
		end, err := w.walk(b, start)
		if err != nil {
			return nil, err
		}
		v := b[start:end:end]
		ok := true
		switch section {
		case sectionHeader:
			ok = m.header(v)
		case sectionProperties:
			ok = m.properties(v)
		case sectionApplication:
			ok = m.application(v)
		case sectionDeliveryAnnotations, sectionAnnotations, sectionFooter:
			ok = v[0] == isNull || v[0] == isMap8 || v[0] == isMap32
		case sectionData:
			switch ok = v[0] == isNull || isBinary(v[0]); {
			case !ok || v[0] == isNull:
			case data == nil:
				data = contents(v)
			default:
				if !several {
					several = true
					data = append(make([]byte, 0, len(data)+len(b)-start), data...)
				}
				data = append(data, contents(v)...)
			}
		case sectionSequence:
			sequence = true
			ok = slices.Contains([]byte{isNull, isList0, isList8, isList32}, v[0])
		case sectionValue:
			if v[0] != isNull {
				value = v
			}
		default:
			ok = false
		}
		if !ok {
			return nil, errNoMessage
		}
		switch section {
		case sectionHeader, sectionDeliveryAnnotations, sectionAnnotations:
			if from == at {
				from = end
			}
		case sectionFooter:
			if end == len(b) {
				to = at
			}
		}
		at = end
	}
	m.bare = b[from:to]
	switch {
	case sequence:
	case value == nil:
		m.body, m.plain = data, true
	case isText(value[0]) || isBinary(value[0]):
		m.body, m.plain = contents(value), true
	}
	return m, nil
}

// sectionAt is the number of the section at a place, and where its value begins; 0 if that can't be read.
func sectionAt(b []byte, at int) (section uint64, start int) {
	switch rest := b[at:]; {
	case len(rest) > 2 && rest[0] == isDescribed && rest[1] == 0x53:
		return uint64(rest[2]), at + 3
	case len(rest) > 9 && rest[0] == isDescribed && rest[1] == 0x80:
		return binary.BigEndian.Uint64(rest[2:]), at + 10
	}
	return 0, at
}

// header reads how often it was handed over.
func (m *message) header(v []byte) bool {
	ok := true
	_, err := readList(v, func(i int, value []byte) {
		switch {
		case i > 4:
			ok = false
		case i == 4 && value[0] != isNull:
			n, known := number(value)
			m.redelivered, ok = n > 0, ok && known
		}
	})
	return ok && err == nil
}

// properties reads what the sender says of it.
func (m *message) properties(v []byte) bool {
	ok := true
	_, err := readList(v, func(i int, value []byte) {
		var text *[]byte
		switch i {
		case 3:
			text = &m.subject
		case 6:
			text = &m.contentType
		case 7:
			text = &m.contentEncoding
		}
		switch {
		case i > 12:
			ok = false
		case value[0] == isNull:
		case i == 0:
			m.id = value
		case text == nil:
		case isText(value[0]):
			*text = contents(value)
		default:
			ok = false
		}
	})
	return ok && err == nil
}

// application reads what the sender adds: the trace it belongs to.
func (m *message) application(v []byte) bool {
	if v[0] == isNull {
		return true
	}
	at := 3
	switch v[0] {
	case isMap8:
	case isMap32:
		at = 9
	default:
		return false
	}
	for at < len(v) {
		between := skip(v, at)
		key := v[at:between]
		at = skip(v, between)
		value := v[between:at]
		if !isText(key[0]) {
			return false
		}
		text := []byte(nil)
		if isText(value[0]) {
			text = contents(value)
		}
		switch string(contents(key)) {
		case event.HeaderTraceparent:
			m.traceparent = text
		case event.HeaderTracestate:
			m.tracestate = text
		}
	}
	return true
}
