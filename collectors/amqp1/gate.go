package amqp1

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// gate stands between the network and the library, and keeps from the library what a peer could do harm with: messages, and
// the flow of them. The library gets each delivery in one frame of ours, with an empty message in place of the one that came, and keeps
// account of connection, link and settlement; what came waits here to be asked for, in the same order. There is one link to a
// connection, so that the order is enough.
//
// So everything that a peer sends is bounded, whatever it does, which the library does not promise: a frame by its size, and what the
// library makes of it by the number of its values and how deep they are in one another (see walker); a message by its size (what is
// too large is counted and thrown away as it comes, and can be rejected by itself, while the library would have to give up the link);
// and all of them together, also where the peer does not care for its credit, by room: while what was not settled takes more, nothing
// more is read from the network. The library sees no message that came: what is known of one is read where it lies (see readMessage),
// and what can't be read is one bad message. And it puts what it gets in line, without end while it can't write: of what keeps coming
// while a link stands it gets only those deliveries, and the answers it waits for. A frame that can't be read, or is not what the library
// takes it for, ends the connection.
type gate struct {
	net.Conn
	maxMessage int
	room       int

	// Of the library's one reading goroutine:
	in    *bufio.Reader
	frame []byte
	out   []byte // passed, and not read yet
	err   error
	idle  time.Duration
	greet bool // the header of a protocol comes next
	begun bool // the login is over
	// How many frames came that are no flow, transfer or disposition, and how many transfers since the peer was told the window.
	others, untold int

	writing sync.Mutex    // held while a frame is written
	freed   chan struct{} // has a token after something was freed
	closed  chan struct{}
	once    sync.Once

	mu       sync.Mutex
	flow     flow
	settling settling
	held     int     // bytes of messages that were not freed
	partial  *parcel // a message whose frames are not all there; only who reads writes it
	arrived  []*parcel
	failure  error // why nothing is read any more
}

// parcel is a message as it came, encoded.
type parcel struct {
	origin   origin
	payload  []byte
	size     int // also of what was thrown away
	settled  bool
	tooLarge bool
}

// parcelOverhead is what a message takes beside its bytes, about.
const parcelOverhead = 1 << 10

func (p *parcel) cost() int { return len(p.payload) + parcelOverhead }

// frameSize is the largest frame that we take, and say so.
const frameSize = 128 << 10

// errProtocol is what a peer does that AMQP does not allow, and errUnwanted what it does that would only do harm.
type (
	errProtocol string
	errUnwanted string
)

func (e errProtocol) Error() string { return string(e) }
func (e errUnwanted) Error() string { return string(e) }

func newGate(conn net.Conn, maxMessage, room int) *gate {
	return &gate{
		Conn: conn, maxMessage: maxMessage, room: room, in: bufio.NewReaderSize(conn, 64<<10),
		freed: make(chan struct{}, 1), closed: make(chan struct{}), flow: flow{reply: make(chan bool, 1)},
		greet: true,
	}
}

// take returns the next message: that of the next delivery that comes out of the library. nil: there is none, which can't be.
func (g *gate) take() *parcel {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.arrived) == 0 {
		return nil
	}
	p := g.arrived[0]
	g.arrived[0] = nil
	g.arrived = g.arrived[1:]
	return p
}

// free says that a message that took so many bytes is no longer held.
func (g *gate) free(bytes int) {
	g.mu.Lock()
	g.held -= bytes
	g.mu.Unlock()
	select {
	case g.freed <- struct{}{}:
	default:
	}
}

// full tells whether nothing is read because of what is held.
func (g *gate) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held >= g.room
}

// failed is why nothing is read any more. The library's errors hide it.
func (g *gate) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failure
}

// Close ends the connection, and a Read that waits for room.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Conn.Close()
}

// SetReadDeadline keeps how long the library wants to wait: that we did not read is not the peer's silence.
func (g *gate) SetReadDeadline(t time.Time) error {
	if g.idle = 0; !t.IsZero() {
		g.idle = time.Until(t)
	}
	return g.Conn.SetReadDeadline(t)
}

