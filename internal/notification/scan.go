package notification

import (
	"unicode/utf8"

	"stackstream/internal/rawjson"
)

// The functions here take JSON (RFC 8259) as it is, and nothing that would have to be mended. Each returns the index
// behind what it passed over, or -1 if that is not JSON. An index at or behind the end of the text is allowed.

func skipSpace(text []byte, i int) int {
	for i < len(text) && text[i] <= ' ' && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// skipValue passes over the value that begins at i, inside of depth others.
func skipValue(text []byte, i, depth int) int {
	if i >= len(text) {
		return -1
	}
	switch c := text[i]; c {
	case '"':
		return skipString(text, i)
	case '{', '[':
		if depth >= rawjson.MaxDepth {
			return -1
		}
		return skipInside(text, i, depth+1)
	case 't':
		return skipWord(text, i, "true")
	case 'f':
		return skipWord(text, i, "false")
	case 'n':
		return skipWord(text, i, "null")
	default:
		return skipNumber(text, i)
	}
}

// skipInside passes over an object or an array.
func skipInside(text []byte, i, depth int) int {
	object, end := text[i] == '{', byte(']')
	if object {
		end = '}'
	}
	if i = skipSpace(text, i+1); i < len(text) && text[i] == end {
		return i + 1
	}
	for {
		if object {
			if i >= len(text) || text[i] != '"' {
				return -1
			}
			if i = skipString(text, i); i < 0 {
				return -1
			}
			if i = skipSpace(text, i); i >= len(text) || text[i] != ':' {
				return -1
			}
			i = skipSpace(text, i+1)
		}
		if i = skipValue(text, i, depth); i < 0 {
			return -1
		}
		if i = skipSpace(text, i); i >= len(text) {
			return -1
		}
		switch text[i] {
		case end:
			return i + 1
		case ',':
			i = skipSpace(text, i+1)
		default:
			return -1
		}
	}
}

func skipWord(text []byte, i int, word string) int {
	if end := i + len(word); end <= len(text) && string(text[i:end]) == word {
		return end
	}
	return -1
}

func skipNumber(text []byte, i int) int {
	if i < len(text) && text[i] == '-' {
		i++
	}
	start := i
	if i = skipDigits(text, i); i == start || text[start] == '0' && i > start+1 {
		return -1
	}
	if i < len(text) && text[i] == '.' {
		start = i + 1
		if i = skipDigits(text, start); i == start {
			return -1
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		start = i
		if i = skipDigits(text, start); i == start {
			return -1
		}
	}
	return i
}

func skipDigits(text []byte, i int) int {
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	return i
}

// plain are the bytes that stand for themselves in a string.
func plain(c byte) bool { return c >= ' ' && c != '"' && c != '\\' }

// skipString passes over the string whose quote is at i.
func skipString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		c := text[i]
		if plain(c) {
			continue
		}
		if c == '"' {
			return i + 1
		}
		_, n := unescape(text, i)
		if n == 0 {
			return -1
		}
		i += n - 1
	}
	return -1
}

// unquote returns the content of the string whose quote is at i, and the index behind it. It refuses characters that are
// escaped as a surrogate pair: what is looked for here is JSON in a string, which has escapes of its own for those.
func unquote(text []byte, i int) ([]byte, int) {
	content := make([]byte, len(text)-i)
	n := 0
	for i++; i < len(text); i++ {
		c := text[i]
		switch {
		case plain(c):
		case c == '"':
			return content[:n], i + 1
		default:
			r, width := unescape(text, i)
			if width == 0 || r >= 0xd800 && r < 0xe000 {
				return nil, -1
			}
			i += width - 1
			if r >= utf8.RuneSelf {
				n += utf8.EncodeRune(content[n:], r) // which is shorter than its escape
				continue
			}
			c = byte(r)
		}
		content[n] = c
		n++
	}
	return nil, -1
}

// unescape returns the character that the escape at i stands for, and the length of the escape, 0 if there is none.
func unescape(text []byte, i int) (r rune, n int) {
	if text[i] != '\\' || i+1 >= len(text) {
		return 0, 0
	}
	switch c := text[i+1]; c {
	case '"', '\\', '/':
		return rune(c), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		if i+6 > len(text) {
			return 0, 0
		}
		for _, h := range text[i+2 : i+6] {
			switch {
			case h >= '0' && h <= '9':
				r = r<<4 | rune(h-'0')
			case h >= 'a' && h <= 'f':
				r = r<<4 | rune(h-'a'+10)
			case h >= 'A' && h <= 'F':
				r = r<<4 | rune(h-'A'+10)
			default:
				return 0, 0
			}
		}
		return r, 6
	}
	return 0, 0
}
