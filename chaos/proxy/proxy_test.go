package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

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

func TestPassesBothWaysAndHalfCloses(t *testing.T) {
	s := newScene(t)
	client, server := s.pair()
	send(t, client, "to")
	arrives(t, server, "to")
	send(t, server, "fro")
	arrives(t, client, "fro")
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ended(t, server)
	send(t, server, "still")
	arrives(t, client, "still")
	server.Close()
	ended(t, client)
}

func TestCutResetsRefusesAndHeals(t *testing.T) {
	s := newScene(t)
	client, server := s.pair()
	for range 3 {
		s.set(proxy.Fault{Cut: true})
		broken(t, client)
		broken(t, server)
		if _, err := net.Dial("tcp4", s.proxy.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("connect to what is cut: %v", err)
		}
		if l, err := net.Listen("tcp4", s.proxy.Addr()); err == nil {
			l.Close()
			t.Fatal("another could have the port of a proxy that refuses")
		}
		s.set(proxy.Fault{Cut: true})
		s.set(proxy.Fault{})
		client, server = s.pair()
		send(t, client, "again")
		arrives(t, server, "again")
	}
}

func TestHoldIsHalfOpen(t *testing.T) {
	s := newScene(t)
	client, server := s.pair()
	left, behind := s.pair()
	send(t, client, "before")
	arrives(t, server, "before")
	for range 2 {
		s.set(proxy.Fault{Hold: proxy.Both})
		send(t, client, "to")
		send(t, server, "fro")
		silent(t, client)
		silent(t, server)
		s.set(proxy.Fault{})
		arrives(t, server, "to")
		arrives(t, client, "fro")
	}
	s.set(proxy.Fault{Hold: proxy.Both})
	_ = left.(*net.TCPConn).SetLinger(0)
	left.Close()
	server.Close()
	silent(t, behind)
	silent(t, client)
	s.set(proxy.Fault{})
	broken(t, behind)
	ended(t, client)
}

func TestHoldCanBeCut(t *testing.T) {
	s := newScene(t)
	client, server := s.pair()
	s.set(proxy.Fault{Hold: proxy.Both})
	send(t, client, "lost")
	s.set(proxy.Fault{Cut: true})
	broken(t, client)
	broken(t, server)
}

func TestNobodyAnswersWhoConnectsToAHeldLine(t *testing.T) {
	for _, dir := range []proxy.Direction{proxy.Forward, proxy.Backward, proxy.Both} {
		s := newScene(t)
		s.set(proxy.Fault{Hold: dir})
		first, err := net.DialTimeout("tcp4", s.proxy.Addr(), 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		send(t, first, "is kept")
		silent(t, first)
		if _, err := net.DialTimeout("tcp4", s.proxy.Addr(), quiet); err == nil {
			t.Fatal("a second one is connected to a line that is held")
		}
		patient := make(chan net.Conn, 1)
		go func() {
			c, _ := net.DialTimeout("tcp4", s.proxy.Addr(), 30*time.Second)
			patient <- c
		}()
		select {
		case c := <-patient:
			t.Fatalf("connected while the line is held: %v", c)
		case <-time.After(quiet):
		}
		s.set(proxy.Fault{})
		c := <-patient
		if c == nil {
			t.Fatal("who waited was not connected after all")
		}
		send(t, c, "at last")
		for _, text := range []string{"is kept", "at last"} {
			server, err := s.listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			arrives(t, server, text)
			server.Close()
		}
		first.Close()
		c.Close()
	}
}

func TestHoldOneDirection(t *testing.T) {
	s := newScene(t)
	client, server := s.pair()
	s.set(proxy.Fault{Hold: proxy.Backward})
	send(t, client, "to")
	arrives(t, server, "to")
	send(t, server, "fro")
	silent(t, client)
	s.set(proxy.Fault{Hold: proxy.Forward})
	arrives(t, client, "fro")
	send(t, client, "to")
	silent(t, server)
	// The client's end is news from the client, also where we see it by what the server sends.
	_ = client.(*net.TCPConn).SetLinger(0)
	client.Close()
	for range 3 {
		send(t, server, "who is there")
		silent(t, server)
	}
	s.set(proxy.Fault{})
	broken(t, server)
}

func TestDelay(t *testing.T) {
	const delay, jitter = 100 * time.Millisecond, 40 * time.Millisecond
	s := newScene(t)
	client, server := s.pair()
	s.set(proxy.Fault{Delay: delay, Jitter: jitter})
	for range 5 {
		start := time.Now()
		send(t, client, "to")
		arrives(t, server, "to")
		send(t, server, "fro")
		arrives(t, client, "fro")
		if took := time.Since(start); took < 2*(delay-jitter) {
			t.Fatalf("there and back in %s over a line of %s and back", took, delay)
		}
	}
	start := time.Now()
	_, server = s.pair()
	if took := time.Since(start); took < delay {
		t.Fatalf("a connection was made in %s", took)
	}
	server.Close()
	// What is under way when the line heals arrives, before what is sent later.
	client, server = s.pair()
	send(t, client, "slow")
	s.set(proxy.Fault{})
	send(t, client, "fast")
	client.Close()
	arrives(t, server, "slowfast")
	ended(t, server)
}

func TestRate(t *testing.T) {
	s := newScene(t)
	client, server := s.pair()
	s.set(proxy.Fault{Rate: 100_000})
	start := time.Now()
	go func() { _, _ = client.Write(make([]byte, 50_000)) }()
	if _, err := io.ReadFull(server, make([]byte, 50_000)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Fatalf("50 kB in %s over a line of 100 kB/s", took)
	}
}

func TestTargetIsDown(t *testing.T) {
	s := newScene(t)
	s.listener.Close()
	client, err := net.Dial("tcp4", s.proxy.Addr())
	switch {
	case err == nil:
		broken(t, client)
		client.Close()
	case !errors.Is(err, syscall.ECONNRESET):
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.listener = l
	defer l.Close()
	client, server := s.pair()
	send(t, client, "up")
	arrives(t, server, "up")
}

func TestCloseEndsAll(t *testing.T) {
	s := newScene(t)
	for _, f := range []proxy.Fault{{}, {Hold: proxy.Both}, {Delay: time.Hour}} {
		s = newScene(t)
		client, server := s.pair()
		send(t, server, "both ends are there")
		arrives(t, client, "both ends are there")
		s.set(f)
		send(t, client, "x")
		if err := s.proxy.Close(); err != nil {
			t.Fatal(err)
		}
		_ = server.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadAll(server); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("after Close with %+v: %v", f, err)
		}
		if n := s.proxy.Connections(); n != 0 {
			t.Fatalf("%d connections after Close", n)
		}
	}
	if err := s.proxy.Set(proxy.Fault{}); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Set after Close: %v", err)
	}
}

