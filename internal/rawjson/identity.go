package rawjson

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Exact tells whether an id that was read of a member of an object is all that stands there: bytes that are no UTF-8, which Parse mends,
// and halves of surrogate pairs are U+FFFD in it, so that two that differ in nothing else would be one. came is the object as it came,
// before anything of it was mended.
func Exact(id, name string, came []byte) bool {
	if !strings.ContainsRune(id, utf8.RuneError) {
		return true
	}
	v := Value(bytes.TrimSpace(bytes.TrimPrefix(came, []byte("\xef\xbb\xbf")))).Member(name)
	return v != nil && v.Exact()
}

// Exact tells whether the texts in a value are all that stands in it: it is UTF-8, and has no half of a surrogate pair. It may be asked
// of what was not mended.
func (v Value) Exact() bool {
	if !utf8.Valid(v) {
		return false
	}
	half := false
	v.halves(func(int) { half = true })
	return !half
}

// Otherwise is a value in which whatever Text and Parse make U+FFFD of is another character. What is made of the texts of both, and is
// the same, has nothing of it in it.
func (v Value) Otherwise() Value {
	other := bytes.Clone(v)
	v.halves(func(at int) { copy(other[at:], `\ufffc`) })
	return bytes.ToValidUTF8(other, []byte("\uFFFC"))
}

// halves calls found with where each half of a surrogate pair stands that has no other.
func (v Value) halves(found func(at int)) {
	for i := 0; ; {
		slash := bytes.IndexByte(v[i:], '\\')
		if slash < 0 || i+slash+1 >= len(v) {
			return
		}
		i += slash
		if v[i+1] != 'u' {
			i += 2
			continue
		}
		r, size := escapedRune(v[i:])
		if r == utf8.RuneError && size > 0 && hexRune(v[i:]) != utf8.RuneError {
			found(i)
		}
		i += max(size, 2)
	}
}
