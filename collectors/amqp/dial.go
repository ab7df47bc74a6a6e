package amqp

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/broker"
)

// frameSize is the largest frame we take, RabbitMQ's own default.
const frameSize = 128 << 10

// dialer makes connections to the broker. It may be used by several goroutines at once.
type dialer struct {
	cfg      Config
	name     string // of the connections
	version  string
	password string
	tls      *tls.Config // nil: without TLS
}

// newDialer reads the files that the settings name, and asks nobody. name and version are what the broker's list of
// connections shows.
func newDialer(cfg Config, name, version string) (*dialer, error) {
	password, err := cfg.Password.OrFile("password_file", cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	d := &dialer{cfg: cfg, name: name, version: version, password: password}
	if cfg.TLS.Enabled {
		if d.tls, err = cfg.TLS.Config(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// dial tries all hosts once, in random order, and returns the first connection that stands and its host. The error
// names every host and what is wrong with it; it is Invalid only if no host could serve us later either.
func (d *dialer) dial(ctx context.Context, purpose string) (*amqp091.Connection, string, error) {
	return broker.Dial(ctx, d.cfg.Hosts, d.cfg.TLS.Enabled, func(ctx context.Context, host string) (*amqp091.Connection, error) {
		return d.dialHost(ctx, host, purpose)
	})
}

// dialHost connects to one host: TCP, TLS and login together within ConnectTimeout. purpose, if any, is added to the
// name of the connection.
func (d *dialer) dialHost(ctx context.Context, host, purpose string) (*amqp091.Connection, error) {
	address := d.cfg.address(host)
	limited, cancel := context.WithTimeoutCause(ctx, d.cfg.ConnectTimeout, broker.ErrTooLate)
	defer cancel()
	tcp, err := (&net.Dialer{}).DialContext(limited, "tcp", address)
	if err != nil {
		return nil, d.failed(limited, address, stageReach, nil, err)
	}
	// The library bounds its handshake by deadlines that its own heartbeats move; closing the socket ends it for sure.
	stop := context.AfterFunc(limited, func() { _ = tcp.Close() })
	conn, err := d.open(limited, address, tcp, purpose)
	if !stop() && err == nil {
		_ = conn.Close()
		conn, err = nil, d.failed(limited, address, stageLogin, nil, context.Cause(limited))
	}
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return conn, nil
}

// open speaks TLS and AMQP on a connection.
func (d *dialer) open(ctx context.Context, address string, tcp net.Conn, purpose string) (*amqp091.Connection, error) {
	conn := &broker.Witness{Conn: tcp}
	if d.tls != nil {
		conf := d.tls.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(address)
		}
		secure := tls.Client(tcp, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, d.failed(ctx, address, stageTLS, nil, err)
		}
		conn.Conn = secure
	}
	name := d.name
	if purpose != "" {
		name += " " + purpose
	}
	properties := amqp091.Table{
		"connection_name": name, "product": "stackstream", "version": d.version, "platform": "golang",
	}
	amqp, err := amqp091.Open(conn, amqp091.Config{
		SASL: []amqp091.Authentication{d.login(properties)}, Vhost: d.cfg.VHost, FrameSize: frameSize,
		Heartbeat: d.cfg.Heartbeat, Properties: properties, Locale: "en_US",
	})
	if err != nil {
		return nil, d.failed(ctx, address, stageLogin, conn, err)
	}
	// From here on the library moves the deadline with each frame that comes. The one that it set with the last frame of
	// the login it may have cleared: a broker that says nothing after that would be waited for without end.
	if err := conn.SetReadDeadline(time.Now().Add(2 * amqp.Config.Heartbeat)); err != nil {
		_ = amqp.CloseDeadline(time.Now())
		return nil, d.failed(ctx, address, stageLogin, nil, err)
	}
	return amqp, nil
}

// login is how we say who we are.
type login struct {
	amqp091.Authentication
	properties amqp091.Table
}

func (d *dialer) login(properties amqp091.Table) *login {
	if d.cfg.SASL == broker.SASLExternal {
		return &login{&amqp091.ExternalAuth{}, properties}
	}
	return &login{&amqp091.PlainAuth{Username: d.cfg.User, Password: d.password}, properties}
}

// Response also asks the broker to say so when it refuses the login. Without that it only closes the connection after a
// while, and a wrong password can't be told from a broker that goes down. The library writes the capabilities anew for
// each connection, before it asks for this.
func (l *login) Response() string {
	if capabilities, ok := l.properties["capabilities"].(amqp091.Table); ok {
		capabilities["authentication_failure_close"] = true
	}
	return l.Authentication.Response()
}

func invalid(op string, err error) error { return &event.Error{Kind: event.Invalid, Op: op, Err: err} }
