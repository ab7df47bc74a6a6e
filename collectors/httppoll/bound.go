package httppoll

import (
	"errors"
	"fmt"

	"stackstream/internal/records"
)

// What an answer may be taken apart into at the least, however small max_body is. No service comes near that gives a page for reading: it
// is there for one that is broken, or means harm.
const (
	mostRecords = 1 << 20
	mostBytes   = 256 << 20
)

// bound goes with the memory that the operator grants an answer: so many records of 32 bytes, and each of them eight times as long by
// what it shares with others.
func (r Request) bound() records.Bound {
	return records.Bound{Records: int(max(mostRecords, r.MaxBody/32)), Bytes: max(mostBytes, 8*r.MaxBody)}
}

// tooLarge tells whether an answer was more than may be taken: with fewer records it may not be.
func tooLarge(err error) bool {
	var much *records.TooMuch
	return errors.Is(err, errTooLarge) || errors.As(err, &much)
}

// tooMuch says where an answer becomes as much as that.
func tooMuch(much *records.TooMuch, d records.Decoder) error {
	const wayOut = "have fewer records on a page, or a larger request.max_body"
	switch {
	case d.Parent != "" && much.Bytes > 0:
		return fmt.Errorf("the answer is too much: %w (records.expand and records.parent: each has the rest of its record; leave parent "+
			"out, %s)", much, wayOut)
	case len(d.Expand) > 0:
		return fmt.Errorf("the answer is too much: %w (with records.expand; %s)", much, wayOut)
	default:
		return fmt.Errorf("the answer is too much: %w (%s)", much, wayOut)
	}
}
