package amqp1

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// The few forms of values that a peer needs to speak.
var (
	null = []byte{0x40}
	yes  = []byte{0x41}
	no   = []byte{0x42}
)

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0x70}, n) }
func u8(n byte) []byte    { return []byte{0x50, n} }
func bin(b string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xb0}, uint32(len(b))), b...)
}
func str(s string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xb1}, uint32(len(s))), s...)
}
func sym(s string) []byte { return append([]byte{0xa3, byte(len(s))}, s...) }
func small(n byte) []byte { return []byte{0x53, n} }
func list(fields ...[]byte) []byte {
	body := slices.Concat(fields...)
	b := binary.BigEndian.AppendUint32([]byte{0xd0}, uint32(len(body)+4))
	return append(binary.BigEndian.AppendUint32(b, uint32(len(fields))), body...)
}
func described(code byte, value []byte) []byte { return slices.Concat([]byte{0}, small(code), value) }

// failure is an error of AMQP.
func failure(condition, text string) []byte { return described(0x1d, list(sym(condition), str(text))) }

// framed is a frame with a performative, and behind it a payload.
func framed(kind, performative byte, payload string, fields ...[]byte) []byte {
	body := append(described(performative, list(fields...)), payload...)
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(b, 2, kind, 0, 0), body...)
}

// data and text are messages with a body.
func data(body string) string { return string(described(0x75, bin(body))) }
func text(body string) string { return string(described(0x77, str(body))) }

// part is a frame with a transfer.
func part(id uint32, payload string, more, settled bool) []byte {
	truth := map[bool][]byte{true: yes, false: no}
	return framed(0, isTransfer, payload, u32(0), u32(id), bin(string(binary.BigEndian.AppendUint32(nil, id))), u32(0),
		truth[settled], truth[more])
}

// peer is a peer that does what a test says, on every connection that is made to it.
type peer struct {
	t        *testing.T
	listener net.Listener
	work     sync.WaitGroup
	// serve is called for each link, when it stands.
	serve func(l *peerLink)
	// attach, if set, is what is answered in place of an attach.
	attach func(l *peerLink) bool
	// twice says that each delivery is to be settled by the peer, too.
	twice bool
}

// peerLink is a link, seen from the other side.
type peerLink struct {
	*peer
	conn    net.Conn
	in      *bufio.Reader
	address string

	mu       sync.Mutex
	changed  chan struct{}
	credit   uint32 // the limit of the count
	drains   int
	echoes   int
	outcomes []outcome
	ended    bool
	sent     uint32
}

// outcome is what became of deliveries.
type outcome struct {
	first, last uint32
	state       byte
	text        string // the condition of an error
	why         string // what is said of it
}

const (
	accepted = 0x24
	rejected = 0x25
	released = 0x26
)

func newPeer(t *testing.T, serve func(l *peerLink)) *peer {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, listener: l, serve: serve}
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() {
				defer c.Close()
				_ = p.talk(&peerLink{peer: p, conn: c, in: bufio.NewReader(c), changed: make(chan struct{})})
			})
		}
	})
	t.Cleanup(func() { l.Close(); p.work.Wait() })
	return p
}

func (p *peer) addr() string { return p.listener.Addr().String() }

var errEnd = errors.New("the end")

