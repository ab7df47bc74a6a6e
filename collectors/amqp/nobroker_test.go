package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"stackstream/event"

	"stackstream/internal/broker"
	"stackstream/internal/rabbitmqtest"
)

// serve has each connection to the address that it returns handled. All have ended when the test does.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Wait()
	})
	return l.Addr().String()
}

// silent reads until the other side ends, and says nothing.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// Whatever answers, or does not, dialling ends and closes what it opened: serve waits for that.
func TestDialWhatIsNoBroker(t *testing.T) {
	saying := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			silent(conn)
		}
	}
	for _, tc := range []struct {
		name  string
		tls   bool
		serve func(net.Conn)
		kind  event.Kind
		want  string
	}{
		{"half-open", false, silent, event.Unavailable, "no answer to the login within 100ms (see connect_timeout)"},
		{"half-open, with TLS", true, silent, event.Unavailable, "no answer in TLS within 100ms (see connect_timeout)"},
		{"hangs up", false, func(net.Conn) {}, event.Unavailable, "closed before the broker said anything"},
		{"hangs up, with TLS", true, func(net.Conn) {}, event.Unavailable, "closed by the other side"},
		{"HTTP", false, saying("HTTP/1.1 400 Bad Request\r\n\r\n"), event.Invalid, "an HTTP server listens there"},
		{"SSH", false, saying("SSH-2.0-OpenSSH_9.2p1\r\n"), event.Invalid, "does not speak AMQP 0-9-1 (see hosts)"},
		{"SSH, with TLS", true, saying("SSH-2.0-OpenSSH_9.2p1\r\n"), event.Invalid, "does not speak TLS"},
		{"AMQP 1.0", false, saying("AMQP\x00\x01\x00\x00"), event.Invalid, "does not speak AMQP 0-9-1 on this port"},
		{"an alert of TLS", false, saying("\x15\x03\x03\x00\x02\x02\x0a"), event.Invalid, "speaks TLS on this port"},
		{"zeros", false, saying(strings.Repeat("\x00", 64)), event.Invalid, "does not speak AMQP 0-9-1 (see hosts)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := guest("/")
			cfg.TLS.Enabled, cfg.ConnectTimeout = tc.tls, 100*time.Millisecond
			_, _, err := dialTo(t, cfg, serve(t, tc.serve)).dial(t.Context(), "")
			wantError(t, err, tc.kind, tc.want)
		})
	}

	t.Run("TLS 1.1", func(t *testing.T) {
		ca := rabbitmqtest.NewCA(t)
		old := ca.Config(ca.Issue(t, "localhost", "127.0.0.1"))
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		cfg := guest("/")
		cfg.TLS = tlsSettings{Enabled: true, CAFile: ca.File, MinVersion: "1.2"}
		addr := serve(t, func(conn net.Conn) { _ = tls.Server(conn, old).Handshake() })
		_, _, err := dialTo(t, cfg, addr).dial(t.Context(), "")
		wantError(t, err, event.Invalid, "no version of TLS", "(see tls.min_version)")
	})
}

// A broker that dies or freezes anywhere in the login is never taken for one that refuses it.
func TestDialCutOff(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	cfg := guest(broker.VHost(t))
	for _, tc := range []struct {
		name    string
		hangUp  bool
		timeout time.Duration
		want    string
	}{
		{"closed", true, 10 * time.Second, "the connection was closed"},
		{"frozen", false, 100 * time.Millisecond, "no answer to the login within 100ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := cfg
			cfg.ConnectTimeout = tc.timeout
			for n := 0; n < 4096; n += 57 {
				addr := serve(t, func(conn net.Conn) {
					up, err := net.Dial("tcp", broker.Addr())
					if err != nil {
						return
					}
					var both sync.WaitGroup
					both.Go(func() { // until the dialer hangs up
						_, _ = io.Copy(up, conn)
						_ = up.Close()
					})
					_, _ = io.CopyN(conn, up, int64(n))
					if tc.hangUp {
						_ = conn.Close()
					}
					both.Wait()
				})
				conn, err := dialTo(t, cfg, addr).dialHost(t.Context(), addr, "")
				if err == nil {
					_ = conn.CloseDeadline(time.Now()) // the broker's answer would not get through
					if n < 300 {
						t.Errorf("logged in with %d bytes from the broker", n)
					}
					return
				}
				wantError(t, err, event.Unavailable, tc.want)
			}
			t.Error("4096 bytes from the broker are not enough to log in")
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	for _, secure := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := guest("/")
		cfg.TLS.Enabled, cfg.ConnectTimeout = secure, time.Minute
		addr := serve(t, func(conn net.Conn) {
			cancel()
			silent(conn)
		})
		_, _, err := dialTo(t, cfg, addr, addr, addr).dial(ctx, "")
		wantError(t, err, event.Unavailable, "context canceled")
		if errors.Is(err, broker.ErrTooLate) {
			t.Errorf("taken for late: %v", err)
		}
	}
}

// A connection is used on after ConnectTimeout has passed.
func TestConnectTimeoutEndsWithTheLogin(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	cfg := guest(broker.VHost(t))
	cfg.ConnectTimeout, cfg.Heartbeat = 300*time.Millisecond, time.Second
	ctx, cancel := context.WithCancel(t.Context())
	conn, _, err := dialTo(t, cfg, broker.Addr()).dial(ctx, "")
	must(t, conn, err)
	cancel()
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	select {
	case reason := <-closed:
		t.Errorf("it ended: %v", reason)
	case <-time.After(2 * time.Second): // more than the timeout and the library's own deadline of 1.5 s
	}
	if _, err := conn.Channel(); err != nil {
		t.Errorf("open a channel: %v", err)
	}
}
