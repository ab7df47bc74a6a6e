package publisher

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"stackstream/event"
)

// piece is the content of one batch but for the cursor.
type piece struct {
	messages []event.Message
	plain    int      // how many of messages have no number
	bytes    int      // of the bodies in messages
	objects  []object // to be stored before messages

	events   event.Identities // of raw events, for those who share them
	received time.Time        // when the last of them was
}

// object is a body that a message of the piece refers to.
type object struct {
	ref  event.BodyRef
	body []byte
}

func (p *piece) add(m event.Message) {
	p.messages = append(p.messages, m)
	p.bytes += len(m.Body)
}

// addUnnumbered adds a message that does not take part in the row of numbers.
func (p *piece) addUnnumbered(m event.Message) {
	p.add(m)
	p.plain++
}

// size is how many messages there are, numbered how many of them have a number.
func (p *piece) size() int     { return len(p.messages) }
func (p *piece) numbered() int { return len(p.messages) - p.plain }

func (p *piece) object(body []byte) event.BodyRef {
	ref := event.NewBodyRef(body)
	p.objects = append(p.objects, object{ref, body})
	return ref
}

// fit makes a raw event's message small enough: a body above maxBody goes to an object, and so does a whole set of headers
// above maxHeader, of which the message then keeps what stackstream itself reads.
func (p *piece) fit(m *event.Message, maxBody int) {
	if len(m.Body) > maxBody {
		event.SetBodyRef(m, p.object(m.Body))
	}
	size := headerSize(m.Header)
	if size <= maxHeader {
		return
	}
	// A map of strings always has a JSON form.
	whole, _ := json.Marshal(m.Header)
	m.Header.Set(event.HeaderAllObject, p.object(whole).Object)
	size = headerSize(m.Header)
	for _, name := range slices.SortedFunc(maps.Keys(m.Header), func(a, b string) int {
		return cmp.Or(lineSize(b, m.Header.Get(b))-lineSize(a, m.Header.Get(a)), cmp.Compare(a, b))
	}) {
		if size <= maxHeader {
			return
		}
		if !needed(name) || len(m.Header.Get(name)) > maxNeeded {
			size -= lineSize(name, m.Header.Get(name))
			delete(m.Header, name)
		}
	}
}

// maxNeeded is longer than any needed header that stackstream writes: the detail of a dead letter, every byte encoded.
const maxNeeded = 3 * maxDetail

// needed tells which headers a message can't be read without. They are short, but in a message that somebody else wrote.
func needed(name string) bool {
	switch name {
	case event.HeaderID, event.HeaderIDKind, event.HeaderSeq, event.HeaderReceived, event.HeaderTime, event.HeaderFormat,
		event.HeaderWatermark, event.HeaderBodyObject, event.HeaderBodySize, event.HeaderAllObject,
		event.HeaderRawSeq, event.HeaderRawSource, event.HeaderRawEvtSeq, event.HeaderConverter,
		event.HeaderOriginSource, event.HeaderOriginSeq, event.HeaderOriginEvtSeq, event.HeaderRedriven, event.HeaderDropped,
		event.HeaderBy, event.HeaderWhy, event.HeaderBackfill,
		event.HeaderReason, event.HeaderDetail, event.HeaderMessageFormat:
		return true
	}
	return false
}

// headerSize is how many bytes the headers take on the wire.
func headerSize(h event.Header) int {
	size := len("NATS/1.0\r\n\r\n")
	for name, values := range h {
		for _, value := range values {
			size += lineSize(name, value)
		}
	}
	return size
}

func lineSize(name, value string) int { return len(name) + len(": ") + len(value) + len("\r\n") }
