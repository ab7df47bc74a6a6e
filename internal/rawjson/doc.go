package rawjson

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"unicode/utf8"
)

// All is every level of a document.
const All = MaxDepth + 1

// maxSize bounds a document, so that 32 bits say where in it something is, also when mending made it longer.
const maxSize = 1 << 30

var errTooLarge = errors.New("larger than 1 GiB")

// Doc is a valid value that was taken apart in the pass that found it valid, so that nobody need go through it again to find
// what is in it. Its parts are known by numbers: 0 is the value itself, and what is in a part has numbers behind it. It
// shares memory with what it was made of. The zero Doc may be made one by Parse, which takes the memory of an earlier one.
type Doc struct {
	text    []byte
	parts   []part
	from    uint32 // where in the text that the parts go by this one begins
	first   uint32 // and the number there of its part 0
	escaped bool   // a name has escapes
	compact bool   // there is no space in the text but in strings

	hold    string // see Hold
	into    *Doc
	deep    int
	held    int  // the part that is taken apart or decoded, 0 if none is
	apart   bool // it is taken apart
	decoded []byte
	own     []byte // what the text is in, where it was decoded by who took it apart
	gone    []lost // see Without
}

// lost is how much is left out up to some place.
type lost struct{ bytes, parts uint32 }

// PartSize is how many bytes a Doc takes for a part.
const PartSize = 12

// MostParts is how many parts a text has at the most, JSON or not: it counts what they stand behind, in strings as well.
func MostParts(text []byte) int {
	n := 1
	for _, c := range []byte("[{,:") {
		n += bytes.Count(text, []byte{c})
	}
	return n
}

// Reserve makes room for so many parts, so that Parse takes no memory for them, nor more than for these.
func (d *Doc) Reserve(parts int) {
	if cap(d.parts) < parts {
		d.parts = make([]part, 0, parts)
	}
}

// part is a value, or the name of a member, which comes before its value. Next is the number of what comes behind, so that
// what is between is in it.
type part struct{ start, end, next uint32 }

// Parse is ParseMended for a document of which so many levels are to be taken apart: 1 is the value itself, 2 has its
// members or elements, All is everything.
func (d *Doc) Parse(body []byte, levels int) (mended int, err error) {
	if d.Take(body, levels) {
		return 0, nil
	}
	if len(body) > maxSize {
		return 0, errTooLarge
	}
	text := bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) {
		mended = invalidRuns(text)
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	ok, deepest := d.scan(text, levels)
	if !ok {
		quoted, words := quoteNonFinite(text)
		if ok, deepest = d.scan(quoted, levels); !ok {
			return 0, syntaxError(text)
		}
		mended += words
	}
	if deepest > MaxDepth {
		return 0, fmt.Errorf("nested deeper than %d", MaxDepth)
	}
	return mended, nil
}

// Take is Parse for a document that needs no mending; false if it does, or is none.
func (d *Doc) Take(body []byte, levels int) bool {
	text := bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if len(body) > maxSize || !utf8.Valid(text) {
		return false
	}
	ok, deepest := d.scan(text, levels)
	return ok && deepest <= MaxDepth
}

// Open is Parse for what is known to be valid.
func (d *Doc) Open(v Value, levels int) { d.scan(v, levels) }

func (d *Doc) scan(text []byte, levels int) (ok bool, deepest int) {
	s := scanner{text: text, levels: levels, parts: d.parts[:0], hold: d.hold, into: d.into, deep: d.deep, decoded: d.decoded}
	ok = s.scan()
	*d = Doc{text: text, parts: s.parts, escaped: s.escaped, hold: d.hold, into: d.into, deep: d.deep,
		held: s.held, apart: s.apart, decoded: s.decoded, own: d.own}
	if ok && levels > 0 {
		d.from = d.parts[0].start
		d.text = text[d.from:d.parts[0].end]
	}
	return ok, s.deepest
}

// Forget lets go of the text, and keeps the memory for another one, unless it is much.
func (d *Doc) Forget() {
	*d = Doc{parts: d.parts[:0], hold: d.hold, into: d.into, deep: d.deep, decoded: d.decoded[:0], own: d.own[:0],
		gone: d.gone[:0]}
	if cap(d.parts) > maxKept {
		d.parts = nil
	}
	if cap(d.decoded) > maxDecoded {
		d.decoded = nil
	}
	if cap(d.own) > maxDecoded {
		d.own = nil
	}
	if cap(d.gone) > maxKept {
		d.gone = nil
	}
}

// maxKept is how many parts a Doc keeps memory for, maxDecoded how many bytes of text.
const (
	maxKept    = 1 << 14
	maxDecoded = 256 << 10
)

// Hold has a string that is the value of a member with that name of the document itself taken apart in the pass that finds the
// document valid, from now on, into another Doc and so many levels: where it is most of the document, it is not gone through again.
func (d *Doc) Hold(name string, into *Doc, levels int) { d.hold, d.into, d.deep = name, into, levels }

// Held tells whether a part is a string that was taken apart, as Hold says. It is an object or a list, without space between its values.
// A string that is something else, or was not written as most are, is not: it is for Text and Parse.
func (d *Doc) Held(at int) bool { return d.apart && at == d.held }

