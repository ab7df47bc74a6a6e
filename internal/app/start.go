package app

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/internal/app/metrics"
	"stackstream/internal/openstack"
	"stackstream/jetstream"
	"stackstream/normalizer"
	"stackstream/normalizer/rules"
	"stackstream/publisher"
)

const (
	// watermarkEvery is how often the watermarks are read for the metrics.
	watermarkEvery = 15 * time.Second
	// watermarkPause is at most between those of two providers. What is read of a thousand is garbage soon, and that is not to come all
	// at once.
	watermarkPause = 10 * time.Millisecond
)

// lookAtCursors is how often a normalizer with nothing to write looks whether an operator has changed its cursor.
const lookAtCursors = 10 * time.Second

// start makes every part and hands its loop to run. All goroutines of a pipeline begin here, or in the supervisor for the parts
// that belong to providers. It returns when those of the configuration at hand were told to begin.
func (p *Pipeline) start(
	ctx context.Context, c *jetstream.Client, m *metrics.Metrics, run func(name string, loop func(context.Context) error),
) error {
	beginning := newStarts(startsAtOnce, startsWithin, func(of part) { starting(m, of.role, of.provider) })
	shown := newStatuses(func(status event.Status) { m.Status(status); beginning.status(status) })
	providers := newSupervisor(supervisorHooks{
		Turn: beginning.begin,
		Begins: func(of part) {
			m.ForgetPart(of.role, of.provider)
			shown.forget(of.role, of.provider)
			starting(m, of.role, of.provider)
		},
		Gone: m.Forget,
		Stuck: func(of part, err error) {
			p.Log.Error().Err(err).Str("role", string(of.role)).Str("provider", string(of.provider)).
				Msg("it does not end: nothing takes its place before the process is restarted")
			m.Status(event.Status{Role: of.role, Provider: of.provider, State: event.StateBackoff,
				Reason: "nothing takes its place before the process is restarted: " + err.Error()})
		},
	})
	works := p.works(c, m, shown, run)
	run("providers", providers.Run)
	files := readContents(p.Config)
	wanted, err := works(p.Config, files)
	if err == nil {
		_, err = providers.Change(ctx, wanted)
	}
	if err != nil {
		return err
	}
	if p.Reload != nil {
		r := newReloader(*p.Reload, p.Config, files, works, providers, m, p.Log)
		run("configuration", r.Run)
	}
	if !p.Config.NATS.UseEmbedded() {
		r := replicas{since: map[string]time.Time{}, log: p.Log, report: m.Status}
		run("replicas", func(ctx context.Context) error { return r.watch(ctx, c.Behind, c.Differing) })
	}
	run("streams", newStreamLooks(p, c, m).watch)
	run("watermarks", func(ctx context.Context) error { return p.watchWatermarks(ctx, c, m, providers) })
	return nil
}

