package app

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/amqp"
	"stackstream/collectors/amqp1"
	"stackstream/collectors/backfill"
	"stackstream/collectors/ceilometer"
	"stackstream/collectors/httppoll"
	"stackstream/collectors/panko"
	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/internal/check"
	"stackstream/jetstream"
	"stackstream/normalizer/httpevent"
	"stackstream/publisher"
)

// Past is a service that is bound to a range of time that is over, and what a job has to know of it.
type Past struct {
	backfill.Service
	Address     string        // for people
	Settles     time.Duration // after its time an event may show for so long
	Timeless    bool          // its records bear no time
	NewestFirst bool
}

// BackfillRequest is what somebody wants to have asked for again.
type BackfillRequest struct {
	Provider event.Provider
	Source   string    // the kind of service to ask; "" is the one that can be asked
	From, To time.Time // zero: of the job of that name
	Job      string    // "" is a name made of the range
	Rate     httppoll.Rate

	AllowDuplicates, Dry bool
}

// Backfill is a job that is ready to be looked at.
type Backfill struct {
	*backfill.Job
	Past Past
	// Left are partitions that were not asked, because the live source did not know them yet. It is told by running the job.
	Left []string
}

// NewBackfill makes the job of a request. It asks the streams, and no event service.
func NewBackfill(ctx context.Context, cfg *config.Config, c *jetstream.Client, req BackfillRequest, version string, log zerolog.Logger) (
	*Backfill, error,
) {
	settings, ok := cfg.Providers[req.Provider]
	if !ok {
		return nil, mistaken("--provider", "%s is not configured: the configuration has %s", req.Provider, listed(cfg.Providers.Names()))
	}
	memory, choices := c.Memory(), c.Choices()
	cursors, err := memory.Cursors(ctx, req.Provider)
	if err != nil {
		return nil, err
	}
	if err := req.complete(cursors); err != nil {
		return nil, err
	}
	choice, err := choices.ReadChoice(ctx, req.Provider)
	if err != nil {
		return nil, err
	}
	kind, err := pastKind(settings, req.Source, choice.Kind)
	if err != nil {
		return nil, err
	}
	past := httppoll.Past{From: req.From, To: req.To, Rate: req.Rate}
	if live := cursors[httppoll.Kind]; kind.Name == httppoll.Kind && choice.Kind == httppoll.Kind && live.Cursor != nil {
		// A partition that is new to the live source is begun by it in the past.
		if past.Parts, err = httppoll.Parts(live.Cursor); err != nil {
			return nil, err
		}
	}
	env := SourceEnv{Log: log, Version: version, Host: hostName()}
	b := &Backfill{}
	past.Waits = func(why error) { b.waits(why.Error()) }
	past.Left = func(part string) {
		if !slices.Contains(b.Left, part) {
			b.Left = append(b.Left, part)
		}
	}
	if b.Past, err = kind.Past(req.Provider, settings.Sources[kind.Name], &past, env); err != nil {
		return nil, err
	}
	if req.Job == "" {
		const form = "20060102t150405"
		req.Job = kind.Name + "-" + req.From.UTC().Format(form) + "-" + req.To.UTC().Format(form)
	}
	owner := ClientName()
	raw, bodies := c.Raw(), c.Bodies()
	limits := publisher.Limits{MaxBody: int(c.Conn().MaxPayload()) - publisher.Reserve}
	b.Job = &backfill.Job{
		Provider: req.Provider, Name: req.Job, Kind: kind.Name, From: req.From, To: req.To, Service: b.Past.Service,
		Timeless: b.Past.Timeless, Settles: b.Past.Settles, AllowDuplicates: req.AllowDuplicates,
		Dry: req.Dry,
	}
	b.Deps = backfill.Deps{
		Memory: memory, Choices: choices, Archive: c.Archive(), Promised: promised, Log: log,
		Live: func(kind string) []event.Source { return liveSources(req.Provider, settings, env, kind) },
		NewWriter: func(p event.Provider, s event.Source, fence event.Fence) collectors.Writer {
			return publisher.NewRaw(raw, bodies, p, s, fence, publisher.Options{Owner: owner, Limits: limits, Hooks: publisher.Hooks{
				Waiting: func(err error) { b.waits(err.Error()) },
				Resumed: func() { b.waits("") },
			}})
		},
	}
	return b, b.Check()
}

func (b *Backfill) waits(why string) {
	if b.Deps.Waits != nil {
		b.Deps.Waits(why)
	}
}

// complete takes what was not said from the job of that name.
func (req *BackfillRequest) complete(cursors map[event.Source]event.RawCursor) error {
	if !req.From.IsZero() && !req.To.IsZero() {
		return nil
	}
	if req.Job == "" {
		return mistaken("--from, --to", "both are needed: the range to ask for (or --job, for one that was begun)")
	}
	source, err := event.BackfillSource(req.Job)
	if err != nil {
		return err
	}
	cursor, ok := cursors[source]
	if !ok {
		return mistaken("--from, --to", "both are needed: there is no job %s yet", req.Job)
	}
	s, err := backfill.ReadState(cursor.Cursor)
	switch {
	case err != nil:
		return err
	case !s.Removed.IsZero():
		return mistaken("--from, --to", "both are needed: job %s was removed", req.Job)
	case !req.From.IsZero() && !req.From.Equal(s.From) || !req.To.IsZero() && !req.To.Equal(s.To):
		return mistaken("--job", "%s asks for %s to %s: give both --from and --to for another one, and another name", req.Job,
			s.From.Format(time.RFC3339Nano), s.To.Format(time.RFC3339Nano))
	}
	req.From, req.To, req.Source = s.From, s.To, cmp.Or(req.Source, s.Service)
	return nil
}

