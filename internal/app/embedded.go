package app

import (
	"context"
	"errors"
	"time"

	"stackstream/event"
	"stackstream/internal/app/metrics"
	"stackstream/jetstream"
)

// askDisk is how often a disk that is too full to start on is looked at.
const askDisk = time.Second

// embedded starts the embedded server, once there is room for it on the disk, and looks after it until stop.
func (p *Pipeline) embedded(
	ctx context.Context, layout jetstream.Layout, m *metrics.Metrics,
) (server *jetstream.Embedded, stop func() error, err error) {
	cfg, hooks := p.Config.NATS.Embedded, m.Store()
	cfg.Least = layout.Least()
	for waited := false; ; waited = true {
		server, err = jetstream.OpenEmbedded(cfg, p.Log)
		var full *jetstream.DiskFull
		if !errors.As(err, &full) {
			break
		}
		hooks.State(event.StateBackoff, full.Error())
		if !waited {
			p.Log.Warn().Err(full).Msg("waiting for space to start the embedded NATS server")
		}
		select {
		case <-time.After(askDisk):
		case <-ctx.Done():
			return nil, nil, err
		}
	}
	if err != nil {
		return nil, nil, err
	}
	watch, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- server.KeepWriting(watch, hooks) }()
	return server, func() error {
		end()
		return errors.Join(<-done, server.Close())
	}, nil
}
