package records

import (
	"fmt"

	"stackstream/internal/jsonscan"
)

// Bound is what an answer may be taken apart into. The zero Bound is whatever it is.
type Bound struct {
	// Records is how many records there may be, at each step in which they are expanded; 0: as many as there are.
	Records int
	// Bytes is how many bytes may be made in all; 0: as many as it takes. A record of JSON is the bytes that came and costs none, but
	// with Parent each is made anew with all that was around it, and each line of CSV with the names of the first: a short answer can
	// become as much as its length squared.
	Bytes int64
	// Take, if set, is called before memory is taken, with how much, for bytes that are made and for lists of records, and its error is
	// that of Decode. The document that is made of XML is not asked for.
	Take func(bytes int64) error
}

// listed is how much memory a record takes at the most in the lists of a step, while these grow.
const listed = 128

func (b Bound) full(records int) bool { return b.Records > 0 && records >= b.Records }

// TooMuch is what an answer is that would be taken apart into more than the Bound. One of the two is set, what it would exceed.
type TooMuch struct {
	Records int
	Bytes   int64
}

func (e *TooMuch) Error() string {
	if e.Records > 0 {
		return fmt.Sprintf("it has more than %d records", e.Records)
	}
	return fmt.Sprintf("its records have more than %d bytes together, each with what they share", e.Bytes)
}

// meter counts what is made of an answer.
type meter struct {
	Bound
	made  int64
	ended bool // an error was returned that is no mistake at some place of the answer
}

func (m *meter) tooMany() error {
	m.ended = true
	return &TooMuch{Records: m.Records}
}

// make is called before so many bytes are.
func (m *meter) make(bytes int) error {
	if bytes == 0 {
		return nil
	}
	if m.made += int64(bytes); m.Bytes > 0 && m.made > m.Bytes {
		m.ended = true
		return &TooMuch{Bytes: m.Bytes}
	}
	return m.take(int64(bytes))
}

func (m *meter) take(bytes int64) error {
	if m.Take == nil {
		return nil
	}
	err := m.Take(bytes)
	m.ended = m.ended || err != nil
	return err
}

// list is asked before a record is put into one list, or two, that have so many.
func (m *meter) list(records, lists int) error {
	const atOnce = 32
	switch {
	case m.full(records):
		return m.tooMany()
	case records%atOnce == 0:
		return m.take(int64(lists * atOnce * listed))
	}
	return nil
}

// elements are those of a list, beside so many records.
func (m *meter) elements(list []byte, records int) ([][]byte, error) {
	found := [][]byte{}
	var full error
	err := jsonscan.EachElement(list, func(value []byte) bool {
		if full = m.list(records+len(found), 1); full == nil {
			found = append(found, value)
		}
		return full == nil
	})
	if full != nil {
		return nil, full
	}
	return found, err
}

// members are those of an object.
func (m *meter) members(object []byte) (names, values [][]byte, err error) {
	var full error
	err = jsonscan.EachMember(object, func(name, value []byte) bool {
		if full = m.list(len(names), 2); full == nil {
			names, values = append(names, name), append(values, value)
		}
		return full == nil
	})
	if full != nil {
		return nil, nil, full
	}
	return names, values, err
}
