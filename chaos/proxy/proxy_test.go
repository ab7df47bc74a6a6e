package proxy_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"stackstream/chaos/proxy"
)

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
