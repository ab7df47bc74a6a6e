package jetstream

import (
	"context"

	"stackstream/event"
)

// Behind is a replica of a stream that does not keep up: its server is gone, has disabled JetStream, or catches up.
type Behind struct {
	Stream, Server string
	// Lag is how many operations it is behind, as far as the leader knows.
	Lag uint64
	// Offline: the leader's server has no connection to it.
	Offline bool
}

// Behind returns the replicas of the streams that are written to that do not have all of it. It changes nothing.
func (c *Client) Behind(ctx context.Context) ([]Behind, error) {
	var found []Behind
	for _, name := range []string{event.StreamRaw, event.StreamNormalized} {
		handle, err := c.stream(ctx, name)
		if err != nil {
			return nil, err
		}
		cluster := handle.CachedInfo().Cluster
		if cluster == nil {
			continue
		}
		for _, r := range cluster.Replicas {
			if !r.Current || r.Offline {
				found = append(found, Behind{Stream: name, Server: r.Name, Lag: r.Lag, Offline: r.Offline})
			}
		}
	}
	return found, nil
}
