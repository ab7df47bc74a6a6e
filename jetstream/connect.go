package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
)

const (
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 250 * time.Millisecond
	connectMaxWait  = 5 * time.Second
	pingInterval    = 15 * time.Second
	dialTimeout     = 5 * time.Second
	apiTimeout      = 10 * time.Second
	// maxHungUp is how often in a row a server may end the connection over TLS before that counts as a refusal: when it
	// refuses a certificate, its reason can be lost on the way.
	maxHungUp = 3
)

// Connect returns a client that is connected to a server it can work with. While no server can be reached it goes on
// trying until ctx ends. What waiting does not mend ends it at once, with the kind event.Invalid: a wrong setting, a
// refused credential or certificate, a server that is too old or has no JetStream.
//
// Once connected it reconnects for ever, whatever the reason; Healthy, the hooks and the log say how it stands. Nothing
// is buffered meanwhile: a publish without a connection fails.
func Connect(ctx context.Context, cfg Config, log zerolog.Logger, hooks Hooks) (*Client, error) {
	const op = "connect to NATS"
	if problems := cfg.Validate(); len(problems) > 0 {
		return nil, invalid(op, errors.New(problems[0].String()))
	}
	c := &Client{log: log, hooks: hooks, closed: make(chan struct{}), first: make(chan error, 1)}
	c.ill = unavailable(op, errors.New("not connected yet"))
	d := &dialer{}
	d.ctx.Store(&ctx)
	options, err := c.options(cfg, d)
	if err != nil {
		return nil, invalid(op, err)
	}
	conn, err := c.dial(ctx, op, cfg, options)
	if err != nil {
		return nil, err
	}
	background := context.Background()
	d.ctx.Store(&background)

	if c.js, err = natsjs.New(conn, natsjs.WithDefaultTimeout(apiTimeout)); err != nil {
		conn.Close()
		return nil, invalid(op, err)
	}
	c.nc = conn
	select {
	case err = <-c.first:
	case <-ctx.Done():
		err = unavailable(op, ctx.Err())
	}
	if err == nil {
		err = c.checkJetStream(ctx)
	}
	if err != nil {
		c.closing.Store(true)
		conn.Close()
		return nil, err
	}
	return c, nil
}

// dial tries until it has a connection, ctx ends or the answer is one that waiting does not mend.
func (c *Client) dial(ctx context.Context, op string, cfg Config, options []nats.Option) (*nats.Conn, error) {
	var conn *nats.Conn
	var last error
	hungUp := 0
	// The library's own retry of a first connection does not tell why a server refuses; this one does.
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(reconnectWait),
		backoff.WithMaxInterval(connectMaxWait), backoff.WithMaxElapsedTime(0))
	err := backoff.RetryNotify(func() (err error) {
		conn, err = nats.Connect(strings.Join(cfg.URLs, ","), options...)
		if errors.Is(err, nats.ErrTLS) {
			hungUp++
		} else {
			hungUp = 0
		}
		switch {
		case isRefusal(err):
			return backoff.Permanent(invalid(op, err))
		case hungUp == maxHungUp:
			return backoff.Permanent(invalid(op, fmt.Errorf(
				"%w (%d times in a row: it probably wants another client certificate, see tls.cert_file)", err, hungUp)))
		}
		return err
	}, backoff.WithContext(wait, ctx), func(err error, _ time.Duration) {
		if last == nil || last.Error() != err.Error() {
			c.log.Warn().Err(err).Strs("urls", cfg.URLs).Msg("no connection to NATS yet, trying on")
			if c.hooks.Connected != nil {
				c.hooks.Connected(unavailable(op, err))
			}
		}
		last = err
	})
	if err != nil && event.KindOf(err) != event.Invalid {
		if last != nil && !errors.Is(err, last) {
			err = fmt.Errorf("%w (last: %w)", err, last)
		}
		return nil, unavailable(op, err)
	}
	return conn, err
}

// isRefusal tells whether a server was there and refused us, or a file of ours is wrong.
func isRefusal(err error) bool {
	for _, refusal := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrNkeysNotSupported, nats.ErrSecureConnWanted, nats.ErrSecureConnRequired,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	var certificate *tls.CertificateVerificationError
	var remote *net.OpError // how crypto/tls hands over an alert
	return errors.As(err, &certificate) || errors.As(err, &remote) && remote.Op == "remote error"
}

