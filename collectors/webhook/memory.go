package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"stackstream/internal/rawjson"
	"stackstream/internal/records"
)

// memory is what a request takes beside its body: while it is decoded, and for its events until they are stored. Whoever decodes asks
// for it before taking it, so that no more is taken of all requests than they may have together. The nil memory grants everything.
//
// The bodies of events are the bytes that were read, as far as they need not be made anew: they cost nothing that is not counted.
type memory struct {
	limits Limits
	more   func(bytes int64) *refusal // gets more, or says why not

	got   int64 // so far
	kept  int64 // that is needed until the events are stored
	now   int64 // and that is for the event that is being made
	brief int64 // the most that was for one of them
	// full says why there was no more: nothing that was made then may be used.
	full *refusal
}

const (
	// eventCost is what an event takes beside its body, where its identity and its type are short.
	eventCost = 512
	// memoryStep is what is got at once.
	memoryStep = 4 << 10
	// maxGrowth is how many times limits.body records may be together that are made with what is around them.
	maxGrowth = 4
)

// keep asks for memory that is needed until the events are stored.
func (m *memory) keep(bytes int64) *refusal {
	if m == nil {
		return nil
	}
	m.kept += bytes
	return m.need()
}

// briefly asks for memory that is needed until the next event is made.
func (m *memory) briefly(bytes int64) *refusal {
	if m == nil {
		return nil
	}
	m.now += bytes
	m.brief = max(m.brief, m.now)
	return m.need()
}

// next says that another event is made: what was for the one before is there for this one.
func (m *memory) next() {
	if m != nil {
		m.now = 0
	}
}

func (m *memory) need() *refusal {
	want := m.kept + m.brief - m.got
	if want <= 0 || m.full != nil {
		return m.full
	}
	want = max(want, memoryStep)
	if m.full = m.more(want); m.full == nil {
		m.got += want
	}
	return m.full
}

// refused says why there was no more, if so.
func (m *memory) refused() *refusal {
	if m == nil {
		return nil
	}
	return m.full
}

// excess is what is no longer needed when everything is decoded.
func (m *memory) excess() int64 { return m.got - m.kept }

// bound is what a body may be taken apart into.
func (m *memory) bound() records.Bound {
	if m == nil {
		return records.Bound{}
	}
	return records.Bound{Records: m.limits.Events, Bytes: maxGrowth * m.limits.Body, Take: func(bytes int64) error {
		if refused := m.keep(bytes); refused != nil {
			return refused
		}
		return nil
	}}
}

// take takes apart a value that a request has in it, and that becomes an event. Where it has to be mended first it is no longer what
// came, and whole is false.
func (m *memory) take(doc *rawjson.Doc, text []byte, levels int) (whole bool, err error) {
	m.next()
	parts := rawjson.MostParts(text)
	if refused := m.briefly(int64(parts) * rawjson.PartSize); refused != nil {
		return false, refused
	}
	doc.Reserve(parts)
	if doc.Take(text, levels) {
		return true, nil
	}
	if refused := m.briefly(mending * int64(len(text))); refused != nil {
		return false, refused
	}
	_, err = doc.Parse(text, levels)
	return false, err
}

// mending is how many times the length of a text mending it takes at the most: bytes that are no UTF-8 become three each, and words
// that are no JSON get quotes, while what is made of it grows.
const mending = 8

func invalid(field, text string) *refusal {
	return &refusal{status: http.StatusBadRequest, reason: reasonInvalid, field: field, text: text}
}

// notTaken is the refusal of a body, or of a part of it, that could not be decoded.
func notTaken(field string, err error) *refusal {
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		return refused
	}
	tooLarge := func(format string, most int64) *refusal {
		return &refusal{status: http.StatusRequestEntityTooLarge, reason: reasonTooLarge, text: fmt.Sprintf(format, most)}
	}
	if much := (*records.TooMuch)(nil); errors.As(err, &much) {
		if much.Records > 0 {
			return tooLarge("it has more than %d events (limits.events)", int64(much.Records))
		}
		return tooLarge("its records have more than %d bytes together, each with the rest of what it was in (records.expand and "+
			"records.parent): "+fmt.Sprint(maxGrowth)+" times limits.body is the most", much.Bytes)
	}
	return invalid(field, strings.ReplaceAll(err.Error(), "the answer", "the body"))
}
