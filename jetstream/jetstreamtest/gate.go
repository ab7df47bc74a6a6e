package jetstreamtest

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Gate stands before a server and lets so many messages of a client through. With the next one the client is cut off for good: what
// kill -9 does to it at that moment. It is safe for concurrent use.
type Gate struct {
	listener net.Listener
	server   string
	loses    func(subject string) bool // nil: nothing
	counts   func(subject string) bool
	shut     func()

	mu    sync.Mutex
	left  int
	cut   bool
	conns []net.Conn
	all   sync.WaitGroup
}

// NewGate opens a gate for the messages that counts picks by their subjects; all others pass as long as it is open. shut is called
// when it has shut, and is to end what the client does. Close must be called.
func NewGate(t testing.TB, server string, messages int, counts func(subject string) bool, shut func()) *Gate {
	t.Helper()
	g := &Gate{counts: counts, shut: shut, left: messages}
	g.open(t, server)
	return g
}

// NewSieve opens a gate that stays open, and where the messages are lost that loses picks by their subjects: the client is not told.
// It is closed with the test.
func NewSieve(t testing.TB, server string, loses func(subject string) bool) *Gate {
	t.Helper()
	g := &Gate{loses: loses, counts: func(string) bool { return false }}
	g.open(t, server)
	t.Cleanup(g.Close)
	return g
}

func (g *Gate) open(t testing.TB, server string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.listener, g.server = l, strings.TrimPrefix(server, "nats://")
	g.all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			g.join(t.Context(), client)
		}
	})
}

// URL is where the client finds the server.
func (g *Gate) URL() string { return "nats://" + g.listener.Addr().String() }

// Shut tells whether the client was cut off.
func (g *Gate) Shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cut && g.left < 0
}

// Close ends all connections.
func (g *Gate) Close() {
	g.end()
	g.all.Wait()
}

func (g *Gate) end() {
	_ = g.listener.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = true
	for _, c := range g.conns {
		_ = c.Close()
	}
}

func (g *Gate) join(ctx context.Context, client net.Conn) {
	server, err := new(net.Dialer).DialContext(ctx, "tcp", g.server)
	if err != nil {
		_ = client.Close()
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns = append(g.conns, client, server); g.cut {
		_, _ = client.Close(), server.Close()
		return
	}
	end := func() { _, _ = client.Close(), server.Close() }
	g.all.Go(func() { defer end(); _, _ = io.Copy(client, server) })
	g.all.Go(func() {
		defer end()
		if g.pass(bufio.NewReader(client), server) {
			g.end()
			g.shut()
		}
	})
}

// pass hands on what a client says, a line at a time and a message as a whole, and tells whether it came to one too many.
func (g *Gate) pass(client *bufio.Reader, server io.Writer) bool {
	for {
		line, err := client.ReadString('\n')
		if err != nil {
			return false
		}
		said := []byte(line)
		if words := strings.Fields(line); len(words) > 2 && (words[0] == "PUB" || words[0] == "HPUB") {
			size, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return false
			}
			if g.counts(words[1]) && !g.opens() {
				return true
			}
			said = append(said, make([]byte, size+len("\r\n"))...)
			if _, err := io.ReadFull(client, said[len(line):]); err != nil {
				return false
			}
			if g.loses != nil && g.loses(words[1]) {
				continue
			}
		}
		if _, err := server.Write(said); err != nil {
			return false
		}
	}
}

// opens counts a message that is to come through.
func (g *Gate) opens() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left--
	return g.left >= 0
}
