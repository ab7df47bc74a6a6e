package jetstream

import (
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Client is one connection to a NATS cluster or to the embedded server. It is safe for concurrent use.
type Client struct {
	nc *nats.Conn
	js natsjs.JetStream
}

// Conn is the NATS connection, for those who speak NATS themselves (package subscribe).
func (c *Client) Conn() *nats.Conn { return c.nc }
