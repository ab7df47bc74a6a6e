// Package panko collects events from Panko, OpenStack's event service: GET /v2/events, asked again and again.
//
// Each run reads everything from a lower bound on, oldest first, page by page behind a marker, until a page is empty.
// The lower bound lies Config.Overlap behind the newest event that was handed over, because Panko shows events late and
// out of order. What shows later than Overlap after its time is not seen. The same events therefore come again with
// every run; the loop in package collectors removes them by their identity, message_id.
//
// The cursor of a batch never lies behind an event that was not handed over, nor after the moment the run began (by the
// earlier of our clock and Panko's), so that an event dated in the future does not hide those that come before it. Every
// batch is good to go on from. Should pages not come in order, the cursor waits until the last one. A run whose marker
// Panko no longer knows, because that event's time to live is over, begins again at the cursor.
//
// When nothing new has come for a day the overlap ends behind the newest event. An event dated further in the future
// than RAW keeps events comes again when the collector is restarted after RAW has dropped it; so do the last events before
// a pause of the collector that was longer than that.
package panko

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/collectors/telemetry"
	"stackstream/event"
	"stackstream/internal/openstack"
)

// Kind is the name of the kind of source; Format is what the bodies of its events are.
const (
	Kind   = "panko"
	Format = telemetry.Format
)

const serviceType = "event"

// Config is the configuration of the source.
type Config struct {
	telemetry.Config `yaml:",inline"`
	// AllTenants asks for the events of all projects, which Panko shows to administrators only.
	AllTenants bool `yaml:"all_tenants"`
}

// Default has the settings used where the configuration names none.
func Default() Config { return Config{Config: telemetry.Default(serviceType), AllTenants: true} }

// Validate returns every mistake that shows without reading a file or asking anybody.
func (c Config) Validate() []openstack.Problem { return c.Config.Validate(serviceType) }

// Options are what the process gives to a source, besides its configuration.
type Options = telemetry.Options

// Source is one Panko. Available may be called while Run runs.
type Source struct {
	*telemetry.Source
	allTenants bool
}

var _ collectors.Source = (*Source)(nil)

// New makes a source of a valid configuration. It reads the files that cfg.HTTP.TLS names, and talks to nobody.
func New(cfg Config, opts Options) (*Source, error) {
	client, err := opts.Clients.New(cfg.HTTP)
	if err != nil {
		return nil, err
	}
	return newSource(cfg, opts, client)
}

func newSource(cfg Config, opts Options, client *http.Client) (*Source, error) {
	s := &Source{allTenants: cfg.AllTenants}
	var err error
	s.Source, err = telemetry.New(cfg.Config, telemetry.API{
		Kind: Kind, Query: s.query, Order: "ascending", Paging: httppoll.PageMarker, Forgotten: forgotten, Until: true,
		Hint: hint,
	}, opts, client)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// query writes the question, in the order in which people write it.
func (s *Source) query(ask httppoll.Ask) string {
	parts := []string{"sort=generated:asc", "limit=" + strconv.Itoa(ask.Size)}
	if ask.From != "" {
		parts = append(parts, telemetry.Filter("start_timestamp", "ge", ask.From))
	}
	if ask.Until != "" {
		parts = append(parts, telemetry.Filter("end_timestamp", "le", ask.Until))
	}
	if s.allTenants {
		parts = append(parts, telemetry.Filter("all_tenants", "eq", "True"))
	}
	if ask.Marker != "" {
		parts = append(parts, "marker="+url.QueryEscape(ask.Marker))
	}
	return strings.Join(parts, "&")
}

func hint(status int) string {
	if status == http.StatusForbidden {
		return ": the account may not read events (give it a role that may, see auth; all_tenants needs an administrator)"
	}
	return ""
}

// forgotten knows Panko's answer to a marker that it does not know.
func forgotten(status int, text string) bool {
	return status == http.StatusInternalServerError && strings.Contains(text, "Marker ") && strings.Contains(text, " not found")
}

// Available gets a token, finds the service and asks it for one event.
func (s *Source) Available(ctx context.Context) error {
	shown, err := s.Probe(ctx)
	if err != nil {
		return err
	}
	token, err := s.Session.Token(ctx)
	if err != nil {
		return err
	}
	if shown == 0 && s.allTenants && len(token.Roles) > 0 && !slices.Contains(token.Roles, "admin") {
		return &event.Error{Kind: event.Invalid, Op: "ask Panko for events", Err: fmt.Errorf("it shows none, and with "+
			"all_tenants it shows them to the role admin only; the account has %s (give it the role, or set all_tenants: false)",
			strings.Join(token.Roles, ", "))}
	}
	return nil
}
