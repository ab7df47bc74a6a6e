package httppoll

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stackstream/collectors"
	"stackstream/internal/mapping"
	"stackstream/internal/openstack"
	"stackstream/internal/records"
	"stackstream/internal/timeform"
)

// Config describes an event service. What is called an expression is written in CEL, see package expr; text in a URL, a
// query, a header or a body may have expressions between {{ and }}.
type Config struct {
	Schedule   Schedule                `yaml:"schedule"`
	Request    Request                 `yaml:"request"`
	Auth       Auth                    `yaml:"auth"`
	Records    Records                 `yaml:"records"`
	Cursor     Cursor                  `yaml:"cursor"`
	Pagination Pagination              `yaml:"pagination"`
	Detail     Detail                  `yaml:"detail"`
	Partitions Partitions              `yaml:"partitions"`
	RateLimit  RateLimit               `yaml:"rate_limit"`
	Event      mapping.Config          `yaml:"event"`
	Retry      Retry                   `yaml:"retry"`
	EventTypes collectors.FilterConfig `yaml:"event_types"`
	// Remember is how many of the last events are known again, whatever their time says.
	Remember int `yaml:"remember"`
}

// Schedule says when the service is asked.
type Schedule struct {
	// Every is the time from the beginning of one run to that of the next, Jitter a random delay on top, MaxRun how long one
	// may take.
	Every  time.Duration `yaml:"every"`
	Jitter time.Duration `yaml:"jitter"`
	MaxRun time.Duration `yaml:"max_run"`
}

// Request is what is asked for.
type Request struct {
	URL     string              `yaml:"url"`
	Method  string              `yaml:"method"`
	Query   map[string][]string `yaml:"query"`
	Headers map[string]string   `yaml:"headers"`
	Body    string              `yaml:"body"`
	// Decode is how the answer is written: json, ndjson, csv, xml. Delimiter separates the fields of CSV.
	Decode    records.Form `yaml:"decode"`
	Delimiter string       `yaml:"delimiter"`
	// MaxBody bounds the bytes of an answer, unpacked.
	MaxBody int64          `yaml:"max_body,size"`
	HTTP    openstack.HTTP `yaml:",inline"`
}

// Records says where in an answer the records are.
type Records struct {
	// Path leads to them, like data.events; empty: the answer is the list.
	Path string `yaml:"path"`
	// Shape of what is there: list, values (an object whose members are records) or one.
	Shape records.Shape `yaml:"shape"`
	// Key is the name under which each record of shape: values gets the name it has among them.
	Key string `yaml:"key"`
	// OnMissing: error, or empty where a service leaves the list out when there is nothing.
	OnMissing string `yaml:"on_missing"`
	// Expand leads, in a record, to a list whose elements are the events; each gets the rest of the record as Parent. Several
	// paths lead into lists of lists, one after the other.
	Expand []string `yaml:"expand"`
	Parent string   `yaml:"parent"`
	// Filter is an expression: only records for which it is true are events.
	Filter string `yaml:"filter"`
}

// The types of a cursor.
const (
	CursorNone    = "none"
	CursorTime    = "time"
	CursorInteger = "integer"
	CursorToken   = "token"
)

// Cursor says how the service is asked for what is new.
type Cursor struct {
	// Type: time, integer (both of a field of the records), token (something opaque that the service hands out) or none: each
	// run reads all that the service shows, and what is known is left out.
	Type string `yaml:"type"`
	// Field of a record that has the time or number, like actor.created; Value is an expression for it where it has to be worked
	// out.
	Field string `yaml:"field"`
	Value string `yaml:"value"`
	// Format says how Field is written, several where a service is not sure.
	Format timeform.Forms `yaml:"format"`
	// Token is an expression for the next token, of body, headers and last (the last record).
	Token string `yaml:"token"`
	// Start is where a first run begins: beginning, now, now-24h, a time, or a number.
	Start Start `yaml:"start"`
	Send  Send  `yaml:"send"`
	// Boundary: inclusive if asking from a value on shows a record with that value, exclusive if not.
	Boundary string `yaml:"boundary"`
	// Order in which the service shows records: ascending, descending, unordered. Only ascending lets the cursor move with
	// every page; else it moves when a window was read to its end.
	Order string `yaml:"order"`
	// Overlap is how far each run reads back: how late a record may show without being missed.
	Overlap time.Duration `yaml:"overlap"`
	// Settle is how old a record must be until the cursor may pass it: services that are not consistent at once show the
	// newest in any order.
	Settle time.Duration `yaml:"settle"`
	// Window bounds how much time is asked for at once. It needs Send.Until.
	Window time.Duration `yaml:"window"`
}

// Send says how a value goes into the request.
type Send struct {
	// In: query, header, or none where a text of the request has it as {{ from }}.
	In   string `yaml:"in"`
	Name string `yaml:"name"`
	// Until is the name that takes the end of the range.
	Until  string        `yaml:"until"`
	Format timeform.Form `yaml:"format"`
}