// Whatever faults but a cut come and go while bytes flow in both directions, all arrive, once, and in order.
func TestFaultsLoseNothing(t *testing.T) {
	s := newScene(t)
	rapid.Check(t, func(r *rapid.T) {
		faults := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) proxy.Fault {
			return proxy.Fault{
				Hold:   proxy.Direction(rapid.SampledFrom([]int{0, 0, 1, 2, 3}).Draw(r, "hold")),
				Delay:  time.Duration(rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(r, "delay")) * time.Millisecond,
				Jitter: time.Duration(rapid.SampledFrom([]int{0, 0, 2}).Draw(r, "jitter")) * time.Millisecond,
				Rate:   rapid.SampledFrom([]int{0, 0, 5 << 20}).Draw(r, "rate"),
			}
		}), 1, 12).Draw(r, "faults")
		s.set(proxy.Fault{})
		client, server := s.pair()
		defer client.Close()
		defer server.Close()
		var work sync.WaitGroup
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			var seed [32]byte
			seed[0] = byte(rapid.IntRange(0, 255).Draw(r, "seed"))
			const size = 512 << 10
			work.Go(func() {
				if _, err := io.CopyN(way[0], rand.NewChaCha8(seed), size); err != nil {
					t.Errorf("write: %v", err)
				}
				_ = way[0].(*net.TCPConn).CloseWrite()
			})
			work.Go(func() {
				got, want := sha256.New(), sha256.New()
				n, err := io.Copy(got, way[1])
				_, _ = io.CopyN(want, rand.NewChaCha8(seed), size)
				if err != nil || n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
					t.Errorf("%d bytes arrived of %d, or others: %v", n, size, err)
				}
			})
		}
		for _, f := range faults {
			s.set(f)
			<-time.After(2 * time.Millisecond)
		}
		s.set(proxy.Fault{})
		work.Wait()
	})
}

func TestNetwork(t *testing.T) {
	var network proxy.Network
	t.Cleanup(func() { network.Close() })
	hosts := []string{"a", "b", "c"}
	ways := map[string]*scene{}
	for _, from := range hosts {
		for _, to := range hosts {
			if from == to {
				continue
			}
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			p, err := network.Add(from, to, "127.0.0.1:0", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			ways[from+to] = &scene{t, l, p}
		}
	}
	set := func(l proxy.Lines, f proxy.Fault) {
		t.Helper()
		if err := l.Set(f); err != nil {
			t.Fatal(err)
		}
	}
	up := func(want ...string) {
		t.Helper()
		for name, s := range ways {
			c, err := new(net.Dialer).DialContext(context.Background(), "tcp4", s.proxy.Addr())
			isUp := false
			for _, w := range want {
				isUp = isUp || w == name
			}
			if (err == nil) != isUp {
				t.Fatalf("%s: %v, want only %v to be up", name, err, want)
			}
			if c != nil {
				c.Close()
			}
		}
	}
	up("ab", "ba", "ac", "ca", "bc", "cb")
	set(network.Between("b", "a"), proxy.Fault{Cut: true})
	up("ac", "ca", "bc", "cb")
	set(network.Of("c"), proxy.Fault{Cut: true})
	up()
	set(network.Of("a"), proxy.Fault{})
	up("ab", "ba", "ac", "ca")
	set(network.All(), proxy.Fault{})
	up("ab", "ba", "ac", "ca", "bc", "cb")
	if n := len(network.Of("a").Proxies()); n != 4 {
		t.Fatalf("a has %d lines", n)
	}

	// Forward is what a sends to b, whoever has connected.
	out, in := ways["ab"], ways["ba"]
	for _, s := range []*scene{out, in} {
		s.listener.Close()
		l, err := net.Listen("tcp4", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s.listener = l
	}
	a1, b1 := out.pair()
	b2, a2 := in.pair()
	set(network.Between("a", "b"), proxy.Fault{Hold: proxy.Forward})
	for _, way := range [][2]net.Conn{{a1, b1}, {a2, b2}} {
		send(t, way[0], "held")
		silent(t, way[1])
		send(t, way[1], "passes")
		arrives(t, way[0], "passes")
	}
	set(network.Between("a", "b"), proxy.Fault{})
	arrives(t, b1, "held")
	arrives(t, b2, "held")
}
