package jetstream

import (
	"context"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// WatchRefusals is watchRefusals, for tests that need a server.
func (c *Client) WatchRefusals(match func(subject string) bool) (refused <-chan error, stop func()) {
	return c.watchRefusals(match)
}

// AwaitConsumer is awaitConsumer, for the same.
func (c *Client) AwaitConsumer(ctx context.Context, consumer natsjs.Consumer) error {
	return c.awaitConsumer(ctx, consumer)
}
