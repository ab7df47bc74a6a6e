package rawjson

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"
)

// stringEnd returns the index behind the string that begins at i.
func stringEnd(v []byte, i int) int {
	start := i + 1
	for i = start; ; i++ {
		quote := bytes.IndexByte(v[i:], '"')
		if quote < 0 {
			return len(v)
		}
		i += quote
		slashes := i
		for slashes > start && v[slashes-1] == '\\' {
			slashes--
		}
		if (i-slashes)%2 == 0 {
			return i + 1
		}
	}
}

func skipSpace(v []byte, i int) int {
	for i < len(v) && (v[i] == ' ' || v[i] == '\t' || v[i] == '\n' || v[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index behind the value that begins at i.
func valueEnd(v []byte, i int) int {
	open := 0
	for i < len(v) {
		switch v[i] {
		case '"':
			i = stringEnd(v, i)
		case '{', '[':
			open++
			i++
			continue
		case '}', ']':
			open--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default:
			for i < len(v) && !delimiter(v[i]) {
				i++
			}
		}
		if open <= 0 {
			break
		}
	}
	return min(i, len(v))
}

func delimiter(c byte) bool {
	switch c {
	case ',', ':', '}', ']', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

// unquote decodes a JSON string. An escaped half of a surrogate pair becomes U+FFFD.
func unquote(quoted []byte) string { return string(unquoteBytes(quoted)) }

// unquoteBytes is unquote without a copy where there is nothing to decode.
func unquoteBytes(quoted []byte) []byte {
	if len(quoted) < 2 {
		return nil
	}
	inner := quoted[1 : len(quoted)-1]
	next := bytes.IndexByte(inner, '\\')
	if next < 0 {
		return inner
	}
	out := make([]byte, 0, len(inner))
	for next >= 0 && next+1 < len(inner) {
		out = append(out, inner[:next]...)
		c := inner[next+1]
		inner = inner[next+2:]
		if c == 'u' {
			var r rune
			r, inner = escapedRune(inner)
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, escaped(c))
		}
		next = bytes.IndexByte(inner, '\\')
	}
	return append(out, inner...)
}

// escaped is what a backslash and c stand for.
func escaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // a quote, a backslash, a slash
}

// escapedRune decodes four hexadecimal digits, and the second half of a surrogate pair if they are the first. It returns
// what comes behind.
func escapedRune(s []byte) (rune, []byte) {
	r, s := hexRune(s)
	if !utf16.IsSurrogate(r) {
		return r, s
	}
	if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
		low, rest := hexRune(s[2:])
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, rest
		}
	}
	return utf8.RuneError, s
}

func hexRune(s []byte) (rune, []byte) {
	var r rune
	n := min(4, len(s))
	for _, c := range s[:n] {
		switch {
		case c >= 'a':
			c -= 'a' - 10
		case c >= 'A':
			c -= 'A' - 10
		default:
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r, s[n:]
}

// AppendQuoted appends s as a JSON string.
func AppendQuoted(dst []byte, s string) []byte {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\' && s[i] != '<' && s[i] != '>' && s[i] != '&'
	}
	if plain {
		return append(append(append(dst, '"'), s...), '"')
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string always encodes
		return append(dst, `""`...)
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// IsNumber tells whether s is a number as JSON writes it.
func IsNumber(s string) bool {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return false
	}
	last := s[len(s)-1]
	return last >= '0' && last <= '9' && json.Valid([]byte(s))
}
