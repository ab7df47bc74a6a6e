package amqp1

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"unicode/utf8"

	amqp "github.com/Azure/go-amqp"
	"pgregory.net/rapid"

	"stackstream/event"
)

// scalars is a value without others in it, in one of the ways that the library knows, too.
func scalars(t *rapid.T) []byte {
	width := map[byte]int{0x50: 1, 0x51: 1, 0x52: 1, 0x53: 1, 0x54: 1, 0x55: 1, 0x56: 1, 0x60: 2, 0x61: 2, 0x70: 4, 0x71: 4, 0x72: 4,
		0x80: 8, 0x81: 8, 0x82: 8, 0x83: 8, 0x98: 16, 0x40: 0, 0x41: 0, 0x42: 0, 0x43: 0, 0x44: 0}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return texts(t)
	case 1:
		return binaries(t)
	}
	code := rapid.SampledFrom(slices.Sorted(maps.Keys(width))).Draw(t, "code")
	return append([]byte{code}, rapid.SliceOfN(rapid.Byte(), width[code], width[code]).Draw(t, "value")...)
}

func texts(t *rapid.T) []byte {
	s := rapid.OneOf(rapid.StringN(0, 20, 200), rapid.SampledFrom([]string{"", "utf-8", "\xff", "gzip"})).Draw(t, "text")
	return sized(t, rapid.SampledFrom([]byte{isString8, isSymbol8}).Draw(t, "code"), []byte(s))
}

func binaries(t *rapid.T) []byte {
	return sized(t, isBinary8, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes"))
}

// sized writes a size of one byte, or of four, where the code has 0x10 more.
func sized(t *rapid.T, code byte, b []byte) []byte {
	if len(b) < 256 && rapid.Bool().Draw(t, "short") {
		return append([]byte{code, byte(len(b))}, b...)
	}
	return slices.Concat([]byte{code + 0x10}, be32(len(b)), b)
}

// counted writes so many values as a list, a map or an array.
func counted(t *rapid.T, code byte, n int, b []byte) []byte {
	if len(b) < 255 && n < 256 && rapid.Bool().Draw(t, "short") {
		return append([]byte{code, byte(len(b) + 1), byte(n)}, b...)
	}
	return slices.Concat([]byte{code + 0x10}, be32(len(b)+4), be32(n), b)
}

// values is any value that the library knows.
func values(t *rapid.T, depth int) []byte {
	if depth == 0 {
		return scalars(t)
	}
	n := rapid.IntRange(0, 4).Draw(t, "n")
	var b []byte
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		for range n {
			b = append(b, values(t, depth-1)...)
		}
		return counted(t, isList8, n, b)
	case 1:
		for i := range n {
			b = append(append(b, sym(string(rune('a'+i)))...), values(t, depth-1)...)
		}
		return counted(t, isMap8, 2*n, b)
	case 2:
		return slices.Concat([]byte{isDescribed, 0xa3, 1, 'd'}, values(t, depth-1))
	case 3:
		return counted(t, isArray8, n, append([]byte{0x83}, make([]byte, 8*n)...))
	case 4:
		return counted(t, isArray8, n, append([]byte{isString8}, bytes.Repeat([]byte{2, 'a', 'b'}, n)...))
	}
	return scalars(t)
}

// entries is a map of texts.
func entries(t *rapid.T, names []string, depth int) []byte {
	var b []byte
	for _, name := range names {
		b = append(append(b, sized(t, isString8, []byte(name))...), values(t, depth)...)
	}
	return counted(t, isMap8, 2*len(names), b)
}

// section writes its number in one of two ways.
func sectionOf(t *rapid.T, number byte, value []byte) []byte {
	if rapid.Bool().Draw(t, "at length") {
		return slices.Concat([]byte{isDescribed, 0x80}, binary.BigEndian.AppendUint64(nil, uint64(number)), value)
	}
	return described(number, value)
}

