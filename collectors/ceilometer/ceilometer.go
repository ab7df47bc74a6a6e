// Package ceilometer collects events from Ceilometer's own events API, which clouds have up to the release Newton: GET /v2/events,
// asked again and again.
//
// What it promises is what package panko does. The API is poorer, so the way is another one: it knows neither markers nor order.
// A page that is full may have left out any event, so less time is asked for, part by part, and events are put in order here. A
// page that is full of one moment is asked for with a higher limit. More events of one moment than Config.MaxLimit, or than the
// service shows at once, stop the source, which says so: they are never passed.
//
// Nothing asks for the events of all projects: the API takes such a condition for the name of a trait that no event has, and shows
// nothing. It shows an administrator the events of its project and those without one.
//
// A cloud that has Panko too sends whoever asks Ceilometer on to it. That is an error that says so.
package ceilometer

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/collectors/telemetry"
	"stackstream/internal/openstack"
)

// Kind is the name of the kind of source; Format is what the bodies of its events are.
const (
	Kind   = "ceilometer"
	Format = telemetry.Format
)

const serviceType = "metering"

// Config is the configuration of the source.
type Config struct {
	telemetry.Config `yaml:",inline"`
	// MaxLimit is the most events that are asked for at once, where that many have one time.
	MaxLimit int `yaml:"max_limit"`
}

// Default has the settings used where the configuration names none.
func Default() Config {
	return Config{Config: telemetry.Default(serviceType), MaxLimit: telemetry.MaxLimit}
}

// maxMaxLimit is more than any answer of the default max_body has.
const maxMaxLimit = 1_000_000

// Validate returns every mistake that shows without reading a file or asking anybody.
func (c Config) Validate() []openstack.Problem {
	found := c.Config.Validate(serviceType)
	if c.MaxLimit < c.Limit || c.MaxLimit > maxMaxLimit {
		found = append(found, openstack.Problem{Field: "max_limit", Msg: "must be from limit (" + strconv.Itoa(c.Limit) + ") to " +
			strconv.Itoa(maxMaxLimit)})
	}
	return found
}

// Options are what the process gives to a source, besides its configuration.
type Options = telemetry.Options

// Source is one Ceilometer. Available may be called while Run runs.
type Source struct{ *telemetry.Source }

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
	follow := client.CheckRedirect
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if next.Response.StatusCode == http.StatusTemporaryRedirect && strings.HasSuffix(via[0].URL.Path, "/v2/events") {
			return http.ErrUseLastResponse // it leads to Panko, also where that is on the same host
		}
		if follow == nil {
			return nil
		}
		return follow(next, via)
	}
	s, err := telemetry.New(cfg.Config, telemetry.API{
		Kind: Kind, Query: query, Order: "unordered", Until: true,
		Paging: httppoll.PageTime, MaxSize: cfg.MaxLimit, MaxSizeSetting: "max_limit",
		Hint: hint,
	}, opts, client)
	if err != nil {
		return nil, err
	}
	return &Source{s}, nil
}

func hint(status int) string {
	switch status {
	case http.StatusTemporaryRedirect:
		return ": this cloud has Panko, which answers for the events (configure panko in place of ceilometer)"
	case http.StatusUnauthorized:
		return ": a token that Keystone has just given is not accepted (may the account read events, see auth? does auth.url belong to " +
			"the same cloud? see endpoint)"
	}
	return ""
}

// query writes the question, in the order in which people write it.
func query(ask httppoll.Ask) string {
	parts := []string{"limit=" + strconv.Itoa(ask.Size)}
	if ask.From != "" {
		parts = append(parts, telemetry.Filter("start_timestamp", "ge", ask.From))
	}
	if ask.Until != "" {
		parts = append(parts, telemetry.Filter("end_timestamp", "le", ask.Until))
	}
	return strings.Join(parts, "&")
}

// Available gets a token, finds the service and asks it for one event.
func (s *Source) Available(ctx context.Context) error {
	_, err := s.Probe(ctx)
	return err
}
