package webhook

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// connections are those that there are. Where there are too many one has to go: one that has brought no whole header yet, or else one
// that is idle, or that its sender has closed. So who opens connections and sends nothing takes them from others of the kind.
type connections struct {
	most int
	said func(n int)

	mu      sync.Mutex
	known   map[net.Conn]*connection
	unknown *crowd[*connection] // without a whole header yet
	good    *list.List          // of *connection, the one that has been idle for the longest first
}

type connection struct {
	conn    net.Conn
	unknown *member[*connection] // or else good
	good    *list.Element
	idle    bool // or its sender may be gone
}

func newConnections(most int, said func(n int)) *connections {
	return &connections{most: most, said: said, known: map[net.Conn]*connection{}, unknown: newCrowd[*connection](), good: list.New()}
}

type connKey struct{}

// context has the connection of a request.
func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// from is where a request comes from.
func (c *connections) from(ctx context.Context) netip.Prefix {
	if conn, ok := ctx.Value(connKey{}).(net.Conn); ok {
		return origin(conn.RemoteAddr())
	}
	return netip.Prefix{}
}

// state follows a connection.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		of := &connection{conn: conn}
		of.unknown = c.unknown.add(origin(conn.RemoteAddr()), of)
		c.known[conn] = of
		if len(c.known) > c.most {
			c.drop(of)
		}
	case http.StateClosed, http.StateHijacked:
		if of := c.known[conn]; of != nil {
			c.remove(of)
		}
	case http.StateIdle, http.StateActive:
		if of := c.known[conn]; of != nil {
			of.idle = state == http.StateIdle
			if of.good != nil {
				c.good.MoveToBack(of.good)
			}
		}
	}
	c.said(len(c.known))
}

// knows says that a request of the connection is being read: its header came, and its sender is known as far as that tells.
func (c *connections) knows(ctx context.Context) {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.known[conn]
	if of == nil || of.good != nil {
		return
	}
	c.unknown.remove(of.unknown)
	of.unknown, of.good = nil, c.good.PushBack(of)
}

// closes says that the sender has closed its side while it is to be answered. It may wait for the answer; where connections are
// short it does not keep one from those who certainly do.
func (c *connections) closes(ctx context.Context) {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if of := c.known[conn]; of != nil {
		of.idle = true
	}
}

// drop closes one for one that came; mu is held.
func (c *connections) drop(came *connection) {
	if c.unknown.n > 1 {
		c.end(c.unknown.next(came.unknown.from).of)
		return
	}
	for e := c.good.Front(); e != nil; e = e.Next() {
		if of := e.Value.(*connection); of.idle {
			c.end(of)
			return
		}
	}
	c.end(came)
}

// end closes one without a word: TLS would wait until the other side takes it.
func (c *connections) end(of *connection) {
	conn := of.conn
	if over, ok := conn.(*tls.Conn); ok {
		conn = over.NetConn()
	}
	_ = conn.Close()
	c.remove(of)
}

func (c *connections) remove(of *connection) {
	if of.good != nil {
		c.good.Remove(of.good)
	} else {
		c.unknown.remove(of.unknown)
	}
	delete(c.known, of.conn)
}