// messages is a message as AMQP 1.0 wants it, and what of it is the sender's own.
func messages(t *rapid.T) (payload, bare []byte) {
	some := func(what string) bool { return rapid.IntRange(0, 2).Draw(t, what) == 0 }
	or := func(v []byte) []byte {
		if rapid.Bool().Draw(t, "null") {
			return null
		}
		return v
	}
	fields := func(values ...[]byte) []byte {
		n := rapid.IntRange(0, len(values)).Draw(t, "fields")
		if n == 0 && rapid.Bool().Draw(t, "none") {
			return []byte{isList0}
		}
		return counted(t, isList8, n, slices.Concat(values[:n]...))
	}
	if some("header") {
		count := rapid.SampledFrom([][]byte{null, {isUint0}, {isSmallUint, 0}, {isSmallUint, 3}, u32(0), u32(7)}).Draw(t, "count")
		payload = append(payload, sectionOf(t, 0x70, fields(or(yes), or(u8(4)), or(u32(9)), or(no), count))...)
	}
	if some("delivery annotations") {
		payload = append(payload, sectionOf(t, 0x71, or(entries(t, []string{"x-a"}, 2)))...)
	}
	if some("annotations") {
		payload = append(payload, sectionOf(t, 0x72, or(entries(t, []string{"x-a", "x-b"}, 2)))...)
	}
	begin := len(payload)
	if rapid.Bool().Draw(t, "properties") {
		at := append([]byte{0x83}, make([]byte, 8)...)
		payload = append(payload, sectionOf(t, 0x73, fields(scalars(t), or(binaries(t)), or(texts(t)), or(texts(t)), or(texts(t)),
			scalars(t), or(texts(t)), or(texts(t)), or(at), null, or(texts(t)), or(u32(1)), or(texts(t))))...)
	}
	if some("application properties") {
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "traceparent", "tracestate", ""}), 0, 4, rapid.ID).Draw(t, "names")
		payload = append(payload, sectionOf(t, 0x74, or(entries(t, names, 0)))...)
	}
	switch rapid.IntRange(0, 3).Draw(t, "body") {
	case 0:
		for range rapid.IntRange(1, 4).Draw(t, "sections") {
			payload = append(payload, sectionOf(t, 0x75, binaries(t))...)
		}
	case 1:
		for range rapid.IntRange(1, 3).Draw(t, "sections") {
			payload = append(payload, sectionOf(t, 0x76, counted(t, isList8, 1, values(t, 3)))...)
		}
	case 2:
		payload = append(payload, sectionOf(t, 0x77, values(t, 3))...)
	}
	end := len(payload)
	if some("footer") {
		payload = append(payload, sectionOf(t, 0x78, or(entries(t, []string{"x-a"}, 2)))...)
	}
	return payload, payload[begin:end]
}

// What is read of a message is what the library reads, and that makes of it what it always did.
func TestMessagesAreReadAsTheLibraryDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload, bare := messages(t)
		m, err := readMessage(payload)
		if err != nil {
			t.Fatalf("%x: %v", payload, err)
		}
		if !bytes.Equal(m.bare, bare) {
			t.Fatalf("%x: the sender's own is %x", payload, m.bare)
		}
		theirs := new(amqp.Message)
		if err := theirs.UnmarshalBinary(bytes.Clone(payload)); err != nil {
			t.Fatalf("%x: the library says %v", payload, err)
		}
		compare(t, payload, m, theirs)
	})
}

