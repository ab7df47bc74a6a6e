package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/chaos/proxy"
)

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
			if c == nil {
				continue
			}
			end, err := s.listener.Accept() // who comes later must not find this one in the queue
			if err != nil {
				t.Fatal(err)
			}
			end.Close()
			c.Close()
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
