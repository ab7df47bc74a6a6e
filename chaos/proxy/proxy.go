// Package proxy stands between two hosts that speak TCP, and breaks what is between them. It needs no rights and no tools of
// the machine (neither netem nor iptables), only that hosts are told the address of a proxy instead of each other's.
//
// What each fault is in the world:
//
//   - Cut: the way is refused. A process has ended while its machine lives, or a firewall rejects. Connections are reset, new
//     ones are refused, and both sides know at once.
//   - Hold, in both directions: half-open. A machine has lost its power, a cable its contact, a firewall has forgotten the
//     connection. Connections stay, nothing passes, neither side learns that the other closes, and who connects waits for an
//     answer (only the first one is connected, and then waits). What waits is sent when the fault ends, as TCP does that sends
//     again.
//   - Hold, in one direction: a broken route or a full queue on one side. The bytes of one side arrive, the answers do not.
//     Nobody can connect: that takes both directions.
//   - Delay, Jitter, Rate: a long, uneven or narrow line. TCP keeps the order, and so do we.
//
// What it cannot do: the kernel acknowledges what a host sends before we decide whether it goes on. So TCP's own keep-alive
// and retransmission limits never see a fault; only the heartbeats of a protocol do. Bytes that we had passed on when the fault
// came still arrive. And a host that connects to a target which is down is connected, and reset a moment later.
//
// Without a fault, the kernel copies from one connection to the other (splice on Linux) and bytes never come to us.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Direction is the way that bytes take; directions can be combined.
type Direction uint8

const (
	// Forward is from the host that connects to the target.
	Forward Direction = 1 << iota
	// Backward is from the target to the host that connects.
	Backward
	// Both is both.
	Both = Forward | Backward
)

func (d Direction) reverse() Direction { return (d<<1 | d>>1) & Both }

// Fault is what is wrong with a line. The zero Fault is a line that passes.
type Fault struct {
	Cut  bool
	Hold Direction
	// Delay is how long a byte takes in each direction, give or take Jitter.
	Delay, Jitter time.Duration
	// Rate limits each direction of each connection to bytes per second; 0 is no limit.
	Rate int
}

func (f Fault) slow() bool { return f.Delay > 0 || f.Jitter > 0 || f.Rate > 0 }

// Proxy passes TCP connections on to a target, as its Fault allows. Its methods are safe for concurrent use.
type Proxy struct {
	target   string
	listener *net.TCPListener
	ctx      context.Context // ends with the proxy
	stop     context.CancelFunc
	work     sync.WaitGroup

	setting sync.Mutex // held by Set

	mu    sync.Mutex
	state *state
	links map[*link]bool
	lanes map[*lane]bool
	door  lane // stands for the loop that accepts
}

// state is a fault and the time that it lasts.
type state struct {
	Fault
	over   chan struct{} // closed by the next Set
	seen   chan struct{} // closed when all know who were there before
	unseen map[*lane]bool
}

// patience is how long Set waits for lanes that do not notice since they are writing.
const patience = 500 * time.Millisecond

// full is the listener's queue while who connects may be accepted.
const full = 1024

