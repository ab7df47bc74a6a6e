// Package telemetry is what the two events APIs of OpenStack's telemetry have in common, Panko's and Ceilometer's older one: where
// the service is found, what is asked of GET /v2/events, what an event is, and what an error means to an operator. How one may ask
// for pages, and what may be promised of them, is package httppoll's.
//
// An event's body is the element of the list, byte for byte. An answer that is cut short, is no list of objects, or belongs to
// another service is an error and never taken for the end. An object that is no proper event is handed over all the same; what it
// is worth is decided later.
package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strings"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/openstack"
	"stackstream/internal/rawjson"
	"stackstream/internal/timeform"
)

// Format is what the bodies of the events are.
const Format = "ceilometer"

// Options are what the process gives to a source, besides its configuration.
type Options struct {
	Version string // of stackstream, for the User-Agent
	// Hooks is how what happens becomes metrics. What Odd counts is "no-id" an event without message_id, "not-utf8" one whose
	// message_id is not all told by its text, "no-time" one whose generated is missing or no time, "not-json" one that is no JSON,
	// "disorder" one that is older than one before it, "too-early" one from before the time that was asked for, which is left out.
	Hooks  httppoll.Hooks
	Report collectors.Report
	// Clients, if set, shares connections with other sources.
	Clients *openstack.Clients
	// Past is that of httppoll.Options.
	Past *httppoll.Past
}

// API is one of the two.
type API struct {
	Kind string
	// Query writes what is asked for.
	Query func(httppoll.Ask) string
	// Order is how events come, as cursor.order says it.
	Order string
	// Paging is how the next page is asked for: a marker, or the time of the last event.
	Paging string
	// MaxSize bounds the events asked for at once, by the setting that MaxSizeSetting names.
	MaxSize        int
	MaxSizeSetting string
	// Until tells that a query may have an end.
	Until bool
	// Hint says more than is said for both, "" where it does not, and Forgotten is that of Dialect.
	Hint      func(status int) string
	Forgotten func(status int, text string) bool
}

// Source is one service. Available may be called while Run runs.
type Source struct {
	*httppoll.Source
	Session *openstack.Session

	endpoint string // in place of the catalogue's
	at       openstack.Location
	query    func(httppoll.Ask) string
}

// New makes a source of a valid configuration, which asks by client. It talks to nobody.
func New(cfg Config, api API, opts Options, client *http.Client) (*Source, error) {
	s := &Source{
		Session: openstack.NewSession(cfg.Auth, client, httppoll.UserAgent(opts.Version)), endpoint: cfg.Endpoint, query: api.Query,
	}
	if cfg.Endpoint == "" {
		s.at = openstack.Location{Service: cfg.ServiceType, Region: cfg.Region, Interface: cfg.Interface}
		s.Session.Finds(cfg.ServiceType)
	}
	engine, err := cfg.engine(api)
	if err != nil {
		return nil, err
	}
	s.Source, err = httppoll.NewDialect(engine, httppoll.Dialect{
		Kind: api.Kind, Session: s.Session, Client: client, URL: s.url, Read: Read, Until: api.Until, MaxSize: api.MaxSizeSetting,
		Hint: api.hint, Forgotten: api.Forgotten,
	}, httppoll.Options{Version: opts.Version, Format: Format, Hooks: opts.Hooks, Report: opts.Report, Past: opts.Past})
	return s, err
}

// hint is where an operator may look.
func (a API) hint(status int) string {
	if a.Hint != nil {
		if more := a.Hint(status); more != "" {
			return more
		}
	}
	switch status {
	case http.StatusOK, http.StatusNotFound:
		return " (is this the events service? see endpoint)"
	case http.StatusUnauthorized:
		return ": a token that Keystone has just given is not accepted (does auth.url belong to the same cloud? see endpoint)"
	case http.StatusForbidden:
		return ": the account may not read events (give it a role that may, see auth)"
	}
	return ""
}

// form is how a time is sent: without a zone, which means UTC. These services keep microseconds.
const form timeform.Form = "2006-01-02T15:04:05.000000"

// engine is the configuration of package httppoll that comes to the same.
func (c Config) engine(api API) (httppoll.Config, error) {
	e := httppoll.Default()
	e.Schedule = httppoll.Schedule{Every: c.Every, Jitter: c.Jitter, MaxRun: c.MaxRun}
	e.Request.MaxBody = c.MaxBody
	e.Cursor = httppoll.Cursor{
		Type: httppoll.CursorTime, Boundary: "inclusive", Order: api.Order, Overlap: c.Overlap, Send: httppoll.Send{Format: form},
	}
	e.Pagination.Type, e.Pagination.Size, e.Pagination.MaxSize, e.Pagination.MaxPages = api.Paging, c.Limit, api.MaxSize, math.MaxInt
	e.EventTypes = c.EventTypes
	e.Remember = 0 // the time of an event tells whether it may come again
	start, err := c.start().MarshalText()
	if err == nil {
		err = e.Cursor.Start.UnmarshalText(start)
	}
	return e, err
}

// url is where a page is asked for.
func (s *Source) url(ctx context.Context, ask httppoll.Ask) (string, error) {
	token, err := s.Session.Token(ctx)
	if err != nil {
		return "", err
	}
	base := s.endpoint
	if base == "" {
		base, err = token.Endpoint(s.at)
		if err != nil {
			return "", err
		}
		if msg := openstack.CheckURL(base); msg != "" {
			return "", &event.Error{Kind: event.Invalid, Op: "find the " + s.at.Service + " service",
				Err: errors.New("its address in the catalogue " + msg + " (set endpoint)")}
		}
	}
	return strings.TrimSuffix(strings.TrimRight(base, "/"), "/v2") + "/v2/events?" + s.query(ask), nil
}

// Filter is one condition of a query. None has a q.type: these services want it with all of them or with none. The operator must
// be given, and the value too: without it the filter is left out without a word.
func Filter(field, op, value string) string {
	return "q.field=" + field + "&q.op=" + op + "&q.value=" + url.QueryEscape(value)
}

// Read reads the fields of an event that are needed here.
func Read(body []byte) (r httppoll.Reading) {
	var fields struct {
		MessageID id   `json:"message_id"`
		EventType text `json:"event_type"`
		Generated text `json:"generated"`
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		mended, err := rawjson.Parse(body) // Python writes NaN
		if err != nil || json.Unmarshal(mended, &fields) != nil {
			r.Odd = append(r.Odd, "not-json")
		}
	}
	r.ID, r.Type = string(fields.MessageID), string(fields.EventType)
	switch {
	case r.ID == "":
		r.Odd = append(r.Odd, "no-id")
	case !rawjson.Exact(r.ID, "message_id", body):
		r.Vague = true
		r.Odd = append(r.Odd, "not-utf8")
	}
	at, err := event.ParseTimestamp(string(fields.Generated))
	if err != nil {
		r.Odd = append(r.Odd, "no-time")
	} else {
		r.Time = at.Time()
	}
	return r
}

// text takes a JSON string, and nothing where something else stands.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	}
	return nil
}

// id takes a number, too, with the digits that came.
type id text

func (i *id) UnmarshalJSON(b []byte) error {
	*i = id(rawjson.Value(b).ID())
	return nil
}
