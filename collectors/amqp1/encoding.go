package amqp1

import (
	"encoding/binary"
	"fmt"
)

// What is read here is the type system of AMQP 1.0, part 1: a value begins with its constructor (section 1.2), of which the upper half
// says how many bytes follow, or where that stands. The codes that need a name are those of section 1.6.
const (
	isDescribed = 0x00 // a descriptor follows, which is a value, and then what it describes
	isNull      = 0x40
	isUint0     = 0x43
	isList0     = 0x45
	isSmallUint = 0x52
	isUint      = 0x70
	isUUID      = 0x98
	isBinary8   = 0xa0
	isString8   = 0xa1
	isSymbol8   = 0xa3
	isBinary32  = 0xb0
	isString32  = 0xb1
	isSymbol32  = 0xb3
	isList8     = 0xc0
	isMap8      = 0xc1
	isList32    = 0xd0
	isMap32     = 0xd1
	isArray8    = 0xe0
	isArray32   = 0xf0
)

// shape is what follows a constructor: width bytes, or a size that has so many bytes itself (counted), and as many as that says. It is
// false for what the table of section 1.6 does not have, and for what describes.
func shape(code byte) (width, counted int, known bool) {
	switch code {
	case isNull, 0x41, 0x42, isUint0, 0x44, isList0:
		return 0, 0, true
	case 0x50, 0x51, isSmallUint, 0x53, 0x54, 0x55, 0x56:
		return 1, 0, true
	case 0x60, 0x61:
		return 2, 0, true
	case isUint, 0x71, 0x72, 0x73, 0x74:
		return 4, 0, true
	case 0x80, 0x81, 0x82, 0x83, 0x84:
		return 8, 0, true
	case 0x94, isUUID:
		return 16, 0, true
	case isBinary8, isString8, isSymbol8, isList8, isMap8, isArray8:
		return 0, 1, true
	case isBinary32, isString32, isSymbol32, isList32, isMap32, isArray32:
		return 0, 4, true
	}
	return 0, 0, false
}

// count reads a size or a count that has so many bytes.
func count(b []byte, at, counted int) (n, next int, ok bool) {
	switch {
	case counted > len(b)-at:
		return 0, 0, false
	case counted == 1:
		return int(b[at]), at + 1, true
	}
	return int(binary.BigEndian.Uint32(b[at:])), at + 4, true
}

// skip passes over the value at a place, whatever is in it, and returns the place behind it, -1 if there is none.
func skip(b []byte, at int) int {
	for values := 1; values > 0; values-- {
		if at >= len(b) {
			return -1
		}
		code := b[at]
		at++
		if code == isDescribed {
			values += 2
			continue
		}
		width, counted, ok := shape(code)
		if ok && counted > 0 {
			width, at, ok = count(b, at, counted)
		}
		if !ok || width > len(b)-at {
			return -1
		}
		at += width
	}
	return at
}

// contents are the bytes of text (a string or a symbol) or of binary, in b, which is one value.
func contents(b []byte) []byte {
	_, counted, _ := shape(b[0])
	return b[1+counted:]
}

func isText(code byte) bool {
	return code == isString8 || code == isString32 || code == isSymbol8 || code == isSymbol32
}

// simple tells whether there are no values in such a value.
func simple(code byte) bool { return code != isDescribed && code < isList8 && code != isList0 }

func isBinary(code byte) bool { return code == isBinary8 || code == isBinary32 }

// maxDepth is how deep values may be in one another.
const maxDepth = 64

const (
	errMalformed = errProtocol("a frame came that is malformed")
	errThin      = errUnwanted("a frame with an array whose elements have no bytes")
	errMany      = errUnwanted("a frame with more values than any needs")
	errKey       = errUnwanted("a frame with a map whose key is no simple value")
)

// walker passes over values and all that is in them, and looks whether each ends where it says. It takes no memory but its own, and no
// more steps than there are bytes.
type walker struct {
	values int // how many more there may be
	// Nobody decodes it, so that arrays may have elements that take no bytes, of which a few bytes are any number; and keys in maps may
	// be values with others in them, which a map of Go can't always have: to put one there panics.
	kept bool
}

// level is where values stand one behind the other.
type level struct {
	left  int  // how many are still to come
	code  byte // what all of them are, in an array; isDescribed: each says it
	end   int
	exact bool // the last ends there
	keys  bool // every other one is a key
}

// walk passes over the value at a place, and returns the place behind it.
func (w *walker) walk(b []byte, at int) (int, error) {
	var around [maxDepth]level
	depth := 0
	here := level{left: 1, end: len(b)}
	for {
		for here.left == 0 {
			if here.exact && at != here.end {
				return 0, errMalformed
			}
			if depth == 0 {
				return at, nil
			}
			depth--
			here = around[depth]
		}
		here.left--
		if err := w.meet(1); err != nil {
			return 0, err
		}
		code := here.code
		if code == isDescribed {
			if at >= here.end {
				return 0, errMalformed
			}
			code = b[at]
			at++
		}
		if here.keys && here.left%2 != 0 && !simple(code) && !w.kept {
			return 0, errKey
		}
		inner, next, err := w.enter(b[:here.end], at, code)
		if err != nil {
			return 0, err
		}
		at = next
		if inner.left == 0 && !inner.exact {
			continue
		}
		if depth == maxDepth {
			return 0, errUnwanted(fmt.Sprintf("a frame whose values are in one another deeper than %d", maxDepth))
		}
		around[depth] = here
		depth++
		here = inner
	}
}

func (w *walker) meet(n int) error {
	if w.values -= n; w.values < 0 {
		return errMany
	}
	return nil
}

// enter passes over what a value has for itself. What is in it stands in a level, which is empty if there is nothing to look at.
func (w *walker) enter(b []byte, at int, code byte) (inner level, next int, err error) {
	if code == isDescribed {
		return level{left: 2, end: len(b)}, at, nil
	}
	width, counted, ok := shape(code)
	if ok && counted > 0 {
		width, at, ok = count(b, at, counted)
	}
	if !ok || width > len(b)-at {
		return level{}, 0, errMalformed
	}
	end := at + width
	switch code {
	case isList8, isList32, isMap8, isMap32:
		n, at, ok := count(b[:end], at, counted)
		isMap := code == isMap8 || code == isMap32
		if !ok || n > end-at || isMap && n%2 != 0 {
			return level{}, 0, errMalformed
		}
		return level{left: n, end: end, exact: true, keys: isMap}, at, nil
	case isArray8, isArray32:
		return w.array(b[:end], at, counted)
	}
	return level{}, end, nil
}

// array passes over what an array has for itself; it ends where b does. Elements have no constructors of their own: there is one before
// the first of them.
func (w *walker) array(b []byte, at, counted int) (inner level, next int, err error) {
	n, at, ok := count(b, at, counted)
	code := byte(isDescribed)
	for ok && code == isDescribed {
		if ok = at < len(b); !ok {
			break
		}
		code = b[at]
		at++
		if code == isDescribed {
			at = skip(b, at)
			ok = at >= 0
		}
	}
	if !ok {
		return level{}, 0, errMalformed
	}
	width, counted, ok := shape(code)
	switch {
	case !ok, counted > 0 && n > len(b)-at, counted == 0 && n*width != len(b)-at:
		return level{}, 0, errMalformed
	case counted > 0:
		return level{left: n, code: code, end: len(b), exact: true}, at, nil
	case width == 0 && n > 0 && !w.kept:
		return level{}, 0, errThin
	}
	return level{}, len(b), w.meet(n)
}
