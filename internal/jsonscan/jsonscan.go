// Package jsonscan takes documents of event services apart without changing a byte of what it finds.
//
// It goes by strings and brackets only and does not check what is between them: one number that is no JSON (Python writes
// NaN) or one record that is nested without end must cost neither the other records of a page nor its own bytes. What it
// finds is therefore not known to be valid; package rawjson decides that, one record at a time.
//
// Nothing here recurses, and nothing takes more memory than a slice of what it found.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ErrCut is what a document is that ends in the middle: an answer that was cut off.
var ErrCut = errors.New("it is cut off in the middle")

// ErrMore is what it is that a list or an object was not gone through to its end.
var ErrMore = errors.New("it has more in it")

// ErrMissing is what Find returns where a document does not have what the path names.
var ErrMissing = errors.New("it is not there")

// Document returns the one value of a body, without white space around it.
func Document(body []byte) ([]byte, error) {
	rest := trim(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(rest) == 0 {
		return nil, errors.New("it is empty")
	}
	n, err := length(rest)
	if err != nil {
		return nil, err
	}
	if after := trim(rest[n:]); len(after) > 0 {
		return nil, fmt.Errorf("behind its end comes %q", excerpt(after))
	}
	return rest[:n:n], nil
}

// Find follows a path of names and indexes (written in digits) into a value. It returns ErrMissing where a step leads
// nowhere.
func Find(value []byte, path []string) ([]byte, error) {
	start, end, err := Span(value, path)
	if err != nil {
		return nil, err
	}
	return value[start:end:end], nil
}

// Span is where in a value Find finds what it returns.
func Span(value []byte, path []string) (start, end int, err error) {
	end = len(value)
	for _, step := range path {
		from, to, err := child(value[start:end], step)
		if err != nil {
			return 0, 0, err
		}
		start, end = start+from, start+to
	}
	return start, end, nil
}

func child(value []byte, step string) (start, end int, err error) {
	switch {
	case len(value) > 0 && value[0] == '{':
		err = members(value, func(name []byte, from, to int) bool {
			if isName(name, step) {
				start, end = from, to // the last one counts, as for JSON readers
			}
			return true
		})
	case len(value) > 0 && value[0] == '[':
		i, wanted := 0, index(step)
		err = elements(value, func(from, to int) bool {
			if i == wanted {
				start, end = from, to
			}
			i++
			return true
		})
	}
	if err == nil && end == 0 {
		err = ErrMissing
	}
	return start, end, err
}

// index is what a step of a path is as an index, -1 if it is none.
func index(step string) int {
	i, err := strconv.Atoi(step)
	if err != nil || i < 0 || strconv.Itoa(i) != step {
		return -1
	}
	return i
}

// Elements returns the elements of a list.
func Elements(list []byte) ([][]byte, error) {
	found := [][]byte{}
	err := EachElement(list, func(value []byte) bool { found = append(found, value); return true })
	return found, err
}

// EachElement calls f for each element of a list in their order, until it returns false: then it is ErrMore.
func EachElement(list []byte, f func(value []byte) bool) error {
	if len(list) == 0 || list[0] != '[' {
		return fmt.Errorf("it is no list but begins with %q", excerpt(list))
	}
	return elements(list, func(start, end int) bool { return f(list[start:end:end]) })
}

// Members returns the members of an object in their order. A name has its quotes, and is written as it came.
func Members(object []byte) (names, values [][]byte, err error) {
	names, values = [][]byte{}, [][]byte{}
	err = EachMember(object, func(name, value []byte) bool {
		names, values = append(names, name), append(values, value)
		return true
	})
	return names, values, err
}

// EachMember calls f for each member of an object in their order, until it returns false: then it is ErrMore.
func EachMember(object []byte, f func(name, value []byte) bool) error {
	if len(object) == 0 || object[0] != '{' {
		return fmt.Errorf("it is no object but begins with %q", excerpt(object))
	}
	return members(object, func(name []byte, start, end int) bool { return f(name, object[start:end:end]) })
}

func elements(list []byte, each func(start, end int) bool) error {
	rest := trim(list[1:])
	if len(rest) > 0 && rest[0] == ']' {
		return nil
	}
	for {
		n, err := length(rest)
		if err != nil {
			return err
		}
		at := len(list) - len(rest)
		if !each(at, at+n) {
			return ErrMore
		}
		var more bool
		if rest, more, err = next(rest[n:], ']'); err != nil || !more {
			return err
		}
	}
}

func members(object []byte, each func(name []byte, start, end int) bool) error {
	rest := trim(object[1:])
	if len(rest) > 0 && rest[0] == '}' {
		return nil
	}
	for {
		if len(rest) > 0 && rest[0] != '"' {
			return fmt.Errorf("where a name should be stands %q", excerpt(rest))
		}
		n, err := length(rest)
		if err != nil {
			return err
		}
		name := rest[:n]
		rest = trim(rest[n:])
		if len(rest) == 0 {
			return ErrCut
		}
		if rest[0] != ':' {
			return fmt.Errorf("behind the name %s comes %q", name[:min(len(name), 40)], excerpt(rest))
		}
		rest = trim(rest[1:])
		if n, err = length(rest); err != nil {
			return err
		}
		at := len(object) - len(rest)
		if !each(name, at, at+n) {
			return ErrMore
		}
		var more bool
		if rest, more, err = next(rest[n:], '}'); err != nil || !more {
			return err
		}
	}
}

// next goes to what follows a value: another one, or the end.
func next(rest []byte, end byte) (_ []byte, more bool, err error) {
	rest = trim(rest)
	switch {
	case len(rest) == 0:
		return nil, false, ErrCut
	case rest[0] == ',':
		return trim(rest[1:]), true, nil
	case rest[0] == end:
		return rest[1:], false, nil
	default:
		return nil, false, fmt.Errorf("behind a value comes %q", excerpt(rest))
	}
}

// length is how many bytes the value takes that b begins with.
func length(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, ErrCut
	}
	switch b[0] {
	case '{', '[':
		return bracketed(b)
	case '"':
		return quoted(b)
	case ',', ':', '}', ']':
		return 0, fmt.Errorf("where a value should be stands %q", excerpt(b))
	}
	for i, c := range b {
		switch c {
		case ',', ':', '}', ']', '{', '[', '"', ' ', '\t', '\r', '\n':
			return i, nil
		}
	}
	return len(b), nil
}

func quoted(b []byte) (int, error) {
	for i := 1; ; i++ {
		quote := bytes.IndexByte(b[min(i, len(b)):], '"')
		if quote < 0 {
			return 0, ErrCut
		}
		i += quote
		slashes := i
		for slashes > 1 && b[slashes-1] == '\\' {
			slashes--
		}
		if (i-slashes)%2 == 0 {
			return i + 1, nil
		}
	}
}

func bracketed(b []byte) (int, error) {
	for i, depth := 0, 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n, err := quoted(b[i:])
			if err != nil {
				return 0, err
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
	}
	return 0, ErrCut
}

// longestEscape is how many bytes of JSON may stand for one of a text.
const longestEscape = 6

func isName(quoted []byte, name string) bool {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == name
	}
	if len(inner) > longestEscape*len(name) {
		return false // and need not be decoded
	}
	var decoded string
	return json.Unmarshal(quoted, &decoded) == nil && decoded == name
}

func trim(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

func excerpt(b []byte) []byte { return b[:min(len(b), 20)] }
