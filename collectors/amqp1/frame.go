package amqp1

import (
	"encoding/binary"
	"math"
)

// transfer is what matters here of the performative of that name.
type transfer struct {
	settled, more, aborted bool
	length                 int
}

// maxFields is how many fields the performatives have that are read here.
const maxFields = 14

// readTransfer reads the list that a transfer is.
func readTransfer(b []byte) (t transfer, err error) {
	t.length, err = readList(b, func(i int, value []byte) {
		switch yes := isTrue(value); i {
		case 4:
			t.settled = yes
		case 5:
			t.more = yes
		case 9:
			t.aborted = yes
		}
	})
	return t, err
}

// mostSettled is how many deliveries a peer may settle at once. The library goes through all of them, one by one, and never gets past the
// last number there is.
const mostSettled = 1 << 16

// checkDisposition looks at how many deliveries it is about.
func checkDisposition(b []byte) error {
	var first, last uint32
	_, err := readList(b, func(i int, value []byte) {
		n, known := number(value)
		switch {
		case i == 1:
			first, last = n, n
		case i == 2 && known:
			last = n
		}
	})
	if err == nil && (last < first || last-first >= mostSettled || last == math.MaxUint32) {
		err = errProtocol("a disposition came that is about more deliveries than there can be")
	}
	return err
}

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