// Listen makes a proxy at listen (a port of 0 is one that is free) in front of target, which need not be there.
func Listen(listen, target string) (*Proxy, error) {
	l, err := bind(listen)
	if err != nil {
		return nil, fmt.Errorf("listen at %s for %s: %w", listen, target, err)
	}
	p := &Proxy{
		target: target, listener: l, state: &state{over: make(chan struct{})},
		links: map[*link]bool{}, lanes: map[*lane]bool{},
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.work.Go(p.accept)
	return p, nil
}

// bind listens at a port that is named: the kernel lets only such a port stay ours while we refuse.
func bind(addr string) (*net.TCPListener, error) {
	var config net.ListenConfig
	for range 10 {
		l, err := config.Listen(context.Background(), "tcp", addr)
		if err != nil {
			return nil, err
		}
		if _, port, _ := net.SplitHostPort(addr); port != "0" && port != "" {
			return l.(*net.TCPListener), nil
		}
		named := l.Addr().String()
		l.Close()
		if l, err = config.Listen(context.Background(), "tcp", named); err == nil {
			return l.(*net.TCPListener), nil
		}
	}
	return nil, syscall.EADDRINUSE
}

// Addr is where the proxy listens; it never changes.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Connections is how many connections there are, held ones included.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Set puts f in the place of the fault that there was; the zero Fault heals. When it returns, f holds for all that is sent from
// then on, but on connections whose receiver has stopped reading: what waits for that one was passed on before.
func (p *Proxy) Set(f Fault) error {
	p.setting.Lock()
	defer p.setting.Unlock()
	s := &state{Fault: f, over: make(chan struct{}), seen: make(chan struct{}), unseen: map[*lane]bool{&p.door: true}}
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		return net.ErrClosed
	}
	old := p.state
	p.state = s
	for l := range p.lanes {
		s.unseen[l] = true
	}
	_ = p.listener.SetDeadline(past())
	for l := range p.links {
		if f.Cut {
			l.reset()
		} else {
			l.interrupt()
		}
	}
	close(old.over)
	p.mu.Unlock()

	if f != (Fault{}) {
		select {
		case <-s.seen:
		case <-time.After(patience):
		case <-p.ctx.Done():
			return net.ErrClosed
		}
	}
	if err := p.admit(s); err != nil {
		return fmt.Errorf("change who may connect to %s: %w", p.Addr(), err)
	}
	return nil
}

// enter says what holds, and that the lane knows.
func (p *Proxy) enter(l *lane) *state {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lanes[l] = true
	p.state.see(l)
	return p.state
}

func (p *Proxy) leave(l *lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.lanes, l)
	p.state.see(l)
}

func (s *state) see(l *lane) {
	if len(s.unseen) == 0 {
		return
	}
	if delete(s.unseen, l); len(s.unseen) == 0 {
		close(s.seen)
	}
}

// admit makes the listener refuse, answer nobody, or accept. The port stays ours.
func (p *Proxy) admit(s *state) error {
	raw, err := p.listener.SyscallConn()
	if err != nil {
		return err
	}
	queue, reuse := full, 1
	switch {
	case s.Cut:
		reuse = 0 // with it, anybody could have the port of a socket that does not listen
	case s.Hold != 0:
		queue = 0 // which is one; who comes then is not answered, and tries until we have room
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, reuse); failed != nil {
			return
		}
		if s.Cut {
			if failed = syscall.Shutdown(int(fd), syscall.SHUT_RDWR); errors.Is(failed, syscall.ENOTCONN) {
				failed = nil // it was cut before
			}
			return
		}
		failed = syscall.Listen(int(fd), queue)
	})
	if failed != nil {
		err = failed
	}
	return err
}

// Close resets all connections and ends the proxy.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.stop()
	err := p.listener.Close()
	for l := range p.links {
		l.reset()
	}
	p.mu.Unlock()
	p.work.Wait()
	return err
}

func (p *Proxy) accept() {
	for p.ctx.Err() == nil {
		_ = p.listener.SetDeadline(time.Time{})
		s := p.enter(&p.door)
		if s.Cut || s.Hold != 0 {
			p.wait(s)
			continue
		}
		c, err := p.listener.AcceptTCP()
		if err != nil {
			if p.now() == s {
				p.pause(s, 10*time.Millisecond) // out of file descriptors
			}
			continue
		}
		p.take(c)
	}
}

func (p *Proxy) take(c *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &link{proxy: p, done: make(chan struct{}), client: c}
	if p.state.Cut || p.ctx.Err() != nil {
		l.reset()
		return
	}
	p.links[l] = true
	p.work.Go(func() {
		l.serve()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	})
}

func (p *Proxy) now() *state {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

func (p *Proxy) wait(s *state) {
	select {
	case <-s.over:
	case <-p.ctx.Done():
	}
}

func (p *Proxy) pause(s *state, d time.Duration) {
	select {
	case <-s.over:
	case <-p.ctx.Done():
	case <-time.After(d):
	}
}