// talk makes a link, has it served, and reads what comes until the end.
func (p *peer) talk(l *peerLink) error {
	var work sync.WaitGroup
	defer work.Wait()
	defer l.end()
	defer l.conn.Close()
	header := make([]byte, 8)
	for {
		if b, err := l.in.Peek(4); err != nil {
			return err
		} else if string(b) == "AMQP" {
			if _, err := io.ReadFull(l.in, header); err != nil {
				return err
			}
			l.write(header)
			if header[4] == 3 {
				l.write(framed(1, 0x40, "", sym("ANONYMOUS")))
			}
			continue
		}
		if _, err := io.ReadFull(l.in, header); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(header)-8)
		if _, err := io.ReadFull(l.in, body); err != nil {
			return err
		}
		if len(body) == 0 {
			continue
		}
		var fields [][]byte
		if _, err := readList(body[3:], func(_ int, v []byte) { fields = append(fields, v) }); err != nil {
			return err
		}
		switch body[2] {
		case 0x41: // init
			l.write(framed(1, 0x44, "", u8(0)))
		case 0x10: // open
			l.write(framed(0, 0x10, "", str("peer"), null, u32(frameSize), []byte{0x60, 0, 0}))
		case isBegin:
			l.write(framed(0, isBegin, "", []byte{0x60, 0, 0}, u32(0), u32(100_000), u32(100_000)))
		case isAttach:
			if _, err := readList(fields[5][3:], func(i int, v []byte) {
				if i == 0 {
					l.address = textOf(v)
				}
			}); err != nil {
				return err
			}
			if p.attach != nil && p.attach(l) {
				continue
			}
			mode := u8(0)
			if p.twice {
				mode = u8(1)
			}
			l.write(framed(0, isAttach, "", fields[0], u32(0), no, u8(2), mode, fields[5], fields[6], null, null, u32(0)))
			if p.serve != nil {
				work.Go(func() { p.serve(l) })
			}
		case isFlow:
			l.takeFlow(fields)
		case isDisposition:
			l.takeDisposition(fields)
		case 0x16: // detach
			l.write(framed(0, 0x16, "", u32(0), yes))
		case 0x17: // end
			l.write(framed(0, 0x17, ""))
		case 0x18: // close
			l.write(framed(0, 0x18, ""))
			return errEnd
		}
	}
}

func textOf(v []byte) string {
	switch v[0] {
	case 0xa1, 0xa3:
		return string(v[2:])
	case 0xb1, 0xb3:
		return string(v[5:])
	}
	return ""
}

func (l *peerLink) write(b []byte) { _, _ = l.conn.Write(b) }

func (l *peerLink) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *peerLink) end() { l.change(func() { l.ended = true }) }

func (l *peerLink) takeFlow(fields [][]byte) {
	if len(fields) < 9 {
		return
	}
	count, link := number(fields[5])
	credit, _ := number(fields[6])
	if link {
		l.change(func() {
			l.credit = count + credit
			if isTrue(fields[8]) {
				l.drains++
			}
			if len(fields) > 9 && isTrue(fields[9]) {
				l.echoes++
			}
		})
	}
}

func (l *peerLink) takeDisposition(fields [][]byte) {
	o := outcome{}
	o.first, _ = number(fields[1])
	o.last = o.first
	if last, known := number(fields[2]); known {
		o.last = last
	}
	if len(fields) > 4 && fields[4][0] == 0 {
		o.state = fields[4][2]
		_, _ = readList(fields[4][3:], func(_ int, failure []byte) {
			if failure[0] == 0 {
				_, _ = readList(failure[3:], func(i int, v []byte) {
					switch i {
					case 0:
						o.text = textOf(v)
					case 1:
						o.why = textOf(v)
					}
				})
			}
		})
	}
	l.change(func() { l.outcomes = append(l.outcomes, o) })
}

// await waits until something is so, and tells whether it became so before the end of the connection.
func (l *peerLink) await(is func() bool) bool {
	for {
		l.mu.Lock()
		done, over, changed := is(), l.ended, l.changed
		l.mu.Unlock()
		if done || over {
			return done
		}
		<-changed
	}
}

// settled are the outcomes of single deliveries by now.
func (l *peerLink) settled() map[uint32]outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[uint32]outcome{}
	for _, o := range l.outcomes {
		for id := o.first; id <= o.last; id++ {
			all[id] = o
		}
	}
	return all
}

// send sends a message when there is credit for it; false: the connection has ended.
func (l *peerLink) send(payload string) bool {
	if !l.await(func() bool { return l.credit > l.sent }) {
		return false
	}
	l.write(part(l.sent, payload, false, false))
	l.mu.Lock()
	l.sent++
	l.mu.Unlock()
	return true
}

// tells says how it stands: without an idea of how many messages there are.
func (l *peerLink) tells() {
	l.mu.Lock()
	count, credit := l.sent, l.credit-l.sent
	l.mu.Unlock()
	l.write(framed(0, isFlow, "", u32(0), u32(100_000), u32(count), u32(100_000), u32(0), u32(count), u32(credit), null, no))
}

// drained says that all is sent.
func (l *peerLink) drained() {
	l.mu.Lock()
	l.sent = max(l.sent, l.credit)
	count := l.sent
	l.mu.Unlock()
	l.write(framed(0, isFlow, "", u32(0), u32(100_000), u32(count), u32(100_000), u32(0), u32(count), u32(0), u32(0), yes))
}
