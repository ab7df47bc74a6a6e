package amqp1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A peer that sends what it can, and does not read, so that the library can't write, takes no more memory than it may.
func TestMemoryWhileThePeerDoesNotRead(t *testing.T) {
	const (
		room  = 1 << 20
		bound = room + 5<<20
		total = 40 << 20
	)
	long := strings.Repeat("x", 100_000)
	properties := slices.Concat([]byte{isMap32}, be32(4+2+1+5+len(long)), be32(2), sym("a"), bin(long))
	refused := described(0x25, list(failure("amqp:internal-error", long)))
	echoed := func(more ...[]byte) []byte {
		return framed(0, isFlow, "", append([][]byte{u32(0), u32(5000), u32(0), u32(5000), null, null, null, null, no, yes}, more...)...)
	}
	for name, frame := range map[string][]byte{
		"flows":                    echoed(),
		"flows with properties":    echoed(properties),
		"of the link":              framed(0, isFlow, "", u32(0), u32(5000), u32(0), u32(5000), u32(0), u32(0), u32(1), null, no, no, properties),
		"what nobody sent":         framed(0, isDisposition, "", yes, u32(0), u32(1<<16-1), yes),
		"what nobody has":          framed(0, isDisposition, "", no, u32(0), u32(1<<16-1), yes, refused),
		"messages":                 part(0, data("x"), false, false),
		"messages with a long tag": framed(0, isTransfer, data("x"), u32(0), u32(0), bin(long), u32(0), no, no),
		"messages with a state":    framed(0, isTransfer, data("x"), u32(0), u32(0), bin("t"), u32(0), no, no, null, refused),
		"parts of nothing":         part(0, "", true, false),
		"parts with a state":       framed(0, isTransfer, "", u32(0), u32(0), bin("t"), u32(0), no, yes, null, refused),
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe() // which keeps nothing
			said, start, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
			var work sync.WaitGroup
			defer work.Wait()
			p := &peer{t: t, twice: true, serve: func(l *peerLink) {
				l.await(func() bool { return l.credit > 0 })
				l.mu.Lock() // so that it does not get past what it reads next
				defer l.mu.Unlock()
				close(said)
				<-start
				n := max(1, 50_000/len(frame))
				many := bytes.Repeat(frame, n)
				for range min(total/len(many), 100_000/n) {
					_ = l.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
					if _, err := l.conn.Write(many); err != nil {
						break
					}
				}
				close(end)
			}}
			work.Go(func() {
				defer theirs.Close()
				_ = p.talk(&peerLink{peer: p, conn: theirs, in: bufio.NewReader(theirs), changed: make(chan struct{})})
			})
			cfg := config("127.0.0.1:1", "a")
			cfg.PrefetchBytes = room
			d, err := newDialer(cfg, "x", "1")
			if err != nil {
				t.Fatal(err)
			}
			w, err := d.open(t.Context(), "peer", "127.0.0.1:1", ours, "a")
			if err != nil {
				t.Fatal(err)
			}
			defer w.hangUp()
			defer w.gate.Close()
			if err := w.gate.give(1); err != nil {
				t.Fatal(err)
			}
			<-said
			if err := w.gate.give(1); err != nil {
				t.Fatal(err)
			}
			before := heap()
			close(start)
			<-end
			if took := heap() - before; took > bound {
				t.Errorf("it takes %d kB, and %d are the most", took>>10, bound>>10)
			}
		})
	}
}

// A peer that wants each delivery settled twice gets that, whatever its answers are about besides.
func TestSettledTwice(t *testing.T) {
	t.Parallel()
	const n = 5
	peer := newPeer(t, nil)
	peer.twice = true
	peer.serve = func(l *peerLink) {
		for i := range n {
			l.send(data(notified(fmt.Sprintf("e-%d", i))))
			l.write(framed(0, isDisposition, "", yes, u32(0), u32(math.MaxUint32), yes))
		}
		for i := range n {
			l.await(func() bool { return len(l.outcomes) > i })
			l.mu.Lock()
			id := l.outcomes[i].first
			l.mu.Unlock()
			l.write(framed(0, isDisposition, "", no, u32(id+1), null, yes))
			l.write(framed(0, isDisposition, "", no, u32(0), u32(math.MaxUint32), yes, described(accepted, list())))
		}
	}
	r := newRig(t, config(peer.addr(), "a"))
	stop := r.run()
	defer stop()
	r.wantIDs([]string{"e-0", "e-1", "e-2", "e-3", "e-4"})
	r.eventually("all to be settled", func() bool { return r.told().held == 0 })
	if told := r.told(); told.lost != 0 {
		t.Errorf("%+v", told)
	}
}

// A peer gets to know that it may go on before it has used up the window of the session, also while a message does not end, and when it
// asks, which it may do before there is a link.
func TestWindowIsTold(t *testing.T) {
	const frames = 3 * window
	g, c := gateOver(bytes.Repeat(part(0, "", true, false), frames))
	if passed, err := io.ReadAll(g); err != nil || len(passed) > 0 {
		t.Fatalf("%q passes, %v", passed, err)
	}
	if want := g.flow.frame(windows); c.flows() != 6 || !bytes.HasSuffix(c.out.Bytes(), want) || g.flow.incoming != frames {
		t.Errorf("it was told %d times, at last %x, want %x", c.flows(), c.out.Bytes()[max(0, c.out.Len()-len(want)):], want)
	}
	g, c = gateOver(framed(0, isFlow, "", null, u32(1), u32(0), u32(1), null, null, null, null, no, yes))
	if passed, err := io.ReadAll(g); err != nil || len(passed) > 0 || !bytes.Equal(c.out.Bytes(), g.flow.frame(windows)) {
		t.Errorf("%q passes, %v; the answer is %x", passed, err, c.out.Bytes())
	}
	// The library does not say what it does not know.
	before := c.out.Len()
	flow := g.flow.frame(nothing)
	if n, err := g.Write(flow); n != len(flow) || err != nil || c.out.Len() != before {
		t.Errorf("%d bytes written, %v", c.out.Len()-before, err)
	}
}
