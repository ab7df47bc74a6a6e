package jetstream

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// open lets the streams that were restored be written to, RAW as the last one: as long as it is not open, nothing was collected
// that a restore that is begun anew would take away. The mark is there still: of a stream whose settings are being written when an
// embedded server is killed, that server knows nothing when it runs again.
func (r *restoring) open(ctx context.Context) error {
	for _, name := range []string{streamBodies, event.StreamDead, event.StreamNormalized, event.StreamRaw} {
		config, restored := r.final[name]
		if !restored {
			continue
		}
		if err := r.update(ctx, config); err != nil {
			return fmt.Errorf("open %s: %w", name, err)
		}
	}
	return nil
}

func (r *restoring) update(ctx context.Context, config natsjs.StreamConfig) error {
	if err := r.holds(ctx); err != nil {
		return err
	}
	_, err := ask(ctx, func(ctx context.Context) (natsjs.Stream, error) { return r.c.js.UpdateStream(ctx, config) })
	return err
}

// whole waits until the stream has its replicas, and returns how many do not have all of it when that takes too long.
func (c *Client) whole(ctx context.Context, name string, replicas int) (behind int, err error) {
	for deadline := time.Now().Add(replicaWait); replicas > 1; {
		s, err := ask(ctx, func(ctx context.Context) (natsjs.Stream, error) { return c.js.Stream(ctx, name) })
		if err != nil {
			return 0, err
		}
		behind = replicas - 1
		if cluster := s.CachedInfo().Cluster; cluster != nil {
			for _, r := range cluster.Replicas {
				if r.Current && !r.Offline {
					behind--
				}
			}
		}
		if behind <= 0 || time.Now().After(deadline) {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return max(behind, 0), nil
}

// bodies stores the objects that the snapshot did not have. Their stream has to listen for that and stays incomplete.
func (r *restoring) bodies(ctx context.Context) error {
	config, restored := r.final[streamBodies]
	if !restored || len(r.b.stream(streamBodies).Bodies) == 0 {
		return nil
	}
	config.Metadata = maps.Clone(config.Metadata)
	config.Metadata[metaRestoring] = r.b.ID
	if err := r.update(ctx, config); err != nil {
		return err
	}
	for _, f := range r.b.stream(streamBodies).Bodies {
		body, err := os.ReadFile(filepath.Join(r.b.dir, f.Name))
		if err != nil {
			return err
		}
		if err := r.c.Bodies().PutBody(ctx, event.NewBodyRef(body), body); err != nil {
			return err
		}
	}
	return nil
}
