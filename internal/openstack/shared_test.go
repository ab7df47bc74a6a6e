package openstack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Sources of one host share a connection of HTTP/2. One that is dead is not used for as long as any of them asks.
func TestDeadConnectionIsLeft(t *testing.T) {
	like := httptest.NewUnstartedServer(nil)
	like.EnableHTTP2 = true
	like.StartTLS() // for its certificate
	like.Close()
	synctest.Test(t, func(t *testing.T) {
		server := &http.Server{
			TLSConfig: &tls.Config{Certificates: like.TLS.Certificates, NextProtos: []string{"h2"}},
			Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) }),
		}
		conns := make(pipes)
		go func() { _ = server.ServeTLS(conns, "", "") }()
		defer server.Close()

		roots := x509.NewCertPool()
		roots.AddCert(like.Certificate())
		transport, err := DefaultHTTP().transport(&tls.Config{RootCAs: roots, ServerName: "example.com"})
		if err != nil {
			t.Fatal(err)
		}
		defer transport.CloseIdleConnections()
		var dead atomic.Bool
		dialed := 0
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			dialed++
			ours, theirs := net.Pipe()
			conns <- theirs
			if dialed > 1 {
				return ours, nil
			}
			return &silenced{Conn: ours, dead: &dead}, nil
		}
		client := &http.Client{Transport: transport, Timeout: 60 * time.Second}
		ask := func() error {
			answer, err := client.Get("https://example.com/")
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.ProtoMajor != 2 {
				t.Errorf("asked by %s", answer.Proto)
			}
			return nil
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		dead.Store(true)
		failed := make(chan error)
		const others = 20
		for i := range others { // there is always one that waits for an answer
			go func() {
				time.Sleep(time.Duration(i) * 10 * time.Second)
				failed <- ask()
			}()
		}
		lost := 0
		for range others {
			if err := <-failed; err != nil {
				lost++
			}
		}
		if lost == 0 || lost > 5 {
			t.Errorf("%d of %d questions had no answer", lost, others)
		}
	})
}

// pipes are what connects to a server.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// silenced is a connection that may be dead without anybody being told.
type silenced struct {
	net.Conn
	dead *atomic.Bool
}

func (s *silenced) Write(b []byte) (int, error) {
	if s.dead.Load() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}
