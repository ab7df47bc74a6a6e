package rawjson

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"slices"
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
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	text, _ := appendString(nil, quoted, 0)
	return text
}

// appendString appends what is in the string that begins at i, decoded, and returns the index behind it, -1 if it is none. JSON in a
// string has an escape every few bytes: eight bytes are copied at a time, and those from the escape on are written over.
func appendString(dst, text []byte, i int) (out []byte, end int) {
	n := len(dst)
	out = slices.Grow(dst, len(text)-i+8)
	out = out[:cap(out)]
	for i++; i < len(text); {
		if i+8 <= len(text) {
			x := binary.LittleEndian.Uint64(text[i:])
			binary.LittleEndian.PutUint64(out[n:], x)
			plain := bits.TrailingZeros64(special(x)) / 8
			if i, n = i+plain, n+plain; plain == 8 {
				continue
			}
		} else if c := text[i]; c >= ' ' && c != '"' && c != '\\' {
			out[n] = c
			i, n = i+1, n+1
			continue
		}
		switch c := text[i]; {
		case c == '"':
			return out[:n], i + 1
		case c < ' ' || i+1 == len(text):
			return dst, -1
		}
		c := text[i+1]
		if c == 'u' {
			r, size := escapedRune(text[i:])
			if size == 0 {
				return dst, -1
			}
			n += utf8.EncodeRune(out[n:], r) // which is shorter than its escape
			i += size
			continue
		}
		if c = escaped(c); c == 0 {
			return dst, -1
		}
		out[n] = c
		i, n = i+2, n+1
	}
	return dst, -1
}

// escaped is what a backslash and c stand for, 0 if for nothing.
func escaped(c byte) byte {
	switch c {
	case '"', '\\', '/':
		return c
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
	return 0
}

// escapedRune decodes an escape of four hexadecimal digits, and that of the second half of a surrogate pair if it is of the first. It
// returns how long it is, 0 if it is none.
func escapedRune(s []byte) (r rune, size int) {
	r = hexRune(s)
	if r < 0 {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if pair := utf16.DecodeRune(r, hexRune(s[6:])); pair != utf8.RuneError {
		return pair, 12
	}
	return utf8.RuneError, 6
}

// hexRune is what a backslash, u and four digits stand for, -1 if there is something else.
func hexRune(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range s[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// AppendQuoted appends s as a JSON string, as encoding/json writes it without HTML escapes: what is no UTF-8 becomes U+FFFD.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); {
		c, size := s[i], 1
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		r := rune(c)
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
		}
		dst = appendEscape(append(dst, s[done:i]...), r)
		i += size
		done = i
	}
	return append(append(dst, s[done:]...), '"')
}

// appendEscape appends the escape for a character below U+10000.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&0xf], hex[r>>8&0xf], hex[r>>4&0xf], hex[r&0xf])
}

// IsNumber tells whether s is a number as JSON writes it.
func IsNumber(s string) bool {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return false
	}
	last := s[len(s)-1]
	return last >= '0' && last <= '9' && json.Valid([]byte(s))
}
