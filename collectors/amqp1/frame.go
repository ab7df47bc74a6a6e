package amqp1

import "encoding/binary"

// transfer is what matters here of the performative of that name.
type transfer struct {
	settled, more, aborted bool
	length                 int
}

// maxFields is how many fields the performatives have that are read here.
const maxFields = 14

const errMalformed = errProtocol("a frame came that is malformed")

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

// mostSettled is how many deliveries a peer may settle at once. The library goes through all of them, one by one.
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
	if err == nil && (last < first || last-first >= mostSettled) {
		err = errProtocol("a disposition came that is about more deliveries than there can be")
	}
	return err
}

// readList calls each for the fields of a list, and returns how many bytes it takes.
func readList(b []byte, each func(i int, value []byte)) (length int, err error) {
	const list0, list8, list32 = 0x45, 0xc0, 0xd0
	var count, at, size int
	switch {
	case len(b) > 0 && b[0] == list0:
		return 1, nil
	case len(b) >= 3 && b[0] == list8:
		size, count, at = int(b[1])+2, int(b[2]), 3
	case len(b) >= 9 && b[0] == list32:
		size, count, at = int(binary.BigEndian.Uint32(b[1:]))+5, int(binary.BigEndian.Uint32(b[5:])), 9
	default:
		return 0, errMalformed
	}
	if size > len(b) || size < at || count > maxFields {
		return 0, errMalformed
	}
	for i := range count {
		end := skip(b[:size], at)
		if end < 0 {
			return 0, errMalformed
		}
		each(i, b[at:end])
		at = end
	}
	if at != size {
		return 0, errMalformed
	}
	return size, nil
}

func isTrue(value []byte) bool {
	return len(value) == 1 && value[0] == 0x41 || len(value) == 2 && value[0] == 0x56 && value[1] == 1
}

// number is an unsigned number of 32 bits; false for anything else, null above all.
func number(value []byte) (n uint32, known bool) {
	const uint0, smalluint, uint32be = 0x43, 0x52, 0x70
	switch value[0] {
	case uint0:
		return 0, true
	case smalluint:
		return uint32(value[1]), true
	case uint32be:
		return binary.BigEndian.Uint32(value[1:]), true
	}
	return 0, false
}

// skip passes over the value at i, and returns the index behind it, -1 if there is none.
func skip(b []byte, i int) int {
	for values := 1; values > 0; values-- {
		if i >= len(b) {
			return -1
		}
		width, counted := 0, 0
		switch kind := b[i] >> 4; kind {
		case 0x0:
			if b[i] != 0 {
				return -1
			}
			values += 2 // what describes a value, and the value
		case 0x4:
		case 0x5, 0x6, 0x7, 0x8, 0x9:
			width = 1 << (kind - 5)
		case 0xa, 0xc, 0xe:
			counted = 1
		case 0xb, 0xd, 0xf:
			counted = 4
		default:
			return -1
		}
		i++
		switch {
		case counted > len(b)-i:
			return -1
		case counted == 1:
			width = int(b[i])
		case counted == 4:
			width = int(binary.BigEndian.Uint32(b[i:]))
		}
		if i += counted; width > len(b)-i {
			return -1
		}
		i += width
	}
	return i
}
