//go:build !nolease

package app

import (
	"context"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/jetstream"
)

// lease is what both halves take. Nobody shares the embedded server's work.
func (p *Pipeline) lease(
	c *jetstream.Client, role event.Role, owner string, run func(name string, loop func(context.Context) error),
) collectors.Lease {
	if p.Config.NATS.UseEmbedded() {
		return jetstream.NoLease{}
	}
	leases := jetstream.NewLeases(c, role, owner)
	run("leases of the "+string(role), leases.Run)
	return leases
}
