package rabbitmqtest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes TCP connections on to a target, and breaks them in the ways in which a network does. Its methods are safe
// for concurrent use.
type Proxy struct {
	tb     testing.TB
	target string
	port   *port
	work   sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	links    map[*link]bool
	gate     chan struct{} // closed while bytes pass
	closed   bool
}

// link is one connection, to us and from us on.
type link struct {
	cut chan struct{} // closed when the link is cut

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

// NewProxy makes a proxy in front of host:port that ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	port, err := takePort()
	if err != nil {
		tb.Fatalf("start a proxy: %v", err)
	}
	p := &Proxy{tb: tb, target: target, port: port, links: map[*link]bool{}, gate: make(chan struct{})}
	close(p.gate)
	tb.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Refuse(true)
		p.Cut()
		p.work.Wait()
		port.give()
	})
	p.Refuse(false)
	return p
}

// Addr is where the proxy listens; it never changes.
func (p *Proxy) Addr() string { return p.port.addr() }

// Connections is how many connections there are, frozen ones included.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Cut closes all connections, on both sides.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// Freeze makes all connections, also those that are made from now on, half-open: both sides believe that they are
// connected, nothing that they send arrives, and neither learns that the other closes.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open() {
		p.gate = make(chan struct{})
	}
}

// Thaw ends Freeze. What was sent meanwhile now arrives.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open() {
		close(p.gate)
	}
}

func (p *Proxy) open() bool {
	select {
	case <-p.gate:
		return true
	default:
		return false
	}
}

// Refuse makes new connections fail with "connection refused", or lets them be made again. Connections that there are
// stay.
func (p *Proxy) Refuse(on bool) {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.listener != nil:
		_ = p.listener.Close()
		p.listener = nil
	case !on && p.listener == nil && !p.closed:
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", p.Addr())
		if err != nil {
			p.tb.Errorf("listen at %s again: %v", p.Addr(), err)
			return
		}
		p.listener = l
		p.work.Go(func() { p.accept(l) })
	}
}

func (p *Proxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // the listener is closed
		}
		ln := &link{cut: make(chan struct{})}
		ln.add(c)
		p.mu.Lock()
		refused := p.listener != l
		if !refused {
			p.links[ln] = true
			p.work.Go(func() { p.serve(ln, c) })
		}
		p.mu.Unlock()
		if refused {
			ln.close()
		}
	}
}

func (p *Proxy) serve(l *link, client net.Conn) {
	defer func() {
		l.close()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	if !p.pass(l) {
		return
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	server, err := dialer.DialContext(context.Background(), "tcp4", p.target)
	if err != nil {
		p.pass(l) // that the target is gone is not to be seen while frozen
		return
	}
	if !l.add(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, server, client) })
	both.Go(func() { p.pump(l, client, server) })
	both.Wait()
}

// pump copies one direction. When the source has ended, so does the other end; an error ends both directions.
func (p *Proxy) pump(l *link, to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !p.pass(l) {
			return
		}
		if _, werr := to.Write(buf[:n]); werr != nil {
			err = werr
		}
		if errors.Is(err, io.EOF) {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
		if err != nil {
			if p.pass(l) {
				l.close()
			}
			return
		}
	}
}

// pass waits until bytes pass, and says whether there is still a link.
func (p *Proxy) pass(l *link) bool {
	for {
		p.mu.Lock()
		gate, open := p.gate, p.open()
		p.mu.Unlock()
		select {
		case <-l.cut:
			return false
		default:
		}
		if open {
			return true
		}
		select {
		case <-gate:
		case <-l.cut:
		}
	}
}

func (l *link) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		_ = c.Close()
		return false
	}
	l.conns = append(l.conns, c)
	return true
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	l.dead = true
	close(l.cut)
	for _, c := range l.conns {
		_ = c.Close()
	}
}
