package amqp1

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxTag is how long a delivery's tag may be, after AMQP 1.0, part 2, section 2.8.7.
const maxTag = 32

// transfer is what matters here of the performative of that name.
type transfer struct {
	origin

	settled, more, aborted bool
	length                 int
}

// origin is where a message comes from, and as what. Each frame with a part of it has that, or, but for the handle, only the first.
type origin struct {
	channel            uint16
	handle, id, format uint32
	tag                string
	says               [4]bool // which of handle, id, tag and format are there
}

// readTransfer reads the list that a transfer is.
func readTransfer(b []byte) (t transfer, err error) {
	fits := true
	t.length, err = readList(b, func(i int, value []byte) {
		yes := isTrue(value)
		n, known := number(value)
		if i < len(t.says) && value[0] != isNull {
			t.says[i] = true
			fits = fits && (known || i == 2 && isBinary(value[0]))
		}
		switch i {
		case 0:
			t.handle = n
		case 1:
			t.id = n
		case 2:
			if isBinary(value[0]) {
				t.tag = string(contents(value))
			}
		case 3:
			t.format = n
		case 4:
			t.settled = yes
		case 5:
			t.more = yes
		case 9:
			t.aborted = yes
		}
	})
	switch {
	case err != nil:
		return t, err
	case !fits:
		return t, errMalformed
	case len(t.tag) > maxTag:
		return t, errProtocol(fmt.Sprintf("a delivery came with a tag of %d bytes, and %d are the most", len(t.tag), maxTag))
	}
	return t, nil
}

// check tells whether a frame may begin a message, or go on with one.
func (o origin) check(before *parcel) error {
	if before == nil {
		if o.says != [4]bool{true, true, true, true} {
			return errProtocol("a delivery came without its number, tag or format")
		}
		return nil
	}
	want := before.origin
	if o.channel != want.channel || o.says[0] && o.handle != want.handle || o.says[1] && o.id != want.id ||
		o.says[2] && o.tag != want.tag || o.says[3] && o.format != want.format {
		return errProtocol("a delivery came in the middle of another one")
	}
	return nil
}

// emptyMessage is a message with an empty section of data.
const emptyMessage = "\x00\x53\x75\xa0\x00"

// pass is the one frame that the library gets of a message.
func (p *parcel) pass() []byte {
	o := p.origin
	b := beginFrame(isTransfer, o.channel)
	fields := appendNumber(appendNumber(nil, o.handle), o.id)
	fields = append(append(fields, isBinary8, byte(len(o.tag))), o.tag...)
	fields = appendTruth(appendNumber(fields, o.format), p.settled)
	b = append(append(b, isList8, byte(len(fields)+1), 5), fields...)
	return endFrame(append(b, emptyMessage...))
}

// transfer takes the part of a message out of a frame; the list of the transfer begins there. When the message is whole the library
// gets one frame for all of it: it puts what comes in line without end while it can't write, and what waits there must be as little
// as is counted here.
func (g *gate) transfer(at int) ([]byte, error) {
	t, err := readTransfer(g.frame[at:])
	if err != nil {
		return nil, err
	}
	t.channel = binary.BigEndian.Uint16(g.frame[6:])
	passes, err := g.takePart(t, g.frame[at+t.length:])
	// The peer may send so many frames before it is told that it may go on.
	if g.untold++; err == nil && g.untold >= window/2 {
		g.untold = 0
		err = g.tell(windows)
	}
	return passes, err
}

// takePart takes a part of a message, and returns what passes.
func (g *gate) takePart(t transfer, payload []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := t.check(g.partial); err != nil {
		return nil, err
	}
	g.flow.incoming++
	if g.partial == nil {
		g.flow.begin()
		g.partial = &parcel{origin: t.origin}
	}
	p := g.partial
	p.size += len(payload)
	if p.settled = p.settled || t.settled; p.size > g.maxMessage {
		p.tooLarge, p.payload = true, nil
	} else {
		p.payload = append(p.payload, payload...)
	}
	switch {
	case t.aborted:
		g.partial = nil
		g.flow.abort()
	case !t.more:
		g.partial = nil
		g.held += p.cost()
		g.arrived = append(g.arrived, p)
		g.flow.drained() // it may have used up the credit
		return p.pass(), nil
	}
	return nil, nil
}

// settling is what became of the one delivery whose peer is to answer that. Peers do so where they want each settled twice
// (rcv-settle-mode second), and the library waits for it, so that there is no other one meanwhile.
type settling struct {
	twice bool
	waits bool
	id    uint32
}

// settle takes note of a disposition that the library writes.
func (g *gate) settle(frame []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.settling.twice {
		return
	}
	_, _ = readList(frame[11:], func(i int, value []byte) {
		if i == 1 {
			g.settling.id, g.settling.waits = number(value)
		}
	})
}

// takeDisposition passes what the library waits for, and nothing else: it goes through all the deliveries that a disposition is about,
// one by one, and never gets past the last number there is.
func (g *gate) takeDisposition(b []byte) ([]byte, error) {
	var first, last uint32
	var settled, ours bool
	var state []byte
	_, err := readList(b, func(i int, value []byte) {
		n, known := number(value)
		switch {
		case i == 0:
			ours = isTrue(value) // of what we would have sent
		case i == 1:
			first, last = n, n
		case i == 2 && known:
			last = n
		case i == 3:
			settled = isTrue(value)
		case i == 4:
			state = value
		}
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.settling
	if err != nil || ours || !s.waits || s.id-first > last-first { // numbers that begin again at nought
		return nil, err
	}
	if s.id == math.MaxUint32 {
		return nil, errUnwanted("a delivery with the last number there is, settled twice")
	}
	s.waits = false
	fields := appendTruth(append(appendNumber(appendTruth(nil, false), s.id), isNull), settled)
	count := uint32(4)
	if state != nil {
		fields = append(fields, state...)
		count++
	}
	out := append(beginFrame(isDisposition, binary.BigEndian.Uint16(g.frame[6:])), isList32)
	out = binary.BigEndian.AppendUint32(out, uint32(len(fields)+4))
	out = binary.BigEndian.AppendUint32(out, count)
	return endFrame(append(out, fields...)), nil
}
