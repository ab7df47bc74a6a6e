// Package panko collects events from Panko, OpenStack's event service: GET /v2/events, asked again and again.
//
// Each run reads everything from a lower bound on, oldest first, page by page behind a marker, until a page is empty.
// The lower bound lies Config.Overlap behind the newest event that was handed over, because Panko shows events late and
// out of order. What shows later than Overlap after its time is not seen. The same events therefore come again with
// every run; the loop in package collectors removes them by their identity, message_id.
//
// The cursor of a batch never lies behind an event that was not handed over, nor after the moment the run began (by the
// earlier of our clock and Panko's), so that an event dated in the future does not hide those that come before it. Every
// batch is good to go on from. Should pages not come in order, the cursor waits until the last one.
//
// When nothing new has come for a day the overlap ends behind the newest event. An event dated further in the future
// than RAW keeps events comes again when the collector is restarted after RAW has dropped it; so do the last events before
// a pause of the collector that was longer than that.
//
// An event's body is the element of Panko's list, byte for byte. A page that is cut short, is no list, or belongs to
// another service is an error and never taken for the end. An element that is no proper event is handed over all the
// same; what it is worth is decided later.
package panko

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/openstack"
)

// Kind is the name of the kind of source; Format is what the bodies of its events are.
const (
	Kind   = "panko"
	Format = "ceilometer"
)

// Hooks is how what happens here becomes metrics. Every function may be nil, and must not block.
type Hooks struct {
	// Page is called for each page that was read: events in it, bytes, and how long it took.
	Page func(events int, bytes int64, took time.Duration)
	// Retry is called when a page is asked for again: "error" after a failure, "token" after a refused token, "marker"
	// when Panko no longer knew the marker, "size" when the page was larger than max_body.
	Retry func(why string)
	// Odd counts what Panko should not send: "no-id" an event without message_id, "no-time" one whose generated is
	// missing or no time, "not-json" one that is no JSON, "disorder" one that is older than one before it, "too-early"
	// one from before the time that was asked for, which is left out.
	Odd func(what string, n int)
}

// Options are what the process gives to a source, besides its configuration.
type Options struct {
	Version string // of stackstream, for the User-Agent
	Hooks   Hooks
}

// Source is one Panko. Available may be called while Run runs.
type Source struct {
	cfg     Config
	opts    Options
	filter  *collectors.Filter
	client  *http.Client
	session *openstack.Session
	poller  collectors.Poller
}

var _ collectors.Source = (*Source)(nil)

// New makes a source of a valid configuration. It reads the files that cfg.HTTP.TLS names, and talks to nobody.
func New(cfg Config, opts Options) (*Source, error) {
	client, err := cfg.HTTP.NewClient()
	if err != nil {
		return nil, err
	}
	return newSource(cfg, opts, client)
}

func newSource(cfg Config, opts Options, client *http.Client) (*Source, error) {
	filter, err := collectors.NewFilter(cfg.EventTypes)
	if err != nil {
		return nil, &event.Error{Kind: event.Invalid, Op: "read event_types", Err: err}
	}
	s := &Source{cfg: cfg, opts: opts, filter: filter, client: client}
	s.session = openstack.NewSession(cfg.Auth, client, s.userAgent())
	s.poller = collectors.Poller{Every: cfg.Every, Jitter: cfg.Jitter, MaxRun: cfg.MaxRun, Fetch: s.fetch}
	return s, nil
}

func (s *Source) userAgent() string {
	return "stackstream/" + strings.ReplaceAll(s.opts.Version, " ", "-")
}

// Spec is what the loop needs to know of a source with this configuration.
func (c Config) Spec() collectors.Spec {
	poller := collectors.Poller{Every: c.Every, Jitter: c.Jitter, MaxRun: c.MaxRun}
	return collectors.Spec{Quiet: poller.Quiet()}
}

// Run polls until ctx ends.
func (s *Source) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	return s.poller.Run(ctx, from, emit)
}

// Available gets a token, finds the service and asks it for one event.
func (s *Source) Available(ctx context.Context) error {
	p, err := s.get(ctx, pageRequest{limit: 1})
	if err != nil {
		return err
	}
	token, err := s.session.Token(ctx)
	if err != nil {
		return err
	}
	if len(p.elements) == 0 && s.cfg.AllTenants && len(token.Roles) > 0 && !slices.Contains(token.Roles, "admin") {
		return &event.Error{Kind: event.Invalid, Op: "ask Panko for events", Err: fmt.Errorf("it shows none, and with "+
			"all_tenants it shows them to the role admin only; the account has %s (give it the role, or set all_tenants: false)",
			strings.Join(token.Roles, ", "))}
	}
	return nil
}

// location finds the address of the events, which ends in /v2/events.
func (s *Source) location(token *openstack.Token) (string, error) {
	base := s.cfg.Endpoint
	if base == "" {
		found, err := token.Endpoint(openstack.Location{
			Service: s.cfg.ServiceType, Region: s.cfg.Region, Interface: s.cfg.Interface,
		})
		if err != nil {
			return "", err
		}
		if msg := openstack.CheckURL(found); msg != "" {
			return "", &event.Error{Kind: event.Invalid, Op: "find the " + s.cfg.ServiceType + " service",
				Err: errors.New("its address in the catalogue " + msg + " (set endpoint)")}
		}
		base = found
	}
	return strings.TrimSuffix(strings.TrimRight(base, "/"), "/v2") + "/v2/events", nil
}

func (s *Source) odd(what string, n int) {
	if s.opts.Hooks.Odd != nil && n > 0 {
		s.opts.Hooks.Odd(what, n)
	}
}

func (s *Source) retried(why string) {
	if s.opts.Hooks.Retry != nil {
		s.opts.Hooks.Retry(why)
	}
}