// Text is what is in a part that is a string; ok is false if it is none. It stays as it is until the next Text or Parse.
func (d *Doc) Text(at int) (text []byte, ok bool) {
	if at == d.held && at > 0 && !d.apart {
		return d.decoded, true
	}
	v := d.Value(at)
	if len(v) < 2 || v[0] != '"' {
		return nil, false
	}
	if !d.apart {
		d.held = 0
	}
	d.decoded, _ = appendString(d.decoded[:0], v, 0)
	return d.decoded, true
}

// Inner is the Doc of a part of a Doc. The text is a copy of that part; nil stands for the part itself.
func (d *Doc) Inner(at int, text []byte) Doc {
	p := d.parts[at]
	if text == nil {
		text = d.Value(at)
	}
	next := d.Next(at)
	return Doc{text: text, parts: d.parts[at:next:next], from: p.start, first: d.first + uint32(at), escaped: d.escaped, compact: d.compact}
}

// Cut leaves out the bytes of a value from one place to another. So many parts begin there.
type Cut struct{ From, To, Parts int }

// Without makes d what is left of another Doc, from which cuts are left out: what is left is JSON. Cuts are in order, and apart from
// one another. A part of which something was left out ends where what is left of it does. The text is in new memory.
func (d *Doc) Without(of *Doc, cuts []Cut) {
	text := of.Value(0)
	left := make([]byte, 0, len(text))
	gone := slices.Grow(d.gone[:0], len(cuts)+1) // up to each of the cuts
	var sum lost
	from := 0
	for _, c := range cuts {
		left = append(left, text[from:c.From]...)
		from = c.To
		gone = append(gone, sum)
		sum = lost{sum.bytes + uint32(c.To-c.From), sum.parts + uint32(c.Parts)}
	}
	gone = append(gone, sum)
	*d = Doc{text: append(left, text[from:]...), parts: slices.Grow(d.parts[:0], len(of.parts)-int(sum.parts)), escaped: of.escaped,
		compact: of.compact, decoded: d.decoded, own: d.own, gone: gone}
	before := 0 // cuts before what begins
	for at, p := range of.parts {
		start, end := p.start-of.from, p.end-of.from
		for before < len(cuts) && cuts[before].To <= int(start) {
			before++
		}
		if before < len(cuts) && cuts[before].From <= int(start) {
			continue
		}
		through := before // cuts before what comes behind it
		if next := int(p.next - of.first); next > at+1 {
			through += sort.Search(len(cuts)-before, func(i int) bool { return cuts[before+i].From >= int(end) })
		}
		d.parts = append(d.parts, part{start - gone[before].bytes, end - gone[through].bytes, p.next - of.first - gone[through].parts})
	}
}

// Compact tells whether the Doc is known to have no space between its values.
func (d *Doc) Compact() bool { return d.compact }

// Value is a part. A name has its quotes.
func (d *Doc) Value(at int) Value {
	p := &d.parts[at]
	return d.text[p.start-d.from : p.end-d.from : p.end-d.from]
}

// Span is where in the value a part stands.
func (d *Doc) Span(at int) (start, end int) {
	p := &d.parts[at]
	return int(p.start - d.from), int(p.end - d.from)
}

// Next is the number of what comes behind a part, and all that is in it.
func (d *Doc) Next(at int) int { return int(d.parts[at].next - d.first) }

// Len is how many parts there are.
func (d *Doc) Len() int { return len(d.parts) }

// Known tells whether what is in an object or a list was taken apart, if there is anything in it.
func (d *Doc) Known(at int) bool { return d.Next(at) > at+1 }

// Name is the decoded name of a member. It may share memory with the document.
func (d *Doc) Name(at int) []byte {
	quoted := d.Value(at)
	if !d.escaped {
		return quoted[1 : len(quoted)-1]
	}
	return unquoteBytes(quoted)
}

// Member is the last member of an object with that name, as JSON readers do it, -1 if there is none.
func (d *Doc) Member(at int, name string) int {
	found := -1
	for i, end := at+1, d.Next(at); i < end; i = d.Next(i + 1) {
		if d.isName(i, name) {
			found = i + 1
		}
	}
	return found
}

func (d *Doc) isName(at int, name string) bool {
	p := &d.parts[at]
	if d.escaped {
		// No byte of a text takes more than six of JSON.
		return int(p.end-p.start) <= 6*len(name)+2 && string(d.Name(at)) == name
	}
	return int(p.end-p.start) == len(name)+2 && string(d.text[p.start-d.from+1:p.end-d.from-1]) == name
}

// Element is an element of a list, -1 if there is none.
func (d *Doc) Element(at, n int) int {
	i, end := at+1, d.Next(at)
	for ; n > 0 && i < end; n-- {
		i = d.Next(i)
	}
	if n < 0 || i >= end {
		return -1
	}
	return i
}

// Members are the members of an object, nil if it is none.
func (d *Doc) Members(at int) Object {
	if !d.Value(at).IsObject() {
		return nil
	}
	end, n := d.Next(at), 0
	for i := at + 1; i < end; i = d.Next(i + 1) {
		n++
	}
	return d.AppendMembers(make(Object, 0, n), at)
}

// AppendMembers appends the members of an object, none if it is none.
func (d *Doc) AppendMembers(dst Object, at int) Object {
	if !d.Value(at).IsObject() {
		return dst
	}
	for i, end := at+1, d.Next(at); i < end; i = d.Next(i + 1) {
		dst = append(dst, Member{d.Name(i), d.Value(i + 1)})
	}
	return dst
}
