//go:build nolease

package app

import (
	"context"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/jetstream"
)

// lease takes none: with this build tag a program works beside whoever holds the leases. It is for tests, which show that
// nothing but work is lost when leases fail.
func (p *Pipeline) lease(
	*jetstream.Client, event.Role, string, func(name string, loop func(context.Context) error),
) collectors.Lease {
	return jetstream.NoLease{}
}
