package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/jetstream"
)

// reached is the NATS that a command works on.
type reached struct {
	client *jetstream.Client
	layout *jetstream.Layout // of the configuration; nil without one
	where  string            // for people
	server app.Store         // in this process; nil if there is none
	close  func()
}

// reach connects to the NATS of a command. Where a configuration has it embedded, and no process runs it, it is opened here,
// and nobody else can come in until the command ends. To restore, the directory need not be there, and what is written has to be made
// durable by the server's Sync and Settle.
func (p Program) reach(ctx context.Context, nats *natsFlags, restoring bool) (reached, error) {
	var cfg *config.Config
	var err error
	if nats.file != "" {
		if cfg, err = p.load(nats.file); err != nil {
			return reached{}, err
		}
	}
	if cfg == nil || nats.url != "" || !cfg.NATS.UseEmbedded() {
		settings, err := nats.connection(p, cfg)
		if err != nil {
			return reached{}, err
		}
		r, err := p.reachServer(ctx, settings)
		if cfg != nil {
			r.layout = &cfg.Streams
		}
		return r, err
	}
	dir := cfg.NATS.Embedded.Dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && !restoring {
		return reached{}, fmt.Errorf("%s, the nats.embedded.dir of %s, does not exist: there are no streams yet", dir, nats.file)
	}
	log, err := p.logger("error", "auto")
	if err != nil {
		return reached{}, err
	}
	own := cfg.NATS.Embedded
	own.Listen, own.ListenPublic, own.Bulk = "", false, restoring
	server, err := p.openStore(own, log)
	var used *jetstream.StoreInUse
	if errors.As(err, &used) {
		if cfg.NATS.Embedded.Listen == "" {
			return reached{}, fmt.Errorf("%w, which lets nobody in: stop it, or set nats.embedded.listen "+
				"(or `up` --nats-listen, and this command --nats)", err)
		}
		r, err := p.reachServer(ctx, jetstream.Config{URLs: []string{"nats://" + cfg.NATS.Embedded.Listen}})
		r.layout = &cfg.Streams
		return r, err
	}
	if err != nil {
		return reached{}, err
	}
	client, err := p.connect(ctx, jetstream.Config{Embedded: server})
	if err != nil {
		return reached{}, errors.Join(err, server.Close())
	}
	layout := cfg.Streams.Within(server.MaxFile())
	return reached{client: client, layout: &layout, where: dir, server: server, close: func() {
		p.close(ctx, client)
		_ = server.Close() // what it has to say no longer matters to the command's result
	}}, nil
}

func (p Program) reachServer(ctx context.Context, settings jetstream.Config) (reached, error) {
	client, err := p.connect(ctx, settings)
	if err != nil {
		return reached{}, err
	}
	return reached{client: client, where: strings.Join(settings.URLs, ", "), close: func() { p.close(ctx, client) }}, nil
}
