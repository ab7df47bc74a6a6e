package app

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/metrics"
	"stackstream/jetstream"
)

// askDisk is how often a disk that is too full to start on is looked at.
const askDisk = time.Second

// Store is the embedded server, as those need it who open one.
type Store interface {
	InProcessConn() (net.Conn, error)
	ClientURL() string
	MaxFile() int64
	KeepWriting(context.Context, jetstream.DiskHooks) error
	Sync() error
	Settle() error
	Close() error
}

// OpenStore opens the embedded server. It comes from main: whoever names it brings a nats-server into the program, and collector and
// normalizer need none.
type OpenStore func(jetstream.EmbeddedConfig, zerolog.Logger) (Store, error)

// Stores makes an OpenStore of the function of package embedded.
func Stores[S Store](open func(jetstream.EmbeddedConfig, zerolog.Logger) (S, error)) OpenStore {
	return func(cfg jetstream.EmbeddedConfig, log zerolog.Logger) (Store, error) {
		s, err := open(cfg, log)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// embedded starts the embedded server, once there is room for it on the disk, and looks after it until stop.
func (p *Pipeline) embedded(ctx context.Context, layout jetstream.Layout, m *metrics.Metrics) (server Store, stop func() error, err error) {
	if p.OpenStore == nil {
		return nil, nil, errors.New("this program has no NATS server in it: nats.url has to name one")
	}
	cfg, hooks := p.Config.NATS.Embedded, m.Store()
	cfg.Least = layout.Least()
	for waited := false; ; waited = true {
		server, err = p.OpenStore(cfg, p.Log)
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
