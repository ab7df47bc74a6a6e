package amqp1

import "encoding/binary"

// maxDepth is how deep values may be in one another: the library goes into each by a call, and a goroutine whose stack is used up ends
// the process, which no recover prevents.
const maxDepth = 64

// tooDeep tells whether values in b are in one another deeper than that, as far as b can be read: what can't is for the decoder to say.
func tooDeep(b []byte) bool {
	var left [maxDepth]int // how many values are still to come, of what is open
	open := 0
	for i := 0; i < len(b); {
		kind := b[i]
		i++
		inner := 0
		switch size, width := 0, 0; {
		case kind == 0: // what describes a value, and the value
			inner = 2
		case kind < 0x40:
			return false
		default:
			switch kind >> 4 {
			case 0x5, 0x6, 0x7, 0x8, 0x9:
				width = 1 << (kind>>4 - 5)
			case 0xa, 0xc, 0xe:
				size = 1
			case 0xb, 0xd, 0xf:
				size = 4
			}
			compound := kind>>4 == 0xc || kind>>4 == 0xd // the library does not go into what is in an array
			if compound && i+2*size > len(b) || i+size > len(b) {
				return false
			}
			number := func(at int) int {
				if size == 1 {
					return int(b[at])
				}
				return int(binary.BigEndian.Uint32(b[at:]))
			}
			switch {
			case compound:
				inner = number(i + size)
				i += 2 * size
			case size > 0:
				i += size + number(i)
			default:
				i += width
			}
		}
		if inner > 0 {
			if open == maxDepth {
				return true
			}
			left[open] = inner
			open++
			continue
		}
		for ; open > 0; open-- {
			if left[open-1]--; left[open-1] > 0 {
				break
			}
		}
	}
	return false
}