// works returns what makes the work of a configuration, and starts what all providers share: one membership of each role
// among those who share the leases.
func (p *Pipeline) works(
	c *jetstream.Client, m *metrics.Metrics, shown *statuses, run func(name string, loop func(context.Context) error),
) func(*config.Config, contents) (map[part]work, error) {
	owner := ClientName()
	bodies := c.Bodies()
	limits := publisher.Limits{MaxBody: int(c.Conn().MaxPayload()) - publisher.Reserve}
	writer := func(role event.Role, name event.Provider, source event.Source) publisher.Options {
		return publisher.Options{
			Owner: owner, Limits: limits, Hooks: shown.writer(part{role, name, source}, m.Writer(role, name), p.Log),
		}
	}

	var collect func(*config.Config, event.Provider) *collectors.Collector
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
		env := SourceEnv{
			Log: p.Log, Version: p.Version, Host: hostName(), Began: time.Now(), Metrics: m,
			Clients: openstack.NewClients(), Cursors: memory.Cursors,
		}
		collect = func(cfg *config.Config, name event.Provider) *collectors.Collector {
			settings := cfg.Providers[name]
			return &collectors.Collector{
				Provider: name, Want: settings.Events, Only: p.Kind, Deps: deps, Candidates: candidates(name, settings, env),
			}
		}
	}

	var normalize func(event.Provider, map[string]normalizer.Converter) (*normalizer.Service, error)
	if p.Normalize {
		lease := p.lease(c, event.RoleNormalizer, owner, run)
		normalized, feed := c.Normalized(), feed{c.Feed()}
		hooks := m.Normalizer()
		hooks.Status = shown.set
		normalize = func(name event.Provider, converters map[string]normalizer.Converter) (*normalizer.Service, error) {
			return normalizer.New(normalizer.Config{
				Converters: converters,
				Committer: func(name event.Provider) normalizer.Committer {
					return publisher.NewNormalized(normalized, bodies, name, writer(event.RoleNormalizer, name, ""))
				},
				Feed: feed, Bodies: bodies, Lease: lease, Look: lookAtCursors, Hooks: hooks, Log: p.Log,
			})
		}
	}

	return func(cfg *config.Config, files contents) (map[part]work, error) {
		shared, err := rules.New(cfg.Normalizer)
		if err != nil {
			return nil, fmt.Errorf("prepare the rules of the normalizer: %w", err)
		}
		wanted := map[part]work{}
		for _, name := range cfg.Providers.Names() {
			settings := cfg.Providers[name]
			if collect != nil {
				wanted[part{role: event.RoleCollector, provider: name}] = work{
					settings: collection{*settings, files[name]},
					prepare:  func() (func(context.Context) error, error) { return collect(cfg, name).Run, nil },
				}
			}
			if normalize != nil {
				wanted[part{role: event.RoleNormalizer, provider: name}] = work{
					settings: conversionOf(cfg, name),
					prepare: func() (func(context.Context) error, error) {
						converters, err := converters(name, settings, shared)
						if err != nil {
							return nil, err
						}
						service, err := normalize(name, converters)
						if err != nil {
							return nil, err
						}
						return func(ctx context.Context) error {
							m.Expect(name)
							return service.RunProvider(ctx, name)
						}, nil
					},
					finish: func(ctx context.Context) { caughtUp(ctx, name, c.Watermarks) },
				}
			}
		}
		return wanted, nil
	}
}

const (
	// finishQuiet is for how long nothing must have been left to normalize until a provider that was removed is let go: whoever
	// collects, maybe in another process, has finished by then.
	finishQuiet = 10 * time.Second
	// finishLimit bounds that.
	finishLimit = 5 * time.Minute
)

// caughtUp waits until everything that was collected for a provider is normalized, and nothing more comes.
func caughtUp(
	ctx context.Context, name event.Provider, watermarks func(context.Context, event.Provider) ([]event.Watermark, error),
) {
	ctx, cancel := context.WithTimeout(ctx, finishLimit)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for since := time.Now(); ctx.Err() == nil && time.Since(since) < finishQuiet; {
		marks, err := watermarks(ctx, name)
		if err != nil || slices.ContainsFunc(marks, func(w event.Watermark) bool { return w.LagEvents > 0 }) {
			since = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// collection is what a provider's collector is made of: its settings, and what is in the files that they name.
type collection struct {
	settings config.Provider
	files    config.Contents
}

// starting puts a part on the board, so that readiness waits for it although it has not said anything yet.
func starting(m *metrics.Metrics, role event.Role, provider event.Provider) {
	m.Status(event.Status{Role: role, Provider: provider, State: event.StateStarting})
}

// watchWatermarks reads the watermarks of the configured providers for the metrics. What can't be read now is read the
// next time; the loops tell what is wrong.
func (p *Pipeline) watchWatermarks(ctx context.Context, c *jetstream.Client, m *metrics.Metrics, providers *supervisor) error {
	choices := c.Choices()
	tick := time.NewTicker(watermarkEvery)
	defer tick.Stop()
	for {
		names := providers.Providers()
		for _, name := range names {
			marks, err := c.Watermarks(ctx, name)
			if err != nil {
				p.Log.Debug().Err(err).Str("provider", string(name)).Msg("watermarks not read")
				continue
			}
			choice, err := choices.ReadChoice(ctx, name)
			if err != nil {
				p.Log.Debug().Err(err).Str("provider", string(name)).Msg("choice not read")
			}
			providers.While(name, func() { m.Watermarks(marks, choice.Kind) })
			select {
			case <-time.After(min(watermarkPause, watermarkEvery/2/time.Duration(len(names)))):
			case <-ctx.Done():
				return nil
			}
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
