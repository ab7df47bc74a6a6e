package amqp1

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	amqp "github.com/Azure/go-amqp"

	"stackstream/internal/broker"
)

// hangUpWithin is how long the end of a connection in good order may take.
const hangUpWithin = 2 * time.Second

// dialer makes links. It may be used by several goroutines at once.
type dialer struct {
	cfg       Config
	container string // who we are, for the peer's list of connections
	version   string
	password  string
	tls       *tls.Config // nil: without TLS
}

// newDialer reads the files that the settings name, and asks nobody.
func newDialer(cfg Config, container, version string) (*dialer, error) {
	password, err := cfg.Password.OrFile("password_file", cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	d := &dialer{cfg: cfg, container: container, version: version, password: password}
	if cfg.TLS.Enabled {
		if d.tls, err = cfg.TLS.Config(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// wire is a connection with one receiving link on it. The peer has no credit yet.
type wire struct {
	gate     *gate
	conn     *amqp.Conn
	receiver *amqp.Receiver
}

// hangUp ends the connection in good order, or by force.
func (w *wire) hangUp() {
	force := time.AfterFunc(hangUpWithin, func() { _ = w.gate.Close() })
	defer force.Stop()
	_ = w.conn.Close() // it is over in any case
}

// cause is an error of the library, or what it hides: why the network was not read any more.
func (w *wire) cause(err error) error {
	var ended *amqp.ConnError
	if failure := w.gate.failed(); failure != nil && errors.As(err, &ended) && ended.RemoteErr == nil {
		return failure
	}
	return err
}

// dial tries all hosts once and returns the first link to the address that stands.
func (d *dialer) dial(ctx context.Context, address string) (*wire, error) {
	w, _, err := broker.Dial(ctx, d.cfg.Hosts, d.cfg.TLS.Enabled, func(ctx context.Context, host string) (*wire, error) {
		return d.dialHost(ctx, host, address)
	})
	return w, err
}

// dialHost connects to one host, all within ConnectTimeout.
func (d *dialer) dialHost(ctx context.Context, host, address string) (*wire, error) {
	peer := broker.Address(host, d.cfg.TLS.Enabled)
	limited, cancel := context.WithTimeoutCause(ctx, d.cfg.ConnectTimeout, broker.ErrTooLate)
	defer cancel()
	tcp, err := (&net.Dialer{}).DialContext(limited, "tcp", peer)
	if err != nil {
		return nil, d.failed(limited, peer, stageReach, nil, err)
	}
	stop := context.AfterFunc(limited, func() { _ = tcp.Close() })
	w, err := d.open(limited, peer, host, tcp, address)
	if !stop() && err == nil {
		w.hangUp()
		err = d.failed(limited, peer, stageLogin, nil, context.Cause(limited))
	}
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return w, nil
}

// open speaks TLS and AMQP on a connection.
func (d *dialer) open(ctx context.Context, peer, host string, tcp net.Conn, address string) (*wire, error) {
	seen := &broker.Witness{Conn: tcp}
	if d.tls != nil {
		conf := d.tls.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(peer)
		}
		secure := tls.Client(tcp, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, d.failed(ctx, peer, stageTLS, nil, err)
		}
		seen.Conn = secure
	}
	w := &wire{gate: newGate(seen, d.cfg.MaxMessage, d.cfg.PrefetchBytes)}
	var err error
	if w.conn, err = amqp.NewConn(ctx, w.gate, d.options(host)); err != nil {
		return nil, d.failed(ctx, peer, stageLogin, seen, err)
	}
	if w.receiver, err = d.attach(ctx, w.conn, address); err != nil {
		err = d.failed(ctx, peer, stageLink, nil, &refusal{address, w.cause(err)})
		w.hangUp()
		return nil, err
	}
	return w, nil
}

func (d *dialer) options(host string) *amqp.ConnOptions {
	o := &amqp.ConnOptions{
		ContainerID: d.container, HostName: d.cfg.VHost, MaxFrameSize: frameSize, IdleTimeout: 2 * d.cfg.Heartbeat,
		MaxSessions: 1, WriteTimeout: d.cfg.ConnectTimeout,
		Properties: map[string]any{"product": "stackstream", "version": d.version, "platform": "golang"},
	}
	if o.HostName == "" {
		o.HostName, _, _ = net.SplitHostPort(broker.Address(host, d.cfg.TLS.Enabled))
	}
	switch d.cfg.SASL {
	case broker.SASLExternal:
		o.SASLType = amqp.SASLTypeExternal("")
	case broker.SASLAnonymous:
		o.SASLType = amqp.SASLTypeAnonymous()
	default:
		o.SASLType = amqp.SASLTypePlain(d.cfg.User, d.password)
	}
	return o
}

// attach makes the link. What it may receive is bounded by the gate; the peer is told, so that it need not try.
func (d *dialer) attach(ctx context.Context, conn *amqp.Conn, address string) (*amqp.Receiver, error) {
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return nil, err
	}
	return session.NewReceiver(ctx, address, &amqp.ReceiverOptions{Credit: -1, MaxMessageSize: uint64(d.cfg.MaxMessage)})
}
