package rawjson

import (
	"encoding/binary"
	"math/bits"
)

// maxOpen is how deep encoding/json follows.
const maxOpen = 10000

// valid tells whether text is JSON, as encoding/json.Valid does, and how deep it is nested. It is what reading a record costs
// most: strings are gone through eight bytes at a time.
func valid(text []byte) (ok bool, deepest int) {
	var space [64]byte
	open := space[:0] // the brackets that are open, by how they close
	i := skipSpace(text, 0)
	for {
		// A value begins here.
		if i >= len(text) {
			return false, 0
		}
		switch c := text[i]; c {
		case '{', '[':
			if len(open) == maxOpen {
				return false, 0
			}
			open = append(open, c+2)
			deepest = max(deepest, len(open))
			if i = skipSpace(text, i+1); i < len(text) && text[i] == c+2 {
				break
			}
			if c == '{' {
				if i = memberName(text, i); i < 0 {
					return false, 0
				}
			}
			continue
		case '"':
			i = stringIn(text, i)
		case 't':
			i = wordIn(text, i, "true")
		case 'f':
			i = wordIn(text, i, "false")
		case 'n':
			i = wordIn(text, i, "null")
		default:
			i = numberIn(text, i)
		}
		if i < 0 {
			return false, 0
		}
		// Here one ends, or is about to.
		for {
			i = skipSpace(text, i)
			if len(open) == 0 {
				return i == len(text), deepest
			}
			if i == len(text) {
				return false, 0
			}
			closes := open[len(open)-1]
			if text[i] == closes {
				open = open[:len(open)-1]
				i++
				continue
			}
			if text[i] != ',' {
				return false, 0
			}
			if i = skipSpace(text, i+1); closes == '}' {
				if i = memberName(text, i); i < 0 {
					return false, 0
				}
			}
			break
		}
	}
}

// memberName goes over the name of a member and its colon to its value; -1 if there is none.
func memberName(text []byte, i int) int {
	if i >= len(text) || text[i] != '"' {
		return -1
	}
	if i = stringIn(text, i); i < 0 {
		return -1
	}
	if i = skipSpace(text, i); i >= len(text) || text[i] != ':' {
		return -1
	}
	return skipSpace(text, i+1)
}

// stringIn returns the index behind the string that begins at i, -1 if it is none.
func stringIn(text []byte, i int) int {
	for i++; ; i++ {
		if i = plainUntil(text, i); i >= len(text) {
			return -1
		}
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		}
		if i++; i >= len(text) {
			return -1
		}
		switch text[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			for range 4 {
				if i++; i >= len(text) || !hexDigit(text[i]) {
					return -1
				}
			}
		default:
			return -1
		}
	}
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// plainUntil is the index of the first quote, backslash or control character from i on, or the length.
func plainUntil(text []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		x := binary.LittleEndian.Uint64(text[i:])
		quote, slash := x^ones*'"', x^ones*'\\'
		// The highest bit of each byte that is 0 in quote or slash, or below ' ' in x; above the first of them it may be wrong.
		if found := ((x-ones*' ')&^x | (quote-ones)&^quote | (slash-ones)&^slash) & high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return i
}

func wordIn(text []byte, i int, word string) int {
	if len(text)-i < len(word) || string(text[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// numberIn returns the index behind the number that begins at i, -1 if it is none.
func numberIn(text []byte, i int) int {
	if i < len(text) && text[i] == '-' {
		i++
	}
	switch {
	case i < len(text) && text[i] == '0':
		i++
	default:
		if i = digits(text, i); i < 0 {
			return -1
		}
	}
	if i < len(text) && text[i] == '.' {
		if i = digits(text, i+1); i < 0 {
			return -1
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		i = digits(text, i)
	}
	return i
}

// digits returns the index behind the digits from i on, -1 if there are none.
func digits(text []byte, i int) int {
	from := i
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}
