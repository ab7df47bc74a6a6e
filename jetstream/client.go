package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
)

// Client is one connection to a NATS cluster or to the embedded server. It is safe for concurrent use.
type Client struct {
	nc *nats.Conn
	js natsjs.JetStream

	log   zerolog.Logger
	hooks Hooks

	refusals refusals
	known    knownCursors
	seen     sightings
	first    chan error    // what there is to say about the first server
	closed   chan struct{} // closed when the connection is

	closing atomic.Bool // Close was called

	// What the callbacks found. Asking the connection itself would wait while it is being made again.
	mu     sync.Mutex
	ill    error // why the connection can't be used now; nil if it can
	server string
}

// Hooks are told how the connection fares. Any of them may be nil. They are called one at a time and must not block.
type Hooks struct {
	// Connected is called with every change: nil when there is a connection that can be used, else why there is none.
	Connected func(problem error)
	// Reconnected is called after each reconnection.
	Reconnected func()
	// Refused is called for each publish or subscribe that the server's permissions do not allow.
	Refused func(subject string)
}

// Conn is the NATS connection, for those who speak NATS themselves (package subscribe).
func (c *Client) Conn() *nats.Conn { return c.nc }

// Server is the name of the server the client is connected to, "" if it is not.
func (c *Client) Server() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// InUp tells whether the server looks like the embedded one of another process, in which a pipeline is at work without leases.
func (c *Client) InUp() bool {
	return c.nc.Opts.InProcessServer == nil && c.nc.ConnectedServerName() == EmbeddedName && c.nc.ConnectedClusterName() == ""
}

// Healthy returns nil while the connection can be used, and otherwise an error that says why it can't: of the kind
// event.Unavailable while it is being made again, event.Invalid if the server is too old. It does not wait.
func (c *Client) Healthy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ill
}

// Close sends what is written, lets subscriptions end and closes the connection. When ctx ends first it closes at once
// and returns ctx's error. Closing again is no error.
func (c *Client) Close(ctx context.Context) error {
	c.closing.Store(true)
	if err := c.nc.Drain(); err != nil {
		// Nothing to drain without a connection.
		c.nc.Close()
		if !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrConnectionReconnecting) {
			return fmt.Errorf("drain the NATS connection: %w", err)
		}
	}
	select {
	case <-c.closed:
		return nil
	case <-ctx.Done():
		c.nc.Close()
		return fmt.Errorf("drain the NATS connection: %w", ctx.Err())
	}
}

// Closed is closed once the connection has ended for good: by Close, or because the server called something we sent
// malformed. Nothing reconnects it; who did not call Close should end the process.
func (c *Client) Closed() <-chan struct{} { return c.closed }

// setIll records why the connection can't be used (nil: it can) and tells hooks and log when that changes. nc may
// be nil unless err is. It is called by the connection's callbacks only, which run one at a time.
func (c *Client) setIll(nc *nats.Conn, err error) {
	var server string
	if err == nil {
		server = nc.ConnectedServerName() // not when it is lost: the connection would let us wait until it is back
	}
	c.mu.Lock()
	was := c.ill
	c.ill, c.server = err, server
	c.mu.Unlock()

	if c.hooks.Connected != nil && text(was) != text(err) {
		c.hooks.Connected(err)
	}
	switch {
	case err == nil && was != nil:
		line := c.log.Info().Str("server", server).Str("version", nc.ConnectedServerVersion())
		if nc.Opts.InProcessServer == nil {
			line.Str("url", nc.ConnectedUrlRedacted())
		}
		line.Msg("connected to NATS")
	case err != nil && c.closing.Load():
		c.log.Debug().Msg("connection to NATS closed")
	case err != nil && event.KindOf(err) != event.KindOf(was):
		c.log.Warn().Err(err).Msg("no usable connection to NATS")
	case err != nil:
		c.log.Debug().Err(err).Msg("still no usable connection to NATS")
	}
}

// text is what an error says, "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func unavailable(op string, err error) error {
	return &event.Error{Kind: event.Unavailable, Op: op, Err: explained(err)}
}

// explained puts in place of what the library calls a full buffer, where there is none at all, what it means.
func explained(err error) error {
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return &notConnected{err}
	}
	return err
}

// notConnected is an error of a connection that is being made again.
type notConnected struct{ err error }

func (*notConnected) Error() string {
	return "there is no connection to NATS now, it is being made again"
}
func (e *notConnected) Unwrap() error { return e.err }

func invalid(op string, err error) error {
	return &event.Error{Kind: event.Invalid, Op: op, Err: err}
}
