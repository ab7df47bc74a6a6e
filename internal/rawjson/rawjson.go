// Package rawjson reads JSON without changing it: numbers keep every digit, members their order, and whatever is not
// asked for is passed on byte for byte. Converters are built on it because what they do not understand must arrive
// as it was sent.
//
// Parse is the only way in from foreign bytes. Everything else works on a Value, which is known to be valid.
package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how deep a document may be nested. It is far above what event services send and below what the JSON
// readers of subscribers take.
const MaxDepth = 256

// Value is one valid JSON value without white space around it. The nil Value stands for "not there".
type Value []byte

// Member is one member of an object. Name is decoded; like Value it may share memory with the document.
type Member struct {
	Name  []byte
	Value Value
}

// Object is the members of an object in their order.
type Object []Member

// Parse checks that body is one JSON value. Three things that event services send although they are no JSON are
// mended, since refusing them would lose the event: the bare words NaN, Infinity and -Infinity (Python writes them)
// become strings, bytes that are no UTF-8 become U+FFFD, and a byte order mark is dropped. The result may share memory
// with body.
func Parse(body []byte) (Value, error) {
	v, _, err := ParseMended(body)
	return v, err
}

// ParseMended is Parse, and says how many values it changed: the bare words, and the places with bytes that are no
// UTF-8. A byte order mark is not counted: no value is another without it.
func ParseMended(body []byte) (v Value, mended int, err error) {
	var d Doc
	if mended, err = d.Parse(body, 0); err != nil {
		return nil, 0, err
	}
	return bytes.TrimSpace(d.text), mended, nil
}

// invalidRuns counts the runs of bytes that bytes.ToValidUTF8 replaces.
func invalidRuns(text []byte) int {
	runs, inside := 0, false
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		invalid := r == utf8.RuneError && size == 1
		if invalid && !inside {
			runs++
		}
		inside = invalid
		text = text[size:]
	}
	return runs
}

// syntaxError says where text stops being JSON.
func syntaxError(text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("empty")
	}
	var any json.RawMessage
	err := json.Unmarshal(text, &any)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return fmt.Errorf("byte %d: %w", syntax.Offset, err)
	}
	if err == nil {
		err = errors.New("not JSON")
	}
	return err
}

// quoteNonFinite puts NaN, Infinity and -Infinity between quotes where they stand outside of strings, and counts them.
func quoteNonFinite(text []byte) (quoted []byte, words int) {
	out := make([]byte, 0, len(text)+16)
	for i := 0; i < len(text); {
		if text[i] == '"' {
			end := stringEnd(text, i)
			out = append(out, text[i:end]...)
			i = end
			continue
		}
		word := ""
		for _, w := range []string{"NaN", "Infinity", "-Infinity"} {
			if bytes.HasPrefix(text[i:], []byte(w)) {
				word = w
			}
		}
		if word == "" {
			out = append(out, text[i])
			i++
			continue
		}
		out = append(append(append(out, '"'), word...), '"')
		i += len(word)
		words++
	}
	return out, words
}

// IsNull tells whether the value is null or not there.
func (v Value) IsNull() bool { return len(v) == 0 || v[0] == 'n' }

// IsObject tells whether the value is an object.
func (v Value) IsObject() bool { return len(v) > 0 && v[0] == '{' }

// IsArray tells whether the value is an array.
func (v Value) IsArray() bool { return len(v) > 0 && v[0] == '[' }

// IsEmpty tells whether the value has nothing in it: not there, null, "", {} or [].
func (v Value) IsEmpty() bool {
	if v.IsNull() {
		return true
	}
	switch v[0] {
	case '"':
		return len(v) == 2
	case '{', '[':
		return skipSpace(v, 1) == len(v)-1
	}
	return false
}

// Text returns the content of a string.
func (v Value) Text() (s string, ok bool) {
	text, ok := v.TextBytes()
	return string(text), ok
}

// TextBytes is Text without a copy where there is nothing to decode: the result may share memory with the value.
func (v Value) TextBytes() (text []byte, ok bool) {
	if len(v) < 2 || v[0] != '"' {
		return nil, false
	}
	return unquoteBytes(v), true
}

// ID returns the text of a string or of a number, "" for anything else: services write identifiers as either.
func (v Value) ID() string {
	if len(v) == 0 {
		return ""
	}
	switch c := v[0]; {
	case c == '"':
		return unquote(v)
	case c == '-' || c >= '0' && c <= '9':
		return string(v)
	}
	return ""
}

// Members returns the members of an object; ok is false if the value is none.
func (v Value) Members() (object Object, ok bool) {
	if !v.IsObject() {
		return nil, false
	}
	var few [32]Member // where they are collected, so that no more memory is taken than they need
	members := few[:0]
	for i := skipSpace(v, 1); i < len(v) && v[i] == '"'; {
		nameEnd := stringEnd(v, i)
		name := unquoteBytes(v[i:nameEnd])
		start := skipSpace(v, skipSpace(v, nameEnd)+1) // behind the colon
		end := valueEnd(v, start)
		members = append(members, Member{Name: name, Value: v[start:end]})
		i = skipSpace(v, end)
		if i < len(v) && v[i] == ',' {
			i = skipSpace(v, i+1)
		}
	}
	object = make(Object, len(members))
	copy(object, members)
	return object, true
}

// Member is Get of the members, of which it makes no list.
func (v Value) Member(name string) (found Value) {
	if !v.IsObject() {
		return nil
	}
	for i := skipSpace(v, 1); i < len(v) && v[i] == '"'; {
		nameEnd := stringEnd(v, i)
		start := skipSpace(v, skipSpace(v, nameEnd)+1) // behind the colon
		end := valueEnd(v, start)
		if string(unquoteBytes(v[i:nameEnd])) == name {
			found = v[start:end]
		}
		i = skipSpace(v, end)
		if i < len(v) && v[i] == ',' {
			i = skipSpace(v, i+1)
		}
	}
	return found
}

// Elements returns the elements of an array; ok is false if the value is none.
func (v Value) Elements() (elements []Value, ok bool) {
	if !v.IsArray() {
		return nil, false
	}
	for i := skipSpace(v, 1); i < len(v) && v[i] != ']'; {
		end := valueEnd(v, i)
		elements = append(elements, v[i:end])
		i = skipSpace(v, end)
		if i < len(v) && v[i] == ',' {
			i = skipSpace(v, i+1)
		}
	}
	return elements, true
}

// Get returns the value of the last member with that name, as JSON readers do, or nil.
func (o Object) Get(name string) Value {
	for i := len(o) - 1; i >= 0; i-- {
		if string(o[i].Name) == name {
			return o[i].Value
		}
	}
	return nil
}
