package rabbitmqtest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"stackstream/internal/rabbitmqtest"
)

// pair makes a connection through a proxy, and returns both of its ends and the proxy.
func pair(t *testing.T) (*rabbitmqtest.Proxy, net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := rabbitmqtest.NewProxy(t, l.Addr().String())
	client, err := net.Dial("tcp4", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return p, client, server
}

// passes sends text from one end to the other.
func passes(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatalf("write: %v", err)
	}
	arrives(t, to, text)
}

func arrives(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("%q arrived, want %q: %v", got, text, err)
	}
}

// silent says that a connection gets nothing, neither data nor an end.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var b [16]byte
	if n, err := c.Read(b[:]); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q and %v, want silence", b[:n], err)
	}
}

func TestFrozenProxyIsSilent(t *testing.T) {
	p, client, server := pair(t)
	passes(t, client, server, "before")
	p.Freeze()
	for _, c := range []net.Conn{client, server} {
		if _, err := io.WriteString(c, "meanwhile"); err != nil {
			t.Errorf("a half-open connection takes no data: %v", err)
		}
	}
	silent(t, client)
	silent(t, server)
	if err := server.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	silent(t, client)
	late, err := net.Dial("tcp4", p.Addr())
	if err != nil {
		t.Fatalf("connect to a frozen proxy: %v", err)
	}
	defer late.Close()
	silent(t, late)
	p.Thaw()
	arrives(t, server, "meanwhile")
	arrives(t, client, "meanwhile")
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the end that was sent meanwhile arrives as %v", err)
	}
}

func TestFrozenProxyHidesAReset(t *testing.T) {
	p, client, server := pair(t)
	p.Freeze()
	if err := errors.Join(server.(*net.TCPConn).SetLinger(0), server.Close()); err != nil {
		t.Fatal(err)
	}
	silent(t, client)
	p.Thaw()
	if err := client.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a reset arrives as %v", err)
	}
}

func TestProxyCuts(t *testing.T) {
	for name, frozen := range map[string]bool{"open": false, "frozen": true} {
		t.Run(name, func(t *testing.T) {
			p, client, server := pair(t)
			passes(t, server, client, "before")
			if frozen {
				p.Freeze()
			}
			p.Cut()
			for _, c := range []net.Conn{client, server} {
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("a cut connection gives data")
				}
			}
			if !rabbitmqtest.Poll(func() bool { return p.Connections() == 0 }) {
				t.Errorf("%d connections", p.Connections())
			}
		})
	}
}

func TestProxyRefuses(t *testing.T) {
	p, client, server := pair(t)
	p.Refuse(true)
	if c, err := net.Dial("tcp4", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect: %v, %v", c, err)
	}
	passes(t, client, server, "old connections stay")
	p.Refuse(false)
	c, err := net.Dial("tcp4", p.Addr())
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	c.Close()
}

// A publisher behind a proxy goes on when the network does.
func TestPublisherThroughAProxy(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	p := rabbitmqtest.NewProxy(t, b.Addr())
	pub := b.Publisher(t, b.VHost(t), rabbitmqtest.Through(p.Addr()))
	publish := func(ctx context.Context) error { return pub.Notify(ctx, "nova", rabbitmqtest.Notification{}) }
	if err := publish(t.Context()); err != nil {
		t.Fatalf("publish: %v", err)
	}
	p.Cut()
	if err := publish(t.Context()); err != nil {
		t.Fatalf("publish after a cut: %v", err)
	}
	p.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := publish(ctx); err == nil || len(pub.Confirmed("nova")) != 2 {
		t.Errorf("publish while nothing passes: %v", err)
	}
	p.Thaw()
	if err := publish(t.Context()); err != nil || len(pub.Confirmed("nova")) != 3 {
		t.Errorf("publish: %v, confirmed %v", err, pub.Confirmed("nova"))
	}
	// A new connection to a broker that does not answer must not outlast its test.
	p.Refuse(true)
	p.Cut()
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := publish(ctx); err == nil {
		t.Error("published to nobody")
	}
}
