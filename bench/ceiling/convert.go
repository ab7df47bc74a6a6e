package main

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

var errEnvelope = errors.New("no envelope of oslo.messaging")

// convert makes the least that deserves the name of a canonical event: who, what, when, and the payload as it came. It looks at
// each byte about once, believes all of it, and is shown nothing but what services send. notice is room that is used again.
func convert(body []byte, notice *[]byte) ([]byte, error) {
	const message = `"oslo.message": "`
	at := bytes.Index(body, []byte(message))
	if at < 0 {
		return nil, errEnvelope
	}
	text := unescape((*notice)[:0], body[at+len(message):])
	*notice = text
	var id, kind, when, payload []byte
	for i := 1; i < len(text)-1; {
		name, value, next := member(text, i)
		if value == nil {
			return nil, errEnvelope
		}
		switch string(name) {
		case `"message_id"`:
			id = value
		case `"event_type"`:
			kind = value
		case `"timestamp"`:
			when = value
		case `"payload"`:
			payload = value
		}
		i = next
	}
	out := make([]byte, 0, len(payload)+256)
	out = append(append(out, `{"message_id":`...), id...)
	out = append(append(out, `,"event_type":`...), kind...)
	out = append(append(out, `,"timestamp":`...), when...)
	out = append(append(out, `,"provider":"bench","source":"amqp","payload":`...), payload...)
	return append(out, '}'), nil
}

// unescape reads a JSON string up to its closing quote.
func unescape(dst, src []byte) []byte {
	for {
		n := 0 // escapes are so close to each other that looking for the next one byte by byte is quickest
		for n < len(src) && src[n] != '"' && src[n] != '\\' {
			n++
		}
		dst = append(dst, src[:n]...)
		if n+1 >= len(src) || src[n] == '"' {
			return dst
		}
		c := src[n+1]
		src = src[n+2:]
		switch c {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'u':
			r := hexRune(src)
			src = src[min(4, len(src)):]
			if utf16.IsSurrogate(r) && bytes.HasPrefix(src, []byte(`\u`)) {
				r = utf16.DecodeRune(r, hexRune(src[2:]))
				src = src[min(6, len(src)):]
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
}

func hexRune(src []byte) rune {
	n, _ := strconv.ParseUint(string(src[:min(4, len(src))]), 16, 16)
	return rune(n)
}

// member is the member of an object that begins at i, and where the next one does.
func member(text []byte, i int) (name, value []byte, next int) {
	start := skip(text, i)
	end := valueEnd(text, start)
	if end >= len(text) {
		return nil, nil, end
	}
	name = text[start:end]
	start = skip(text, end)
	end = valueEnd(text, start)
	return name, text[start:end], end
}

// skip passes white space, commas and colons.
func skip(text []byte, i int) int {
	for i < len(text) && (text[i] <= ' ' || text[i] == ',' || text[i] == ':') {
		i++
	}
	return i
}

// valueEnd is where the value that begins at i ends.
func valueEnd(text []byte, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
			if depth < 0 {
				return i
			}
		case ',', ' ':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return min(i+1, len(text))
		}
	}
	return i
}
