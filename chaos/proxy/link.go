package proxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// window is how much may be under way in one direction of a slow line; who sends more has to wait, as with TCP's own window.
const window = 4 << 20

// past is a deadline that ends a wait at once.
func past() time.Time { return time.Unix(1, 0) }

// link is one connection: to us, and from us on.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	done   chan struct{} // closed when the link is reset
	failed atomic.Bool   // one side has reset it; the kernel says so once, and then that the side has ended

	mu     sync.Mutex
	server *net.TCPConn // nil until it is connected
	dead   bool
}

// lane is one direction of a link. Only its own goroutine uses it.
type lane struct {
	*link
	from, to *net.TCPConn
	dir      Direction

	line  []packet // what is under way, in order
	size  int      // its bytes
	idle  time.Time
	ended bool // from sends no more, and the last packet says why
	buf   []byte
}

// packet is what was read at once.
type packet struct {
	data []byte
	err  error // how the sender ended: io.EOF, or it was reset
	due  time.Time
}

func (l *link) serve() {
	defer l.reset()
	// A connection is made at the target as late as its first packet would be there.
	s := l.proxy.now()
	if s.Delay > 0 {
		l.proxy.pause(s, s.Delay)
	}
	if !l.open(Both) {
		return
	}
	ctx, cancel := context.WithTimeout(l.proxy.ctx, 10*time.Second)
	defer cancel()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", l.proxy.target)
	if err != nil {
		l.open(Backward) // that the target is gone is news from the target
		return
	}
	if !l.connect(server.(*net.TCPConn)) {
		return
	}
	var both sync.WaitGroup
	both.Go((&lane{link: l, from: l.client, to: l.server, dir: Forward}).run)
	both.Go((&lane{link: l, from: l.server, to: l.client, dir: Backward}).run)
	both.Wait()
	l.finish()
}

func (l *link) connect(server *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		reset(server)
		return false
	}
	l.server = server
	return true
}

// open waits until bytes pass in these directions, and says whether there is still a link.
func (l *link) open(d Direction) bool {
	for {
		s := l.proxy.now()
		if l.over() {
			return false
		}
		if s.Hold&d == 0 {
			return true
		}
		select {
		case <-s.over:
		case <-l.done:
		}
	}
}

func (l *link) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// interrupt makes both lanes look at the state again.
func (l *link) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.client.SetReadDeadline(past())
	if l.server != nil {
		_ = l.server.SetReadDeadline(past())
	}
}

// reset ends a link so that both sides see that it is broken.
func (l *link) reset() { l.end(reset) }

// finish ends a link whose sides both have said that they send no more.
func (l *link) finish() { l.end(func(c *net.TCPConn) { _ = c.Close() }) }

func (l *link) end(how func(*net.TCPConn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	l.dead = true
	close(l.done)
	how(l.client)
	if l.server != nil {
		how(l.server)
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (l *lane) run() {
	defer l.proxy.leave(l)
	for {
		// The deadline is taken away before the state is read: a change in between sets it again.
		_ = l.from.SetReadDeadline(time.Time{})
		s := l.proxy.enter(l)
		var err error
		switch {
		case l.over():
			return
		case s.Hold&l.dir != 0:
			l.open(l.dir)
		case s.slow() || s.Hold != 0 || len(l.line) > 0:
			// While a direction is held we must know which side has failed, and the kernel's copy does not tell.
			err = l.carry(s)
		default:
			if _, err = io.Copy(l.to, l.from); err == nil {
				err = io.EOF
			}
		}
		switch {
		case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, io.EOF) && !l.failed.Load():
			_ = l.to.CloseWrite()
			return
		default:
			l.broken(err)
			return
		}
	}
}

// broken ends a link of which one side takes or sends no more, as soon as that news could reach the other.
func (l *lane) broken(err error) {
	l.failed.Store(true)
	news := l.dir
	var failed *net.OpError
	if errors.As(err, &failed) && failed.Op == "write" {
		news = l.dir.reverse()
	}
	if l.open(news) {
		l.reset()
	}
}

// carry is one step on a slow line, or on one that was slow and has not carried all yet: it reads what comes until the first
// packet is due, and then passes that on.
func (l *lane) carry(s *state) error {
	if len(l.line) > 0 && !time.Now().Before(l.line[0].due) {
		first := l.line[0]
		l.line = l.line[1:]
		l.size -= len(first.data)
		if first.err != nil {
			return first.err
		}
		_, err := l.to.Write(first.data)
		return err
	}
	if l.ended || l.size >= window {
		l.await(s, time.Until(l.line[0].due))
		return nil
	}
	if len(l.line) > 0 && !l.readUntil(s, l.line[0].due) {
		return nil
	}
	chunk := 32 << 10
	if s.Rate > 0 {
		chunk = min(chunk, max(s.Rate/50, 512))
	}
	if l.buf == nil {
		l.buf = make([]byte, 32<<10)
	}
	n, err := l.from.Read(l.buf[:chunk])
	if n > 0 {
		l.put(s, packet{data: append([]byte(nil), l.buf[:n]...)})
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		l.ended = true
		l.put(s, packet{err: err})
	}
	return nil
}

func (l *lane) put(s *state, p packet) {
	now := time.Now()
	if l.idle.Before(now) {
		l.idle = now
	}
	if s.Rate > 0 {
		l.idle = l.idle.Add(time.Duration(len(p.data)) * time.Second / time.Duration(s.Rate))
	}
	p.due = l.idle.Add(s.Delay)
	if s.Jitter > 0 {
		p.due = p.due.Add(rand.N(2*s.Jitter) - s.Jitter)
	}
	if n := len(l.line); n > 0 && p.due.Before(l.line[n-1].due) {
		p.due = l.line[n-1].due
	}
	l.line = append(l.line, p)
	l.size += len(p.data)
}

// readUntil sets the deadline of the next read, unless the state has changed: then a deadline must stay that ends it at once.
func (l *lane) readUntil(s *state, due time.Time) bool {
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	if l.proxy.state != s {
		return false
	}
	_ = l.from.SetReadDeadline(due)
	return true
}

func (l *lane) await(s *state, d time.Duration) {
	select {
	case <-s.over:
	case <-l.done:
	case <-time.After(d):
	}
}
