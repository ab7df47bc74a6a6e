package panko

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"stackstream/event"
)

// element is one event of a page.
type element struct {
	raw       event.Raw
	messageID string // empty where Panko gave none
	eventType string
}

// splitList cuts a JSON list of objects into its elements, each byte for byte.
//
// It finds where elements begin and end by strings and brackets only and does not check what is between: Python writes
// NaN and Infinity, which are not JSON, and one such number must not cost the other events of the page, nor its own.
func splitList(body []byte) ([][]byte, error) {
	rest := trimSpace(body)
	if len(rest) == 0 {
		return nil, errors.New("the answer is empty")
	}
	if rest[0] != '[' {
		return nil, fmt.Errorf("the answer is no list of events but begins with %q", excerpt(rest))
	}
	rest = trimSpace(rest[1:])
	var out [][]byte
	if len(rest) > 0 && rest[0] == ']' {
		return nil, end(rest[1:])
	}
	for {
		if len(rest) == 0 {
			return nil, errCut
		}
		if rest[0] != '{' {
			return nil, fmt.Errorf("element %d of the list is no event but begins with %q", len(out), excerpt(rest))
		}
		n := objectLength(rest)
		if n == 0 {
			return nil, errCut
		}
		out = append(out, rest[:n:n])
		rest = trimSpace(rest[n:])
		if len(rest) == 0 {
			return nil, errCut
		}
		switch rest[0] {
		case ',':
			rest = trimSpace(rest[1:])
		case ']':
			return out, end(rest[1:])
		default:
			return nil, fmt.Errorf("after element %d of the list comes %q", len(out)-1, excerpt(rest))
		}
	}
}

var errCut = errors.New("the answer is cut off in the middle")

func end(rest []byte) error {
	if rest = trimSpace(rest); len(rest) > 0 {
		return fmt.Errorf("after the list comes %q", excerpt(rest))
	}
	return nil
}

func trimSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

func excerpt(b []byte) []byte { return b[:min(len(b), 20)] }

// objectLength is the length of the object that b begins with, 0 if it does not end.
func objectLength(b []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// oddities counts what a page should not have.
type oddities struct{ noID, noTime, notJSON int }

// decodePage reads the answer to GET /v2/events. Only what is needed here is decoded.
func decodePage(body []byte, received time.Time) ([]element, oddities, error) {
	var odd oddities
	bodies, err := splitList(body)
	if err != nil {
		return nil, odd, err
	}
	out := make([]element, len(bodies))
	for i, b := range bodies {
		out[i] = decodeElement(b, received, &odd)
	}
	return out, odd, nil
}

func decodeElement(body []byte, received time.Time, odd *oddities) element {
	var fields struct {
		MessageID text `json:"message_id"`
		EventType text `json:"event_type"`
		Generated text `json:"generated"`
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		if err = json.Unmarshal(withoutNaN(body), &fields); err != nil {
			odd.notJSON++
		}
	}
	e := element{messageID: string(fields.MessageID), eventType: string(fields.EventType)}
	e.raw = event.Raw{
		ID: event.BoundID(event.ID(e.messageID)), Received: received, Format: Format, ContentType: "application/json",
		// The page is one block of memory: an event must not keep all of it alive while it waits.
		Body: bytes.Clone(body),
	}
	if e.messageID == "" {
		odd.noID++
		e.raw.ID, e.raw.Hashed = event.HashID(body), true
	}
	at, err := event.ParseTimestamp(string(fields.Generated))
	if err != nil {
		odd.noTime++
	} else {
		e.raw.Time = at.Time()
	}
	return e
}

// text takes a JSON string, and nothing where something else stands.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	}
	return nil
}

// withoutNaN puts null in the place of the numbers that Python writes and JSON does not know.
func withoutNaN(body []byte) []byte {
	out := make([]byte, 0, len(body))
	inString := false
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case inString && c == '\\' && i+1 < len(body):
			out = append(out, c)
			i++
			c = body[i]
		case c == '"':
			inString = !inString
		case !inString && (c == '-' || c == 'N' || c == 'I'):
			if n := notANumber(body[i:]); n > 0 {
				out = append(out, "null"...)
				i += n - 1
				continue
			}
		}
		out = append(out, c)
	}
	return out
}

func notANumber(b []byte) int {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(b, []byte(word)) {
			return len(word)
		}
	}
	return 0
}