// pastKind chooses the service to ask: the one that was named, or else the one that collects, or else the only one that can be
// asked.
func pastKind(settings *config.Provider, named, chosen string) (SourceKind, error) {
	var can []SourceKind
	var cannot []string
	for _, kind := range sourceKinds() {
		s, configured := settings.Sources[kind.Name]
		if !configured {
			continue
		}
		why := "a queue holds no past: name another service of the same cloud that does, such as panko, and ask that"
		if kind.Past != nil {
			why = ""
			if cfg, ok := s.(*httppoll.Config); ok {
				if err := cfg.CheckPast(); err != nil {
					why = err.Error()
				}
			}
		}
		switch {
		case why != "" && named == kind.Name:
			return kind, mistaken("--source", "%s can't be asked for the past: %s", kind.Name, why)
		case why != "":
			cannot = append(cannot, kind.Name+": "+why)
		case named == kind.Name:
			return kind, nil
		default:
			can = append(can, kind)
		}
	}
	switch i := slices.IndexFunc(can, func(k SourceKind) bool { return k.Name == chosen }); {
	case named != "":
		return SourceKind{}, mistaken("--source", "%s is not configured for the provider", named)
	case i >= 0:
		return can[i], nil
	case len(can) == 1:
		return can[0], nil
	case len(can) > 1:
		return SourceKind{}, mistaken("--source", "is missing: more than one service can be asked")
	case len(cannot) > 0:
		return SourceKind{}, mistaken("--source", "no service can be asked for the past: %s", strings.Join(cannot, "; "))
	default:
		return SourceKind{}, mistaken("--source", "no service is configured for the provider")
	}
}

// late is how much later after its own time a notification may reach the queue than is reckoned with.
const late = time.Minute

// promised is the time before which a live source hands over nothing any more. What a queue was sent by then is handed over; that
// is by the time of the broker.
func promised(s event.Source, c event.RawCursor) time.Time {
	if (s.Of(amqp.Kind) || s.Of(amqp1.Kind)) && !c.Watermark.IsZero() {
		return c.Watermark.Add(-late)
	}
	return c.Floor
}

// liveSources are the sources that are configured of a kind.
func liveSources(p event.Provider, settings *config.Provider, env SourceEnv, kind string) []event.Source {
	var found []event.Source
	for _, candidate := range candidates(p, settings, env) {
		if candidate.Kind != kind {
			continue
		}
		for _, shard := range candidate.Shards {
			found = append(found, shard.Name)
		}
	}
	return found
}

func mistaken(field, format string, args ...any) error {
	return check.Findings{{Severity: check.Mistake, Subject: field, Message: fmt.Sprintf(format, args...)}}
}

func listed(providers []event.Provider) string {
	var all []string
	for _, p := range providers {
		all = append(all, string(p))
	}
	return strings.Join(all, ", ")
}

func pankoPast(p event.Provider, settings any, past *httppoll.Past, env SourceEnv) (Past, error) {
	cfg := *settings.(*panko.Config)
	s, err := panko.New(cfg, panko.Options{Version: env.Version, Hooks: env.Metrics.HTTP(p, panko.Kind), Past: past})
	return Past{Service: s, Address: host(cmp.Or(cfg.Endpoint, cfg.Auth.URL)), Settles: settles(cfg.Overlap, 0)}, err
}

func ceilometerPast(p event.Provider, settings any, past *httppoll.Past, env SourceEnv) (Past, error) {
	cfg := *settings.(*ceilometer.Config)
	s, err := ceilometer.New(cfg, ceilometer.Options{Version: env.Version, Hooks: env.Metrics.HTTP(p, ceilometer.Kind), Past: past})
	return Past{Service: s, Address: host(cmp.Or(cfg.Endpoint, cfg.Auth.URL)), Settles: settles(cfg.Overlap, 0)}, err
}

func httpPast(p event.Provider, settings any, past *httppoll.Past, env SourceEnv) (Past, error) {
	cfg := *settings.(*httppoll.Config)
	if err := cfg.CheckPast(); err != nil {
		return Past{}, err
	}
	s, err := httppoll.New(cfg, httppoll.Options{
		Version: env.Version, Format: httpevent.Format(p), Hooks: env.Metrics.HTTP(p, httppoll.Kind), Past: past,
	})
	return Past{
		Service: s, Address: host(cfg.Request.URL), Settles: settles(cfg.Cursor.Overlap, cfg.Cursor.Settle),
		Timeless: cfg.Cursor.Field == "" && cfg.Cursor.Value == "", NewestFirst: cfg.NewestFirst(),
	}, err
}

// settles is how long after its time an event may show.
func settles(overlap, settle time.Duration) time.Duration { return max(overlap, settle, time.Minute) }

// host is an address without what may be secret in it.
func host(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "the configured address"
	}
	return u.Scheme + "://" + u.Host
}