// The types of pagination.
const (
	PageNone   = "none"
	PageNumber = "page"
	PageOffset = "offset"
	PageToken  = "token"
	PageURL    = "next_url"
	PageLink   = "link_header"
	PageMarker = "marker"
)

// What ends a run, besides a page that leads nowhere.
const (
	stopEmpty = "empty_page"
	stopShort = "short_page"
)

// Pagination says how the next page is asked for.
type Pagination struct {
	Type string `yaml:"type"`
	// Send is where page number, offset, token or marker goes.
	Send Send `yaml:"send"`
	// First is the number of the first page.
	First int `yaml:"first"`
	// Size is how many records a page has at most, as the request asks for; needed for stop: short_page.
	Size int `yaml:"size"`
	// From is an expression for the token, URL or marker, of body, headers and last (the last record of the page).
	From string `yaml:"from"`
	// More is an expression that is true while there are further pages, of body, headers and last.
	More string `yaml:"more"`
	// Stop says what ends a run besides: empty_page for services that always lead on, short_page for those that fill every page
	// but the last. Without it a page that leads nowhere does, and where pages are counted or behind a marker, an empty one.
	Stop string `yaml:"stop"`
	// MaxPages bounds a run, or a window of it.
	MaxPages int `yaml:"max_pages"`
}

// Retry says what to do with answers that are no success.
type Retry struct {
	// Max is the longest pause that the service may ask for by Retry-After.
	Max time.Duration `yaml:"max"`
	// On maps a status ("410"), several ("429,503"), or a class ("5xx") to retry, fail, empty (there is nothing),
	// reset_cursor (begin again at cursor.start) or refresh_auth (prove anew who we are, and ask once more).
	On map[string]string `yaml:"on"`
	// Answers come before On; the first one that is true decides.
	Answers []Answer `yaml:"answers"`
}

// What may be done with an answer that is no success.
const (
	actionRetry   = "retry"
	actionFail    = "fail"
	actionEmpty   = "empty"
	actionReset   = "reset_cursor"
	actionRefresh = "refresh_auth"
	actionKeep    = "keep" // of a detail
)

// Default has the settings used where the configuration names none.
func Default() Config {
	return Config{
		Schedule:   Schedule{Every: 30 * time.Second, Jitter: 3 * time.Second, MaxRun: 5 * time.Minute},
		Request:    Request{Method: "GET", Decode: records.JSON, MaxBody: 32 << 20, HTTP: openstack.DefaultHTTP()},
		Records:    Records{Shape: records.List, OnMissing: "error"},
		Cursor:     Cursor{Type: CursorNone, Boundary: "inclusive", Order: "unordered", Send: Send{In: "query"}},
		Pagination: Pagination{Type: PageNone, Send: Send{In: "query"}, First: 1, MaxPages: 1000},
		Detail:     Detail{Method: "GET", Concurrency: 4},
		Partitions: defaultPartitions(),
		RateLimit:  RateLimit{Reset: Reset{As: "auto"}},
		Retry:      Retry{Max: 15 * time.Minute},
		Remember:   100_000,
	}
}

// Start is where a first run begins.
type Start struct {
	text   string
	now    bool
	ago    time.Duration
	at     time.Time
	number *int64
}

// UnmarshalText reads beginning, now, now-24h, a time in RFC 3339, or a number.
func (s *Start) UnmarshalText(text []byte) error {
	word := string(text)
	*s = Start{text: word}
	if word == "beginning" {
		*s = Start{}
		return nil
	}
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		s.number = &n
		return nil
	}
	if rest, ok := strings.CutPrefix(word, "now"); ok {
		s.now = true
		if rest == "" {
			return nil
		}
		ago, err := time.ParseDuration(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), "-")))
		if err == nil && ago >= 0 && strings.HasPrefix(strings.TrimSpace(rest), "-") {
			s.ago = ago
			return nil
		}
	}
	at, err := time.Parse(time.RFC3339, word)
	if err != nil || at.Year() < 1 {
		return errors.New("wants beginning, now, now-24h, a time such as 2026-01-02T15:04:05Z, or a number")
	}
	s.now, s.at = false, at.UTC()
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Start) MarshalText() ([]byte, error) {
	if s.text == "" {
		return []byte("beginning"), nil
	}
	return []byte(s.text), nil
}

// time is the moment, zero for the beginning.
func (s Start) time(now time.Time) time.Time {
	if s.now {
		return now.Add(-s.ago)
	}
	return s.at
}

// Problem is a mistake in the configuration: Field is the path of the setting.
type Problem struct{ Field, Msg string }

func (p Problem) String() string { return p.Field + ": " + p.Msg }

type problems []Problem

func (ps *problems) add(field, format string, args ...any) {
	*ps = append(*ps, Problem{field, fmt.Sprintf(format, args...)})
}

// oneOf adds a problem unless value is one of the words.
func (ps *problems) oneOf(field, value string, words ...string) {
	for _, word := range words {
		if value == word {
			return
		}
	}
	ps.add(field, "is %q; one of %s is meant", value, strings.Join(words, ", "))
}