// Write writes what the library does: whole frames, but for flows. It knows of one frame to a message, and we tell the peer what came.
func (g *gate) Write(p []byte) (int, error) {
	if len(p) > 11 && p[8] == isDescribed {
		switch p[10] {
		case isFlow:
			return len(p), nil
		case isDisposition:
			g.settle(p)
		}
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	return g.Conn.Write(p)
}

// Read hands over what passes.
func (g *gate) Read(p []byte) (int, error) {
	for len(g.out) == 0 {
		if g.err == nil {
			g.out, g.err = g.next()
		}
		if g.err != nil {
			g.out = nil
			g.mu.Lock()
			g.failure = g.err
			g.mu.Unlock()
			return 0, g.err
		}
	}
	n := copy(p, g.out)
	g.out = g.out[n:]
	return n, nil
}

// The performatives that do not just pass, and the first and last of each kind of frame.
const (
	isOpen        = 0x10
	isBegin       = 0x11
	isAttach      = 0x12
	isFlow        = 0x13
	isTransfer    = 0x14
	isDisposition = 0x15
	isClose       = 0x18
	isMechanisms  = 0x40
	isOutcome     = 0x44
)

// next reads one frame, or the header of a protocol, and returns what passes of it.
func (g *gate) next() ([]byte, error) {
	if err := g.waitForRoom(); err != nil {
		return nil, err
	}
	const header = 8 // of frames and of protocols
	g.frame = resize(g.frame, header)
	if _, err := io.ReadFull(g.in, g.frame); err != nil {
		return nil, err
	}
	// Elsewhere the library would take it for a frame of a gigabyte.
	if g.greet && string(g.frame[:4]) == "AMQP" {
		g.greet = false
		return g.frame, nil
	}
	switch size := binary.BigEndian.Uint32(g.frame); {
	case size < header:
		return nil, errProtocol(fmt.Sprintf("a frame says that it has %d bytes", size))
	case size > frameSize:
		return nil, errProtocol(fmt.Sprintf("a frame of %d bytes came, and at most %d are agreed on", size, frameSize))
	default:
		g.frame = resize(g.frame, int(size))
	}
	if _, err := io.ReadFull(g.in, g.frame[header:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if err := g.plain(); err != nil || len(g.frame) == header {
		return g.frame, err
	}
	body := g.frame[header:]
	if !g.expected(g.frame[5], body) {
		return nil, errMalformed
	}
	performative := body[2]
	if err := g.checkValues(performative, body); err != nil {
		return nil, err
	}
	g.greet = performative == isOutcome // of a login, after which the protocol begins
	at := header + 3
	switch performative {
	case isBegin, isAttach:
		return g.frame, g.learn(performative, g.frame[at:])
	case isFlow:
		return nil, g.takeFlow(g.frame[at:])
	case isTransfer:
		return g.transfer(at)
	case isDisposition:
		return g.takeDisposition(g.frame[at:])
	}
	return g.frame, nil
}

// plain takes out of a frame what may be between its header and its body, which means nothing; the library takes that for the body.
func (g *gate) plain() error {
	const header = 8
	at := int(g.frame[4]) * 4
	if at < header || at > len(g.frame) {
		return errMalformed
	}
	if at > header {
		g.frame = append(g.frame[:header], g.frame[at:]...)
		binary.BigEndian.PutUint32(g.frame, uint32(len(g.frame)))
		g.frame[4] = header / 4
	}
	return nil
}

// expected tells whether a frame of a kind may come now, with such a body. The library does not look at the kind.
func (g *gate) expected(kind byte, body []byte) bool {
	if len(body) < 3 || body[0] != isDescribed || body[1] != 0x53 {
		return false
	}
	const amqp, sasl = 0, 1
	switch kind {
	case amqp:
		g.begun = true
		return body[2] >= isOpen && body[2] <= isClose
	case sasl:
		return !g.begun && body[2] >= isMechanisms && body[2] <= isOutcome
	}
	return false
}

func resize(b []byte, n int) []byte {
	if cap(b) < n {
		return append(make([]byte, 0, n), b...)[:n]
	}
	return b[:n]
}

// waitForRoom waits while what is held takes all the room there is.
func (g *gate) waitForRoom() error {
	if !g.full() {
		return nil
	}
	for g.full() {
		select {
		case <-g.freed:
		case <-g.closed:
			return net.ErrClosed
		}
	}
	if g.idle > 0 {
		return g.Conn.SetReadDeadline(time.Now().Add(g.idle))
	}
	return nil
}
