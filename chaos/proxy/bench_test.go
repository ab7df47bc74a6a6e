package proxy_test

import (
	"io"
	"net"
	"testing"
)

// BenchmarkBytes sends a megabyte at a time, without a proxy and through one.
func BenchmarkBytes(b *testing.B) {
	ways(b, func(b *testing.B, client, server net.Conn) {
		block := make([]byte, 1<<20)
		b.SetBytes(int64(len(block)))
		go func() {
			for range b.N {
				_, _ = client.Write(block)
			}
		}()
		if _, err := io.CopyN(io.Discard, onlyReader{server}, int64(b.N)<<20); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkMessages sends 100 bytes there and back.
func BenchmarkMessages(b *testing.B) {
	ways(b, func(b *testing.B, client, server net.Conn) {
		go func() { _, _ = io.CopyBuffer(onlyWriter{server}, onlyReader{server}, make([]byte, 100)) }()
		message := make([]byte, 100)
		for b.Loop() {
			if _, err := client.Write(message); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(client, message); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

func ways(b *testing.B, run func(b *testing.B, client, server net.Conn)) {
	b.Run("direct", func(b *testing.B) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer server.Close()
		run(b, client, server)
	})
	b.Run("proxy", func(b *testing.B) {
		client, server := newScene(b).pair()
		run(b, client, server)
	})
}
