package proxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"stackstream/chaos/proxy"
)

// quiet is how long nothing may arrive for us to say that nothing does.
const quiet = 150 * time.Millisecond

// scene is a target, a proxy in front of it, and what the target has accepted.
type scene struct {
	t        testing.TB
	listener net.Listener
	proxy    *proxy.Proxy
}

func newScene(t testing.TB) *scene {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p, err := proxy.Listen("127.0.0.1:0", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &scene{t, l, p}
}

func (s *scene) set(f proxy.Fault) {
	s.t.Helper()
	if err := s.proxy.Set(f); err != nil {
		s.t.Fatal(err)
	}
}

// pair makes a connection through the proxy and returns both of its ends.
func (s *scene) pair() (client, server net.Conn) {
	s.t.Helper()
	client, err := net.Dial("tcp4", s.proxy.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	server, err = s.listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { server.Close() })
	return client, server
}

func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func arrives(t testing.TB, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("%q arrived, want %q: %v", got, text, err)
	}
}

// silent says that a connection gets nothing, neither data nor an end.
func silent(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(quiet))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v, from a connection that is held", n, err)
	}
}

func broken(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("%v from a connection that is cut", err)
	}
}

func ended(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("read %d bytes, %v, where the other side has ended", n, err)
	}
}
