package event

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Format is the newest format of records and messages that this version reads, and the package comment says what it
// stands for. What has no number has format 1.
const Format = 2

// NewerError says that a record or a message has a format that this version does not know. It must be left alone: what
// looks familiar in it may mean something else.
type NewerError struct {
	Found, Reads int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("written by a newer stackstream (format %d, this one reads up to %d): run that version again, or one "+
		"that is newer still", e.Found, e.Reads)
}

// Decode reads a record, which is a JSON object, that has at most the format reads. Of one that is newer nothing is read,
// and the error is a *NewerError. The caller gives an error its kind.
func Decode(record []byte, reads int, into any) error {
	var of struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(record, &of); err != nil {
		return err
	}
	switch {
	case of.Format < 0:
		return fmt.Errorf("its format is %d", of.Format)
	case of.Format > reads:
		return &NewerError{Found: of.Format, Reads: reads}
	}
	return json.Unmarshal(record, into)
}

// DecodeRecord reads a cursor or a choice from the message that holds it. An error has the kind Invalid; it is a
// *NewerError below that if a newer version wrote the record. What could not be written again, which a time may be that JSON
// has a form for, is refused: a writer carries over what it does not change.
func DecodeRecord(m Stored, into any) error {
	err := Decode(m.Body, Format, into)
	if err == nil {
		_, err = json.Marshal(into)
	}
	if err != nil {
		return &Error{Kind: Invalid, Op: "read record " + m.Subject, Err: err}
	}
	return nil
}

// CheckFormat returns a *NewerError for the headers of a message that a newer version wrote, and another error for a
// format that is no number.
func CheckFormat(h Header) error {
	text := h.Get(HeaderMessageFormat)
	if text == "" {
		return nil
	}
	found, err := strconv.Atoi(text)
	switch {
	case err != nil || found < 1:
		return fmt.Errorf("%s is %q", HeaderMessageFormat, text)
	case found > Format:
		return &NewerError{Found: found, Reads: Format}
	}
	return nil
}
