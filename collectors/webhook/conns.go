package webhook

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// connections are those that there are. Where there are too many one has to go: one that has brought no whole header yet, the oldest
// first, or else one that is idle. So who opens connections and sends nothing takes them from others of the kind.
type connections struct {
	most int
	said func(n int)

	mu      sync.Mutex
	known   map[net.Conn]*list.Element
	unknown *list.List // of *connection, without a whole header yet
	good    *list.List // of *connection, the one that has been idle for the longest first
}

type connection struct {
	conn net.Conn
	in   *list.List
	idle bool
}

func newConnections(most int, said func(n int)) *connections {
	return &connections{most: most, said: said, known: map[net.Conn]*list.Element{}, unknown: list.New(), good: list.New()}
}

type connKey struct{}

// context has the connection of a request.
func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// state follows a connection.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.known[conn] = c.unknown.PushBack(&connection{conn: conn, in: c.unknown})
		if len(c.known) > c.most {
			c.drop()
		}
	case http.StateClosed, http.StateHijacked:
		if e := c.known[conn]; e != nil {
			c.remove(e)
		}
	case http.StateIdle, http.StateActive:
		if e := c.known[conn]; e != nil {
			of := e.Value.(*connection)
			of.idle = state == http.StateIdle
			if of.in == c.good {
				c.good.MoveToBack(e)
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
	e := c.known[conn]
	if e == nil {
		return
	}
	of := e.Value.(*connection)
	if of.in == c.good {
		return
	}
	c.unknown.Remove(e)
	of.in = c.good
	c.known[conn] = c.good.PushBack(of)
}

// drop closes one; mu is held.
func (c *connections) drop() {
	if e := c.unknown.Front(); e != nil && c.unknown.Len() > 1 { // the newest is the one that came
		c.end(e)
		return
	}
	for e := c.good.Front(); e != nil; e = e.Next() {
		if e.Value.(*connection).idle {
			c.end(e)
			return
		}
	}
	if e := c.unknown.Back(); e != nil {
		c.end(e)
	}
}

// end closes one without a word: TLS would wait until the other side takes it.
func (c *connections) end(e *list.Element) {
	conn := e.Value.(*connection).conn
	if over, ok := conn.(*tls.Conn); ok {
		conn = over.NetConn()
	}
	_ = conn.Close()
	c.remove(e)
}

func (c *connections) remove(e *list.Element) {
	of := e.Value.(*connection)
	of.in.Remove(e)
	delete(c.known, of.conn)
}