func (c *Client) options(cfg Config, d *dialer) ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(-1), // half a batch must never be sent again
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(dialTimeout),

		nats.ConnectHandler(func(nc *nats.Conn) {
			err := checkServer(nc)
			if err == nil {
				c.setIll(nc, nil)
			}
			c.first <- err
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.refusals.forget()
			if hook := c.hooks.Reconnected; hook != nil {
				hook()
			}
			c.setIll(nc, checkServer(nc))
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.offline("connection lost", err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.offline("connect again", err) }),
		nats.ErrorHandler(c.asyncError),
		nats.ClosedHandler(func(nc *nats.Conn) {
			c.offline("connection closed", nc.LastError())
			close(c.closed)
		}),
		nats.DiscoveredServersHandler(func(nc *nats.Conn) {
			c.log.Debug().Strs("servers", nc.DiscoveredServers()).Msg("NATS cluster has more servers")
		}),
		nats.LameDuckModeHandler(func(nc *nats.Conn) {
			c.log.Info().Str("server", nc.ConnectedServerName()).Msg("NATS server is about to shut down")
		}),
	}
	if cfg.Embedded != nil {
		return append(options, nats.InProcessServer(cfg.Embedded)), nil
	}
	options = append(options, nats.SetCustomDialer(d))
	credentials, err := cfg.credentials()
	if err != nil {
		return nil, err
	}
	encryption, err := cfg.TLS.options()
	if err != nil {
		return nil, err
	}
	options = append(options, credentials...)
	return append(options, encryption...), nil
}

// checkServer looks at the server that the client is connected to now.
func checkServer(nc *nats.Conn) error {
	return checkVersion(nc.ConnectedServerName(), nc.ConnectedServerVersion())
}

func (c *Client) offline(op string, err error) {
	if err == nil {
		err = nats.ErrDisconnected
	}
	c.setIll(nil, unavailable(op, err))
}

// asyncError takes what the server or the library says apart from any request.
func (c *Client) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		what, subject, ok := parseRefusal(err.Error())
		if !ok {
			c.log.Warn().Err(err).Msg("NATS refused something")
			return
		}
		refused := invalid(what+" "+subject, errors.New("the NATS user has no right to"))
		if c.refusals.refuse(subject, refused) {
			c.log.Warn().Str("what", what).Str("subject", subject).Msg("the NATS user has no right to use a subject")
		}
		if hook := c.hooks.Refused; hook != nil {
			hook(subject)
		}
	case isRefusal(err):
		c.offline("connect again", err)
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil:
		c.log.Warn().Str("subject", sub.Subject).Msg("a NATS subscription can't keep up; messages were dropped")
	default:
		c.log.Warn().Err(err).Msg("NATS reported an error")
	}
}

// checkJetStream refuses an account or a cluster without JetStream. It asks only when the server at hand has none,
// because a process with narrow rights may not ask.
func (c *Client) checkJetStream(ctx context.Context) error {
	if enabled, _ := c.nc.ConnectedServerJetStream(); enabled {
		return nil
	}
	_, err := c.js.AccountInfo(ctx)
	return noJetStream(c.nc.ConnectedServerName(), err)
}

// noJetStream returns an error if err says that JetStream is not enabled, nil for any other err.
func noJetStream(server string, err error) error {
	switch {
	case errors.Is(err, natsjs.ErrJetStreamNotEnabledForAccount):
		return invalid("use JetStream", errors.New("JetStream is not enabled for this NATS account"))
	case errors.Is(err, natsjs.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		return invalid("use JetStream", fmt.Errorf(
			"JetStream is not enabled on server %q nor on any it can reach; start it with a jetstream block or -js", server))
	default:
		return nil
	}
}

// dialer lets the end of Connect's context cut a first connection short.
type dialer struct {
	ctx atomic.Pointer[context.Context]
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	dial := net.Dialer{Timeout: dialTimeout}
	return dial.DialContext(*d.ctx.Load(), network, address)
}
