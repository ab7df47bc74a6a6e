package rawjson

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// takeString takes apart the object or list that is the text of the string that begins at i, in the pass that decodes the string, and
// returns the index behind the string. It is -1 where that is not plainly so: whoever wants to know then decodes the string and
// parses it. The Doc has memory of its own, and no space between its values. The text is UTF-8.
//
// An escape within a string of the JSON within is written twice: \\n, \\\" and \\\\. What is written in any other way is left alone but
// for characters outside of ASCII, and so is space that has to be escaped.
func (d *Doc) takeString(text []byte, i, levels int) (end int) {
	q := quotedScanner{text: text, levels: levels, parts: d.parts[:0], out: slices.Grow(d.own[:0], len(text)-i+8)}
	q.out = q.out[:cap(q.out)]
	end, n := q.scan(i + 1)
	*d = Doc{parts: q.parts, decoded: d.decoded, own: q.out[:0]}
	if end < 0 {
		d.parts = d.parts[:0]
		return -1
	}
	d.text, d.escaped, d.compact = q.out[:n:n], q.escaped, true
	return end
}

// quotedScanner is a scanner of JSON that stands in a string.
type quotedScanner struct {
	text    []byte
	levels  int
	parts   []part
	escaped bool   // a name among the parts has escapes when it is decoded
	out     []byte // what is decoded: as long as all of the text might become, and eight bytes more
}

// scan goes over what is in the string from i on, and returns the index behind the string, and how long it is decoded. Parts are where
// they are then.
func (q *quotedScanner) scan(i int) (end, n int) {
	text, out := q.text, q.out
	var space [64]container
	open := space[:0]
	if i = plainSpace(text, i); i >= len(text) || text[i] != '{' && text[i] != '[' {
		return -1, 0
	}
	for {
		// A value begins here.
		if i >= len(text) {
			return -1, 0
		}
		start, keep := n, len(open) < q.levels
		switch c := text[i]; c {
		case '{', '[':
			if len(open) == MaxDepth {
				return -1, 0
			}
			at := -1
			if keep {
				at = len(q.parts)
				q.add(start, start)
			}
			open = append(open, container{c + 2, at})
			out[n] = c
			n++
			if i = plainSpace(text, i+1); i < len(text) && text[i] == c+2 {
				keep = false
				break
			}
			if c == '{' {
				if i, n = q.name(i, n, len(open) < q.levels); i < 0 {
					return -1, 0
				}
			}
			continue
		case '\\':
			i, n, _ = q.string(i, n)
		default:
			from := i
			switch c {
			case 't':
				i = wordIn(text, i, "true")
			case 'f':
				i = wordIn(text, i, "false")
			case 'n':
				i = wordIn(text, i, "null")
			default:
				i = numberIn(text, i)
			}
			if i >= 0 {
				n += copy(out[n:], text[from:i])
			}
		}
		if i < 0 {
			return -1, 0
		}
		if keep {
			q.add(start, n)
		}
		// Here one ends, or is about to.
		for {
			if i = plainSpace(text, i); i >= len(text) {
				return -1, 0
			}
			if len(open) == 0 {
				if text[i] != '"' {
					return -1, 0
				}
				return i + 1, n
			}
			in := open[len(open)-1]
			out[n] = text[i]
			n++
			if text[i] == in.end {
				open = open[:len(open)-1]
				i++
				if in.part >= 0 {
					q.parts[in.part].end, q.parts[in.part].next = uint32(n), uint32(len(q.parts))
				}
				continue
			}
			if text[i] != ',' {
				return -1, 0
			}
			i = plainSpace(text, i+1)
			if in.end == '}' {
				if i, n = q.name(i, n, len(open) < q.levels); i < 0 {
					return -1, 0
				}
			}
			break
		}
	}
}

func (q *quotedScanner) add(start, end int) { q.parts = addPart(q.parts, start, end, len(q.text)) }

// name goes over the name of a member and its colon to its value; i is -1 if there is none.
func (q *quotedScanner) name(i, n int, keep bool) (int, int) {
	start := n
	i, n, escapes := q.string(i, n)
	if i < 0 {
		return -1, 0
	}
	if keep {
		q.escaped = q.escaped || escapes
		q.add(start, n)
	}
	if i = plainSpace(q.text, i); i >= len(q.text) || q.text[i] != ':' {
		return -1, 0
	}
	q.out[n] = ':'
	return plainSpace(q.text, i+1), n + 1
}

// string goes over a string; i is -1 if there is none. It says whether it has escapes when it is decoded.
func (q *quotedScanner) string(i, n int) (_, _ int, escapes bool) {
	text, out := q.text, q.out
	if i+1 >= len(text) || text[i] != '\\' || text[i+1] != '"' {
		return -1, 0, false
	}
	out[n] = '"'
	i, n = i+2, n+1
	for i < len(text) {
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
		if text[i] != '\\' || i+1 == len(text) {
			return -1, 0, false
		}
		switch text[i+1] {
		case '"':
			out[n] = '"'
			return i + 2, n + 1, escapes
		case '\\':
			size, length := q.escape(i+2, n)
			if size == 0 {
				return -1, 0, false
			}
			i, n, escapes = i+2+size, n+length, true
		case 'u':
			r, size := escapedRune(text[i:])
			if size == 0 || r < utf8.RuneSelf {
				return -1, 0, false
			}
			i, n = i+size, n+utf8.EncodeRune(out[n:], r)
		default:
			return -1, 0, false
		}
	}
	return -1, 0, false
}

// escape writes the escape whose backslash is before i: size is how many bytes of the text are behind that, 0 if it is none, and
// length how many bytes it has.
func (q *quotedScanner) escape(i, n int) (size, length int) {
	rest := q.text[i:]
	if len(rest) < 5 {
		return 0, 0
	}
	q.out[n] = '\\'
	switch c := rest[0]; c {
	case 'b', 'f', 'n', 'r', 't', '/':
		q.out[n+1] = c
		return 1, 2
	case '\\':
		if rest[1] != '"' && rest[1] != '\\' {
			return 0, 0
		}
		q.out[n+1] = rest[1]
		return 2, 2
	case 'u':
		for _, h := range rest[1:5] {
			if !hexDigit(h) {
				return 0, 0
			}
		}
		copy(q.out[n+1:], rest[:5])
		return 5, 6
	}
	return 0, 0
}

// plainSpace goes over spaces from i on: any other space has to be escaped in a string.
func plainSpace(text []byte, i int) int {
	for i < len(text) && text[i] == ' ' {
		i++
	}
	return i
}
