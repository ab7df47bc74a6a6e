package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/app/metrics"
	"stackstream/jetstream"
	"stackstream/normalizer"
	"stackstream/publisher"
)

// watermarkEvery is how often the watermarks are read for the metrics.
const watermarkEvery = 15 * time.Second

// lookAtCursors is how often a normalizer with nothing to write looks whether an operator has changed its cursor.
const lookAtCursors = 10 * time.Second

// start makes every part and hands its loop to run. All goroutines of a pipeline begin here.
func (p *Pipeline) start(
	c *jetstream.Client, m *metrics.Metrics, run func(name string, loop func(context.Context) error),
) error {
	owner := ClientName()
	bodies := c.Bodies()
	limits := publisher.Limits{MaxBody: int(c.Conn().MaxPayload()) - publisher.Reserve}
	shown := newStatuses(m.Status)
	writer := func(role event.Role, name event.Provider, source event.Source) publisher.Options {
		return publisher.Options{
			Owner: owner, Limits: limits, Hooks: shown.writer(part{role, name, source}, m.Writer(role, name), p.Log),
		}
	}

	if p.Collect {
		lease := p.lease(c, event.RoleCollector, owner, run)
		raw, memory := c.Raw(), c.Memory()
		hooks := m.Collectors()
		hooks.Status = shown.set
		deps := collectors.Deps{
			NewWriter: func(name event.Provider, s event.Source, fence event.Fence) collectors.Writer {
				return publisher.NewRaw(raw, bodies, name, s, fence, writer(event.RoleCollector, name, s))
			},
			Memory: memory, Choices: c.Choices(), Lease: lease,
			Hooks: hooks, Log: p.Log, Owner: owner,
		}
		env := SourceEnv{Log: p.Log, Version: p.Version, Host: hostName(), Began: time.Now(), Metrics: m, Cursors: memory.Cursors}
		for _, name := range p.Config.Providers.Names() {
			settings := p.Config.Providers[name]
			collector := &collectors.Collector{
				Provider: name, Want: settings.Events, Only: p.Kind, Deps: deps,
				Candidates: candidates(name, settings, env),
			}
			run("collector "+string(name), collector.Run)
		}
	}

	if p.Normalize {
		lease := p.lease(c, event.RoleNormalizer, owner, run)
		converters, err := converters(p.Config)
		if err != nil {
			return err
		}
		normalized := c.Normalized()
		hooks := m.Normalizer()
		hooks.Status = shown.set
		service, err := normalizer.New(normalizer.Config{
			Converters: converters,
			Committer: func(name event.Provider) normalizer.Committer {
				return publisher.NewNormalized(normalized, bodies, name, writer(event.RoleNormalizer, name, ""))
			},
			Feed: feed{c.Feed()}, Bodies: bodies, Lease: lease, Look: lookAtCursors, Hooks: hooks, Log: p.Log,
		})
		if err != nil {
			return err
		}
		run("normalizer", func(ctx context.Context) error {
			return service.Run(ctx, p.Config.Providers.Names()...)
		})
	}

	if !p.Config.NATS.UseEmbedded() {
		r := replicas{since: map[string]time.Time{}, log: p.Log, report: m.Status}
		run("replicas", func(ctx context.Context) error { return r.watch(ctx, c.Behind) })
	}
	run("streams", newStreamLooks(p, c, m).watch)
	run("watermarks", func(ctx context.Context) error { return p.watchWatermarks(ctx, c, m) })
	return nil
}

// watchWatermarks reads the watermarks of the configured providers for the metrics. What can't be read now is read the
// next time; the loops tell what is wrong.
func (p *Pipeline) watchWatermarks(ctx context.Context, c *jetstream.Client, m *metrics.Metrics) error {
	choices := c.Choices()
	tick := time.NewTicker(watermarkEvery)
	defer tick.Stop()
	for {
		for _, name := range p.Config.Providers.Names() {
			marks, err := c.Watermarks(ctx, name)
			if err != nil {
				p.Log.Debug().Err(err).Str("provider", string(name)).Msg("watermarks not read")
				continue
			}
			choice, err := choices.ReadChoice(ctx, name)
			if err != nil {
				p.Log.Debug().Err(err).Str("provider", string(name)).Msg("choice not read")
			}
			m.Watermarks(marks, choice.Kind)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// feed lets the normalizer see its own Reader in what jetstream returns.
type feed struct{ *jetstream.Feed }

func (f feed) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (normalizer.Reader, error) {
	r, err := f.Feed.Open(ctx, p, from)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ClientName says to people which process this is: host and pid.
func ClientName() string { return fmt.Sprintf("%s/%d", hostName(), os.Getpid()) }

// hostName is the name of this machine, or of this container.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}
