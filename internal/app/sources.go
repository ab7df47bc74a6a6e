package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/amqp"
	"stackstream/collectors/amqp1"
	"stackstream/collectors/ceilometer"
	"stackstream/collectors/httppoll"
	"stackstream/collectors/none"
	"stackstream/collectors/panko"
	"stackstream/collectors/telemetry"
	"stackstream/collectors/webhook"
	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/internal/app/metrics"
	"stackstream/internal/openstack"
	"stackstream/normalizer/httpevent"
)

// SourceKind is a kind of source: what its settings are and how it is made of them.
type SourceKind struct {
	config.Kind
	// Candidate makes the sources of a provider ready for its Collector.
	Candidate func(p event.Provider, settings any, env SourceEnv) collectors.Candidate
	// Whole reads a whole cursor that an operator wrote, as strictly as can be without settings; was is the one that is there.
	Whole func(was event.Cursor, text string) (event.Cursor, error)
	// Past makes the service ready to be asked for a range of time that is over; nil where that can't be asked for.
	Past func(p event.Provider, settings any, past *httppoll.Past, env SourceEnv) (Past, error)
}

// SourceEnv is what a source may use.
type SourceEnv struct {
	Log     zerolog.Logger
	Version string
	Host    string    // the name of this machine
	Began   time.Time // when this process did
	Metrics *metrics.Metrics
	Clients *openstack.Clients // that sources share; nil: they share none
	// Cursors returns the cursor of every source that ever collected for a provider. It is nil where no pipeline runs:
	// a source is then only asked whether it is available.
	Cursors func(context.Context, event.Provider) (map[event.Source]event.RawCursor, error)
}

// sourceKinds is the one place where kinds of sources are listed, in the order in which `events: auto` asks them. A
// provider with `events: none` has none.Candidate instead.
func sourceKinds() []SourceKind {
	return []SourceKind{
		{
			Kind: config.Kind{
				Name:     amqp.Kind,
				About:    "notifications of the services of an OpenStack cloud, over RabbitMQ",
				Settings: func() any { c := amqp.Default(); return &c },
				Problems: func(s any) []config.Problem { return config.Problems(s.(*amqp.Config).Validate()) },
			},
			Candidate: amqpCandidate,
			Whole:     amqp.WholeCursor,
		},
		{
			Kind: config.Kind{
				Name:     amqp1.Kind,
				About:    "events and notifications of an OpenStack cloud, over AMQP 1.0 (the Service Telemetry Framework)",
				Settings: func() any { c := amqp1.Default(); return &c },
				Problems: func(s any) []config.Problem { return config.Problems(s.(*amqp1.Config).Validate()) },
			},
			Candidate: amqp1Candidate,
		},
		{
			Kind: config.Kind{
				Name:     panko.Kind,
				About:    "events of an OpenStack cloud, from Panko",
				Settings: func() any { c := panko.Default(); return &c },
				Problems: func(s any) []config.Problem { return config.Problems(s.(*panko.Config).Validate()) },
			},
			Candidate: pankoCandidate,
			Whole:     httppoll.WholeCursorOf(panko.Kind),
			Past:      pankoPast,
		},
		{
			Kind: config.Kind{
				Name:     ceilometer.Kind,
				About:    "events of an OpenStack cloud, from the API that Ceilometer had before Panko",
				Settings: func() any { c := ceilometer.Default(); return &c },
				Problems: func(s any) []config.Problem { return config.Problems(s.(*ceilometer.Config).Validate()) },
			},
			Candidate: ceilometerCandidate,
			Whole:     httppoll.WholeCursorOf(ceilometer.Kind),
			Past:      ceilometerPast,
		},
		{
			Kind: config.Kind{
				Name:     httppoll.Kind,
				About:    "events of any service that hands them out over HTTP",
				Settings: func() any { c := httppoll.Default(); return &c },
				Problems: func(s any) []config.Problem { return config.Problems(s.(*httppoll.Config).Validate()) },
				Doubts:   func(s any) []config.Problem { return config.Problems(s.(*httppoll.Config).Doubts()) },
			},
			Candidate: httpCandidate,
			Whole:     httppoll.WholeCursor,
			Past:      httpPast,
		},
		{
			Kind: config.Kind{
				Name:     webhook.Kind,
				About:    "events that others post over HTTP: Ceilometer's agent, senders of CloudEvents, or of any JSON",
				Settings: func() any { c := webhook.Default(); return &c },
				Problems: func(s any) []config.Problem { return config.Problems(s.(*webhook.Config).Validate()) },
				Doubts:   func(s any) []config.Problem { return config.Problems(s.(*webhook.Config).Doubts()) },
				Listens:  func(s any) string { return s.(*webhook.Config).Listen },
			},
			Candidate: webhookCandidate,
		},
	}
}

