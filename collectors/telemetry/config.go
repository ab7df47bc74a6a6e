package telemetry

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/openstack"
	"stackstream/internal/setting"
)

// Config is the configuration that both services have.
type Config struct {
	Auth openstack.Auth `yaml:"auth"`

	// ServiceType is the type by which the service is looked up in the catalogue.
	ServiceType string `yaml:"service_type"`
	// Region of the catalogue's endpoint; empty: any.
	Region string `yaml:"region"`
	// Interface of the catalogue's endpoint.
	Interface string `yaml:"interface" words:"public,internal,admin"`
	// Endpoint is the address of the service in place of the catalogue's, without /v2/events.
	Endpoint string `yaml:"endpoint"`

	HTTP openstack.HTTP `yaml:"http"`

	// Every is the time from one run to the next.
	Every time.Duration `yaml:"every"`
	// Jitter is a random delay on top of it.
	Jitter time.Duration `yaml:"jitter"`
	// MaxRun is how long one run may take.
	MaxRun time.Duration `yaml:"max_run"`

	// Overlap is how far each run reads back: how late an event may show without being missed.
	Overlap time.Duration `yaml:"overlap"`
	// Limit is the number of events asked for at once.
	Limit int `yaml:"limit"`
	// MaxBody is the most that an answer may have; where a page is larger, fewer events are asked for.
	MaxBody int64 `yaml:"max_body,size"`

	// Start is where a first run begins when no event of the provider was ever collected: beginning, now, or a time such as
	// 2026-01-02T15:04:05Z.
	Start Start `yaml:"start"`
	// SkipHistory is another way to say start: now.
	SkipHistory bool `yaml:"skip_history"`

	EventTypes collectors.FilterConfig `yaml:"event_types"`
}

// Default has the settings used where the configuration names none.
func Default(serviceType string) Config {
	return Config{
		ServiceType: serviceType, Interface: "public", HTTP: openstack.DefaultHTTP(),
		Every: 10 * time.Second, Jitter: time.Second, MaxRun: 5 * time.Minute,
		Overlap: 30 * time.Second, Limit: 500, MaxBody: 64 << 20,
	}
}

// MaxLimit bounds the number of events asked for at once.
const MaxLimit = 10_000

const (
	minMaxBody = 64 << 10
	maxMaxBody = 1 << 30
	maxOverlap = 7 * 24 * time.Hour
)

// Validate returns every mistake that shows without reading a file or asking anybody. usual is the type that the service has in
// most catalogues.
func (c Config) Validate(usual string) []openstack.Problem {
	var found []openstack.Problem
	add := func(field, format string, args ...any) {
		found = append(found, openstack.Problem{Field: field, Msg: fmt.Sprintf(format, args...)})
	}
	below := func(prefix string, inner []openstack.Problem) {
		for _, p := range inner {
			add(prefix+"."+p.Field, "%s", p.Msg)
		}
	}
	below("auth", c.Auth.Validate())
	below("http", c.HTTP.Validate())
	if c.Endpoint != "" {
		if msg := openstack.CheckURL(c.Endpoint); msg != "" {
			add("endpoint", "%s", msg)
		} else if strings.HasSuffix(strings.TrimRight(c.Endpoint, "/"), "/events") {
			add("endpoint", "is the address of the service, without /v2/events")
		}
	} else if c.ServiceType == "" {
		add("service_type", "is empty: the type that the service has in the catalogue, usually %s", usual)
	}
	for _, p := range setting.Check(c) {
		add(p.Field, "%s", p.Msg)
	}
	if c.Every <= 0 {
		add("every", "must be more than 0")
	}
	if c.Jitter < 0 {
		add("jitter", "must not be negative")
	}
	if c.MaxRun <= 0 {
		add("max_run", "must be more than 0")
	}
	if c.Overlap < 0 || c.Overlap > maxOverlap {
		add("overlap", "must be from 0 to %s", maxOverlap)
	}
	if c.Limit < 1 || c.Limit > MaxLimit {
		add("limit", "must be from 1 to %d", MaxLimit)
	}
	if c.MaxBody < minMaxBody || c.MaxBody > maxMaxBody {
		add("max_body", "must be from 64KiB to 1GiB")
	}
	if c.SkipHistory && c.Start != (Start{}) {
		add("skip_history", "can't be set together with start: it means start: now")
	}
	c.EventTypes.Problems(func(field, message string) { add("event_types."+field, "%s", message) })
	return found
}

// Spec is what the loop needs to know of a source with this configuration.
func (c Config) Spec() collectors.Spec {
	poller := collectors.Poller{Every: c.Every, Jitter: c.Jitter, MaxRun: c.MaxRun}
	return collectors.Spec{Quiet: poller.Quiet()}
}

// Manual is for operators who change a cursor of a source of that kind.
func Manual(kind string) collectors.Manual {
	// Every provider's source has it and next to none needs it: what it is made of is made then.
	manual := func() collectors.Manual {
		e := httppoll.Default()
		e.Cursor = httppoll.Cursor{Type: httppoll.CursorTime, Send: httppoll.Send{Format: form}}
		return e.ManualDialect(kind)
	}
	return collectors.Manual{
		Rewind: func(cursor event.Cursor, to, now time.Time) (event.Cursor, time.Time, error) {
			return manual().Rewind(cursor, to, now)
		},
		Set: func(cursor event.Cursor, text string, now time.Time) (event.Cursor, error) {
			return manual().Set(cursor, text, now)
		},
		Meanwhile: func() string { return manual().Meanwhile() },
	}
}

// start is where a first run begins.
func (c Config) start() Start {
	if c.SkipHistory {
		return StartNow()
	}
	return c.Start
}

// Start is where a first run begins: at the beginning of what the service has (the zero Start), now, or at a time.
type Start struct {
	now bool
	at  time.Time
}

// StartNow and StartAt make the Start of that meaning.
func StartNow() Start { return Start{now: true} }

// StartAt begins at a time.
func StartAt(at time.Time) Start { return Start{at: at} }

// UnmarshalText reads "beginning", "now", or a time in RFC 3339.
func (s *Start) UnmarshalText(text []byte) error {
	switch word := string(text); word {
	case "beginning":
		*s = Start{}
	case "now":
		*s = StartNow()
	default:
		at, err := time.Parse(time.RFC3339, word)
		if err != nil || at.Year() < 1 {
			return errors.New("wants beginning, now, or a time such as 2026-01-02T15:04:05Z")
		}
		*s = StartAt(at.UTC())
	}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Start) MarshalText() ([]byte, error) {
	switch {
	case s.now:
		return []byte("now"), nil
	case s.at.IsZero():
		return []byte("beginning"), nil
	default:
		return []byte(s.at.Format(time.RFC3339Nano)), nil
	}
}
