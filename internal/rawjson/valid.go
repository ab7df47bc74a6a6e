package rawjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// maxOpen is how deep encoding/json follows.
const maxOpen = 10000

// scanner finds out whether a text is JSON, and where the values in it are. It is what reading a record costs most: a text
// is gone through once, and strings eight bytes at a time.
type scanner struct {
	text    []byte
	levels  int    // how many of them go into parts, the outermost first
	parts   []part // in the order in which they begin
	deepest int    // how deep it is nested
	escaped bool   // a name among the parts has escapes

	hold    string // the member whose string is taken apart into another Doc, or decoded
	into    *Doc
	deep    int
	held    int  // the part it is, if it was
	apart   bool // it was taken apart
	decoded []byte

	compact bool   // the text is copied to out, without the space between its values
	out     []byte // has the text up to copied
	copied  int
}

// container is an object or a list that is open.
type container struct {
	end  byte // what closes it
	part int  // -1 if it is none
}

// scan tells whether the text is JSON, as encoding/json.Valid does.
func (s *scanner) scan() bool {
	text := s.text
	var space [64]container
	open := space[:0]
	i := s.space(0)
	for {
		// A value begins here.
		if i >= len(text) {
			return false
		}
		start, keep := i, len(open) < s.levels
		switch c := text[i]; c {
		case '{', '[':
			if len(open) == maxOpen {
				return false
			}
			at := -1
			if keep {
				at = len(s.parts)
				s.add(start, start)
			}
			open = append(open, container{c + 2, at})
			s.deepest = max(s.deepest, len(open))
			if i = s.space(i + 1); i < len(text) && text[i] == c+2 {
				keep = false
				break
			}
			if c == '{' {
				if i = s.name(i, len(open) < s.levels); i < 0 {
					return false
				}
			}
			continue
		case '"':
			if s.hold != "" && len(open) == 1 && open[0].end == '}' && s.holds() {
				i = s.take(i)
			} else {
				i = stringIn(text, i)
			}
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
			return false
		}
		if keep {
			s.add(start, i)
		}
		// Here one ends, or is about to.
		for {
			i = s.space(i)
			if len(open) == 0 {
				return i == len(text)
			}
			if i == len(text) {
				return false
			}
			in := open[len(open)-1]
			if text[i] == in.end {
				open = open[:len(open)-1]
				i++
				if in.part >= 0 {
					s.parts[in.part].end, s.parts[in.part].next = uint32(i), uint32(len(s.parts))
				}
				continue
			}
			if text[i] != ',' {
				return false
			}
			i = s.space(i + 1)
			if in.end == '}' {
				if i = s.name(i, len(open) < s.levels); i < 0 {
					return false
				}
			}
			break
		}
	}
}

// holds tells whether the member that begins, of the document itself, is one to decode.
func (s *scanner) holds() bool {
	if s.levels < 2 {
		return false
	}
	name := s.parts[len(s.parts)-1]
	return string(s.text[name.start+1:name.end-1]) == s.hold
}

// take goes over a string that is to be held; -1 if it is none.
func (s *scanner) take(i int) (end int) {
	s.held = len(s.parts)
	end = s.into.takeString(s.text, i, s.deep)
	if s.apart = end >= 0; !s.apart {
		s.decoded, end = appendString(s.decoded[:0], s.text, i)
	}
	return end
}

func (s *scanner) add(start, end int) { s.parts = addPart(s.parts, start, end, len(s.text)) }

// addPart adds a part that has nothing in it yet, of a text of that size.
func addPart(parts []part, start, end, size int) []part {
	if len(parts) == cap(parts) {
		parts = growParts(parts, start, size)
	}
	return append(parts, part{uint32(start), uint32(end), uint32(len(parts) + 1)})
}

// growParts makes room for as many parts as there will be if the text goes on as it began; it may not.
func growParts(parts []part, start, size int) []part {
	n := len(parts)
	return slices.Grow(parts, min(max(n, int(float64(n)/float64(start+1)*float64(size-start)*1.1)), 8*n)+16)
}

// name goes over the name of a member and its colon to its value; -1 if there is none.
func (s *scanner) name(i int, keep bool) int {
	text := s.text
	if i >= len(text) || text[i] != '"' {
		return -1
	}
	start := i
	if i = stringIn(text, i); i < 0 {
		return -1
	}
	if keep {
		s.escaped = s.escaped || bytes.IndexByte(text[start:i], '\\') >= 0
		s.add(start, i)
	}
	if i = s.space(i); i >= len(text) || text[i] != ':' {
		return -1
	}
	return s.space(i + 1)
}

// space goes over white space from i on.
func (s *scanner) space(i int) int {
	if i < len(s.text) && s.text[i] <= ' ' {
		return s.skip(i)
	}
	return i
}

// skip is space for where there is some.
func (s *scanner) skip(i int) int {
	end := skipSpace(s.text, i)
	if s.compact {
		s.out = append(s.out, s.text[s.copied:i]...)
		s.copied = end
	}
	return end
}

// AppendCompact appends one JSON value without the white space between its parts, as encoding/json.Compact does; ok is false, and dst
// as it was, if text is something else.
func AppendCompact(dst, text []byte) (out []byte, ok bool) {
	s := scanner{text: text, compact: true, out: dst}
	if !s.scan() {
		return dst, false
	}
	return append(s.out, text[s.copied:]...), true
}

// stringIn returns the index behind the string that begins at i, -1 if it is none.
func stringIn(text []byte, i int) int {
	if i++; i+8 <= len(text) { // most names are short
		found := special(binary.LittleEndian.Uint64(text[i:]))
		at := i + bits.TrailingZeros64(found)/8
		if found != 0 && text[at] == '"' {
			return at + 1
		}
		i = at
	}
	for ; ; i++ {
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
	for ; i+8 <= len(text); i += 8 {
		if found := special(binary.LittleEndian.Uint64(text[i:])); found != 0 {
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

// special has the highest bit of each of eight bytes that is a quote, a backslash or a control character; above the first of them it
// may be wrong.
func special(x uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := x^ones*'"', x^ones*'\\'
	// A byte that is 0 in quote or slash, or below ' ' in x.
	return ((x-ones*' ')&^x | (quote-ones)&^quote | (slash-ones)&^slash) & high
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