// compare compares what comes of a message with what would come of it as the library has it.
func compare(t interface{ Fatalf(string, ...any) }, payload []byte, m *message, theirs *amqp.Message) {
	want := event.Raw{Header: map[string]string{"Evt-Address": "a"}}
	plain := len(theirs.Sequence) == 0
	switch v := theirs.Value.(type) {
	case nil:
		want.Body = bytes.Join(theirs.Data, nil)
	case string:
		want.Body = []byte(v)
	case []byte:
		want.Body = v
	default:
		plain = false
	}
	whole := !plain
	var given any
	if p := theirs.Properties; p != nil {
		given = p.MessageID
		if p.ContentType != nil {
			want.ContentType = *p.ContentType
		}
		if p.ContentEncoding != nil && *p.ContentEncoding != "" && *p.ContentEncoding != "utf-8" {
			want.Header["Evt-Content-Encoding"] = *p.ContentEncoding
		}
		if p.Subject != nil && *p.Subject != "" {
			want.Header["Evt-Subject"] = *p.Subject
		}
	}
	if !plain {
		want.Format, want.Body, want.ContentType = Format, payload, "application/octet-stream"
	}
	if theirs.Header != nil && theirs.Header.DeliveryCount > 0 {
		want.Header["Evt-Redelivered"] = "true"
	}
	for _, name := range []string{"traceparent", "tracestate"} {
		if v, ok := theirs.ApplicationProperties[name].(string); ok {
			want.Header[name] = v
		}
	}
	switch given := given.(type) {
	case nil:
	case amqp.UUID:
		want.ID = event.ID(given.String())
	case string:
		if whole = whole || given != ""; given != "" && utf8.ValidString(given) {
			want.ID = event.BoundID(event.ID(given))
		}
	default:
		whole = true
	}
	if want.ID == "" && whole {
		want.ID, want.Hashed = event.HashID(m.bare), true
	}
	got, no := open(&parcel{payload: payload, size: len(payload)}, 1<<20, "a")
	if plain && len(want.Body) == 0 {
		if no == nil || no.reason != reasonEmpty {
			t.Fatalf("%x has no body, and is %+v, %+v", payload, got, no)
		}
		return
	}
	if no != nil || !bytes.Equal(got.Body, want.Body) || got.Format != want.Format || got.ContentType != want.ContentType ||
		got.ID != want.ID || got.Hashed != want.Hashed || !maps.Equal(got.Header, want.Header) {
		t.Fatalf("%x is %+v, %+v, want %+v", payload, got, no, want)
	}
}

// What can be read and the library can decode, too, is the same to both, and what might pass in a frame does it no harm. It does not
// get what can't be read: that might use up the stack.
func FuzzMessage(f *testing.F) {
	f.Add(slices.Concat(described(0x70, list(yes, u8(4), null, null, u32(2))), described(0x73, list(small(7), null, null, str("s"))),
		[]byte(data("x")), []byte(data("y")), described(0x78, []byte{isMap8, 1, 0})))
	f.Add(described(0x77, list(described(1, nested(9)), []byte{isArray8, 5, 2, isString8, 0, 1, 'a'})))
	f.Add(append(described(0x74, []byte("\xc1\x0f\x02\xa1\x0btraceparent\x41")), text("x")...))
	f.Add(hidden(200))
	f.Add(promises(2, true))
	f.Add(described(0x77, []byte{isMap8, 8, 2, 0, 0x53, 1, isList8, 1, 0, 0x40}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		kept := bytes.Clone(payload)
		m, err := readMessage(payload)
		if err != nil || !inOrder(payload) {
			return
		}
		theirs := new(amqp.Message)
		if theirs.UnmarshalBinary(bytes.Clone(payload)) == nil {
			compare(t, payload, m, theirs)
		}
		if !bytes.Equal(kept, payload) {
			t.Fatal("the message was changed")
		}
	})
}

// inOrder tells whether the sections stand as they have to, and might be in frames. The library takes others, too, and of what is there
// twice a part of both.
func inOrder(payload []byte) bool {
	last := uint64(0)
	for at := 0; at < len(payload); {
		section, start := sectionAt(payload, at)
		w := walker{values: len(payload)}
		if _, err := w.walk(payload, start); err != nil {
			return false
		}
		if section < last || section == last && section != sectionData && section != sectionSequence {
			return false
		}
		if last == sectionData && section < sectionFooter && section != sectionData || last == sectionSequence && section == sectionValue {
			return false
		}
		last = section
		at = skip(payload, at)
	}
	return true
}