func amqpCandidate(p event.Provider, settings any, env SourceEnv) collectors.Candidate {
	cursors := func(ctx context.Context) (map[event.Source]event.RawCursor, error) {
		if env.Cursors == nil {
			return nil, nil
		}
		return env.Cursors(ctx, p)
	}
	return amqp.Candidate(*settings.(*amqp.Config), func(s event.Source, report collectors.Report) amqp.Options {
		return amqp.Options{
			Provider: p, Version: env.Version, Host: env.Host, Began: env.Began, Hooks: env.Metrics.AMQP(p, s), Report: report,
			Log: env.Log, Cursors: cursors,
		}
	})
}

func amqp1Candidate(p event.Provider, settings any, env SourceEnv) collectors.Candidate {
	return amqp1.Candidate(*settings.(*amqp1.Config), func(report collectors.Report) amqp1.Options {
		return amqp1.Options{
			Provider: p, Version: env.Version, Host: env.Host, Began: env.Began, Hooks: env.Metrics.AMQP1(p, amqp1.Kind),
			Report: report, Log: env.Log,
		}
	})
}

// single is a kind of one source.
func single[S collectors.Source](
	name event.Source, spec collectors.Spec, manual collectors.Manual, build func(collectors.Report) (S, error),
) collectors.Candidate {
	return collectors.Candidate{Kind: string(name), Shards: []collectors.Shard{{Name: name, Spec: spec, Manual: manual,
		New: func(report collectors.Report) (collectors.Source, error) {
			s, err := build(report)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}}}
}

func pankoCandidate(p event.Provider, settings any, env SourceEnv) collectors.Candidate {
	cfg := settings.(*panko.Config)
	return single(panko.Kind, cfg.Spec(), telemetry.Manual(panko.Kind), func(report collectors.Report) (*panko.Source, error) {
		return panko.New(*cfg, panko.Options{
			Version: env.Version, Hooks: env.Metrics.HTTP(p, panko.Kind), Report: report, Clients: env.Clients,
		})
	})
}

func ceilometerCandidate(p event.Provider, settings any, env SourceEnv) collectors.Candidate {
	cfg := settings.(*ceilometer.Config)
	manual := telemetry.Manual(ceilometer.Kind)
	return single(ceilometer.Kind, cfg.Spec(), manual, func(report collectors.Report) (*ceilometer.Source, error) {
		return ceilometer.New(*cfg, ceilometer.Options{
			Version: env.Version, Hooks: env.Metrics.HTTP(p, ceilometer.Kind), Report: report, Clients: env.Clients,
		})
	})
}

func httpCandidate(p event.Provider, settings any, env SourceEnv) collectors.Candidate {
	cfg := settings.(*httppoll.Config)
	return single(httppoll.Kind, cfg.Spec(), cfg.Manual(), func(report collectors.Report) (*httppoll.Source, error) {
		return httppoll.New(*cfg, httppoll.Options{
			Version: env.Version, Format: httpevent.Format(p), Hooks: env.Metrics.HTTP(p, httppoll.Kind), Report: report,
			Clients: env.Clients,
		})
	})
}

// candidates are the configured sources of a provider, in order of priority.
func candidates(p event.Provider, settings *config.Provider, env SourceEnv) []collectors.Candidate {
	var found []collectors.Candidate
	for _, kind := range sourceKinds() {
		if s, configured := settings.Sources[kind.Name]; configured {
			found = append(found, kind.Candidate(p, s, env))
		}
	}
	if settings.Events == config.EventsNone {
		found = append(found, none.Candidate())
	}
	return found
}

// Kinds are the kinds of sources as the configuration reader needs them.
func Kinds() []config.Kind {
	var kinds []config.Kind
	for _, kind := range sourceKinds() {
		kinds = append(kinds, kind.Kind)
	}
	return kinds
}

// IsKind tells whether there is a kind of source of this name.
func IsKind(name string) bool {
	return slices.ContainsFunc(Kinds(), func(k config.Kind) bool { return k.Name == name })
}

// KindList names all kinds of sources, for people.
func KindList() string {
	var names []string
	for _, kind := range Kinds() {
		names = append(names, kind.Name)
	}
	return strings.Join(names, ", ")
}
