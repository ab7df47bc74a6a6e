package amqp1

import "encoding/binary"

// maxFields is how many fields the performatives have that are read here.
const maxFields = 14

// How many values may be in the performative of a frame. The library decodes all of them, also what nobody asks for; a map takes most,
// some hundred bytes, so that a frame takes a few megabytes at most, whatever is in it. What keeps coming while a link stands takes less.
const (
	mostValues = 4096
	fewValues  = 256 // in flows, transfers and dispositions
)

// mostOthers is how many frames may come that begin or end something. A connection has one session and one link, and the library puts
// what comes in line without end while it can't write.
const mostOthers = 64

// checkValues looks at the performative that b begins with, before the library does: that goes into what is nested by calls, which may
// use up a goroutine's stack, takes the count of an array for the memory it wants, does not look at sizes, and puts any key into a map,
// also one that panics there.
func (g *gate) checkValues(performative byte, b []byte) error {
	most := fewValues
	if performative != isFlow && performative != isTransfer && performative != isDisposition {
		most = mostValues
		if g.others++; g.others > mostOthers {
			return errUnwanted("more frames that begin or end something than one link has")
		}
	}
	w := walker{values: most}
	_, err := w.walk(b, 0)
	return err
}

// readList calls each for the fields of a list, and returns how many bytes it takes.
func readList(b []byte, each func(i int, value []byte)) (length int, err error) {
	var counted int
	switch {
	case len(b) > 0 && b[0] == isList0:
		return 1, nil
	case len(b) > 0 && b[0] == isList8:
		counted = 1
	case len(b) > 0 && b[0] == isList32:
		counted = 4
	default:
		return 0, errMalformed
	}
	size, at, ok := count(b, 1, counted)
	if !ok || size > len(b)-at {
		return 0, errMalformed
	}
	end := at + size
	fields, at, ok := count(b[:end], at, counted)
	if !ok || fields > maxFields {
		return 0, errMalformed
	}
	for i := range fields {
		next := skip(b[:end], at)
		if next < 0 {
			return 0, errMalformed
		}
		each(i, b[at:next])
		at = next
	}
	if at != end {
		return 0, errMalformed
	}
	return end, nil
}

func isTrue(value []byte) bool {
	return len(value) == 1 && value[0] == 0x41 || len(value) == 2 && value[0] == 0x56 && value[1] == 1
}

// number is an unsigned number of 32 bits; false for anything else, null above all.
func number(value []byte) (n uint32, known bool) {
	switch value[0] {
	case isUint0:
		return 0, true
	case isSmallUint:
		return uint32(value[1]), true
	case isUint:
		return binary.BigEndian.Uint32(value[1:]), true
	}
	return 0, false
}

// beginFrame is a frame up to its list, endFrame what it is with its size.
func beginFrame(performative byte, channel uint16) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0, 0, 0, 0, 2, 0}, channel), isDescribed, 0x53, performative)
}

func endFrame(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func appendNumber(b []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, isUint), n)
}

func appendTruth(b []byte, yes bool) []byte {
	if yes {
		return append(b, 0x41)
	}
	return append(b, 0x42)
}
