// Package app wires the parts together, by hand and from top to bottom:
//
//	configuration ─► collectors ── one loop per provider, the source chosen from sources.go
//	                     │ publisher.Raw
//	                     ▼
//	              jetstream EVENTS_RAW  (a cluster, or the embedded server in this process)
//	                     │ jetstream.Feed
//	                     ▼
//	                 normalizer ── one loop per provider, converters from converters.go
//	                     │ publisher.Normalized
//	                     ▼
//	              jetstream EVENTS_NORMALIZED ─► subscribers
//
//	each of them ── hooks ─► metrics and status board ─► admin server
//
//	configuration, changed ─► supervisor: begins, exchanges and ends the loops of the providers that it is about
//
// It is the only package, with those below it, that sees all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/internal/app/config"
	"stackstream/internal/app/metrics"
	"stackstream/jetstream"
)

// closeWait is how long the connection may take to hand over what was written when the process ends.
const closeWait = 5 * time.Second

// Pipeline is the part of stackstream that one process runs.
type Pipeline struct {
	Config *config.Config
	// Collect and Normalize say which halves run. Kind, if set, collects with sources of that kind only.
	Collect, Normalize bool
	Kind               string
	// OpenStore opens the embedded server, where the configuration names no other. It is nil in programs that have none.
	OpenStore OpenStore
	// Provision creates missing streams. Without it missing streams are waited for.
	Provision bool
	// Reload, if set, has changes of the configuration taken while the pipeline runs.
	Reload  *Reload
	Version string
	Log     zerolog.Logger
	// Started, if set, is called once all loops run.
	Started func(Running)
}

// Running is what can be reached of a pipeline until its Run returns.
type Running struct {
	Client *jetstream.Client
	Admin  string // address of the admin server; "" if there is none
	NATS   string // URL for other clients of the embedded server; "" if it lets nobody in
}

// Run runs the pipeline until ctx ends, then ends it in good order: what is being committed is finished, leases are
// released, the connection is drained, the embedded server is stopped. It returns nil then. It returns an error for
// what a restart of the same process would not mend either.
func (p *Pipeline) Run(ctx context.Context) (err error) {
	board := admin.NewBoard()
	m := metrics.New(board, p.Version)
	p.announce(m)

	// The admin server starts first and ends last: it is there to say what goes on meanwhile.
	background, endBackground := context.WithCancel(context.WithoutCancel(ctx))
	var backgrounds sync.WaitGroup
	defer backgrounds.Wait()
	defer endBackground()
	var running Running
	if !p.Config.Admin.Off() {
		server, err := admin.Listen(ctx, p.Config.Admin.Listen, board, m.Registry)
		if err != nil {
			return err
		}
		running.Admin = server.Address()
		p.Log.Info().Str("address", running.Admin).Msg("admin server listens")
		backgrounds.Go(func() {
			if err := server.Run(background); err != nil {
				p.Log.Error().Err(err).Msg("admin server ended")
			}
		})
	}

	nats, layout := p.Config.NATS.Config, p.Config.Streams
	if nats.Name == "" {
		nats.Name = "stackstream " + ClientName()
	}
	if p.Config.NATS.UseEmbedded() {
		server, stop, openErr := p.embedded(ctx, layout, m)
		if openErr != nil {
			return unlessEnded(ctx, openErr)
		}
		defer func() { err = errors.Join(err, stop()) }()
		if running.NATS = server.ClientURL(); running.NATS != "" {
			p.Log.Info().Str("url", running.NATS).Msg("embedded NATS server listens")
		}
		nats.Embedded, layout = server, layout.Within(server.MaxFile())
	}
	client, err := jetstream.Connect(ctx, nats, p.Log, m.NATS())
	if err != nil && len(nats.URLs) > 0 {
		err = fmt.Errorf("%s: %w", strings.Join(nats.URLs, ", "), err)
	}
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
		defer cancel()
		if err := client.Close(grace); err != nil {
			p.Log.Warn().Err(err).Msg("connection to NATS not drained")
		}
	}()
	if err := p.streams(ctx, client, layout, m); err != nil {
		return unlessEnded(ctx, err)
	}

	work, end := context.WithCancelCause(ctx)
	defer end(nil)
	var loops sync.WaitGroup
	err = p.start(work, client, m, func(name string, loop func(context.Context) error) {
		loops.Go(func() {
			if err := loop(work); err != nil {
				end(fmt.Errorf("%s: %w", name, err))
			}
		})
	})
	if err != nil {
		end(err)
	}
	loops.Go(func() {
		select {
		case <-client.Closed():
			end(errors.New("the connection to NATS was closed for good"))
		case <-work.Done():
		}
	})
	if p.Started != nil {
		running.Client = client
		p.Started(running)
	}
	loops.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(work)
}

// unlessEnded is nil when err comes from the end of ctx.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// announce puts every part on the board, so that readiness waits for those that have not said anything yet.
func (p *Pipeline) announce(m *metrics.Metrics) {
	starting(m, admin.RoleNATS, "")
	if p.Config.NATS.UseEmbedded() {
		starting(m, admin.RoleStore, "")
	}
	starting(m, admin.RoleStreams, "")
	for _, name := range p.Config.Providers.Names() {
		if p.Collect {
			starting(m, event.RoleCollector, name)
		}
		if p.Normalize {
			starting(m, event.RoleNormalizer, name)
			m.Expect(name)
		}
	}
}

// streams makes sure that the streams are there and as they must be. Without Provision it waits for them, and says so.
func (p *Pipeline) streams(ctx context.Context, c *jetstream.Client, layout jetstream.Layout, m *metrics.Metrics) error {
	status := func(s event.State, reason string) {
		m.Status(event.Status{Role: admin.RoleStreams, State: s, Reason: reason})
	}
	if p.Provision {
		plan, err := c.Provision(ctx, layout, jetstream.CreateMissing)
		if err == nil {
			err = plan.Broken()
		}
		if err != nil {
			return markedOr(ctx, c, err)
		}
		if plan.Differs() {
			p.Log.Warn().Msg("streams differ from the configuration and stay as they are: see stackstream provision")
		}
		status(event.StateLive, "")
		return nil
	}
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(500*time.Millisecond),
		backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0))
	said := ""
	for {
		plan, err := c.PlanNeeded(ctx, layout)
		var marked error
		if event.KindOf(err) == event.Invalid {
			marked = c.Marked(ctx)
		}
		var reason string
		switch {
		case event.KindOf(marked) == event.Invalid:
			return marked
		case marked != nil:
			reason = marked.Error()
		case event.KindOf(err) == event.Invalid:
			// A process with narrow rights may not ask; its loops say what they miss.
			p.Log.Debug().Err(err).Msg("can't look at the streams, going on")
			status(event.StateIdle, "the NATS user may not look at the streams")
			return nil
		case err != nil:
			reason = err.Error()
		case plan.HalfRestored() != nil:
			return plan.HalfRestored()
		case plan.Missing():
			reason = "streams are missing: run stackstream provision"
		default:
			if err := plan.Broken(); err != nil {
				return err
			}
			status(event.StateLive, "")
			return nil
		}
		if reason != said {
			said = reason
			p.Log.Warn().Str("reason", reason).Msg("waiting for the streams")
			status(event.StateBackoff, reason)
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// markedOr is err, unless it may come of a restore that has not ended: then that is said.
func markedOr(ctx context.Context, c *jetstream.Client, err error) error {
	if event.KindOf(err) == event.Invalid {
		if marked := c.Marked(ctx); event.KindOf(marked) == event.Invalid {
			return marked
		}
	}
	return err
}
