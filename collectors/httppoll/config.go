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
	"stackstream/internal/setting"
	"stackstream/internal/timeform"
)

// Config describes an event service. What is called an expression is written in CEL, see package expr; text in a URL, a
// query, a header or a body may have expressions between {{ and }}.
type Config struct {
	Schedule   Schedule   `yaml:"schedule"`
	Request    Request    `yaml:"request"`
	Auth       Auth       `yaml:"auth"`
	Records    Records    `yaml:"records"`
	Cursor     Cursor     `yaml:"cursor"`
	Pagination Pagination `yaml:"pagination"`
	Detail     Detail     `yaml:"detail"`
	Partitions Partitions `yaml:"partitions"`
	RateLimit  RateLimit  `yaml:"rate_limit"`
	// Event says how a record becomes an event: an expression for each part, of rec, the record, and partition. A mapping that was
	// wrong can be mended and what was collected be normalized again: all but id is read when it is normalized.
	Event      mapping.Config          `yaml:"event"`
	Retry      Retry                   `yaml:"retry"`
	EventTypes collectors.FilterConfig `yaml:"event_types"`
	// Remember is how many of the last events are known again, whatever their time says.
	Remember int `yaml:"remember"`
}

// Schedule says when the service is asked.
type Schedule struct {
	// Every is the time from the beginning of one run to that of the next.
	Every time.Duration `yaml:"every"`
	// Jitter is a random delay on top of it.
	Jitter time.Duration `yaml:"jitter"`
	// MaxRun is how long one run may take.
	MaxRun time.Duration `yaml:"max_run"`
}

// Request is what is asked for.
type Request struct {
	// URL is the address. It may have expressions between {{ and }}, but for the host.
	URL string `yaml:"url"`
	// Method is POST for services that are asked by a body.
	Method string `yaml:"method" words:"GET,POST"`
	// Query has the parameters of the query; each may have a list of values, and expressions between {{ and }} in them.
	Query map[string][]string `yaml:"query"`
	// Headers has headers to send, which may have expressions between {{ and }}.
	Headers map[string]string `yaml:"headers"`
	// Body is what is sent where the method is POST. It may have expressions between {{ and }}.
	Body string `yaml:"body"`
	// Decode is how the answer is written. The first line of csv names the fields; in xml attributes are @name, and text beside
	// elements is #text.
	Decode records.Form `yaml:"decode" words:"json,ndjson,csv,xml"`
	// Charset is what answers are written in, like windows-1252, where their Content-Type does not say it and it is not UTF-8. XML
	// says it itself.
	Charset records.Charset `yaml:"charset"`
	// Delimiter separates the fields of csv in place of a comma.
	Delimiter string `yaml:"delimiter"`
	// MaxBody is the most that an answer may have, unpacked.
	MaxBody int64          `yaml:"max_body,size"`
	HTTP    openstack.HTTP `yaml:",inline"`
}

// Records says where in an answer the records are.
type Records struct {
	// Path is where the list is, like data.events; empty: the answer is the list.
	Path string `yaml:"path"`
	// Shape is what is there: a list, an object whose values are the records, or one record.
	Shape records.Shape `yaml:"shape" words:"list,values,one"`
	// Key is the name under which each record of shape: values gets the name that it has in the object.
	Key string `yaml:"key"`
	// OnMissing is what it means that nothing is there: an error, or that there are no records, for services that leave the list out
	// then.
	OnMissing string `yaml:"on_missing" words:"error,empty"`
	// Expand is where in a record a list is whose elements are the events. Several paths lead into lists of lists, one after the
	// other.
	Expand []string `yaml:"expand"`
	// Parent is the name under which each of them gets the rest of its record: rec.batch.id, of two levels rec.batch.batch.id.
	Parent string `yaml:"parent"`
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
	// Type is what asks for what is new: a time or an integer, both of a field of the records, a token that the service hands out,
	// or none: each run reads all that the service shows (with its ETag, where it has one), and what is known is left out.
	Type string `yaml:"type" words:"none,time,integer,token"`
	// Field is where a record has the time or number, like actor.created.
	Field string `yaml:"field"`
	// Value is an expression of rec for it in place of Field, where it has to be worked out, like
	// parse(rec.day + " " + rec.hour, "2006-01-02 15:04").
	Value string `yaml:"value"`
	// Format says how a time is written: rfc3339 (the default), unix, unix_ms, unix_us, unix_ns, http, date, or a layout of the
	// moment 2006-01-02 15:04:05. Several are tried in order. Local times name their zone: 2006-01-02 15:04:05 in Europe/Berlin.
	Format timeform.Forms `yaml:"format"`
	// Token is an expression for the next token, of body, headers (in small letters), links (the addresses of headers named Link by
	// their relation: links.next) and last (the last record).
	Token string `yaml:"token"`
	// Start is where a first run begins: beginning, now, now-24h, a time such as 2026-01-02T15:04:05Z, or a number.
	Start Start `yaml:"start"`
	Send  Send  `yaml:"send"`
	// Boundary says whether asking from a value on shows a record with that very value, too: inclusive if it does, exclusive if not.
	// exclusive is always right: it asks a little earlier.
	Boundary string `yaml:"boundary" words:"inclusive,exclusive"`
	// Order is the one in which the service shows records; unordered is always right. Only ascending lets the cursor move with
	// every page; else it moves when a window was read to its end.
	Order string `yaml:"order" words:"ascending,descending,unordered"`
	// Overlap is how far each run reads back: how late a record may show, behind a newer one or behind its own time, without being
	// missed. What is known is left out.
	Overlap time.Duration `yaml:"overlap"`
	// Settle is how old a record must be until the cursor may pass it: services that are not consistent at once show the
	// newest in any order, or not yet.
	Settle time.Duration `yaml:"settle"`
	// Window is how much time is asked for at once, the overlap of two windows included; 0: all. It needs Send.Until, or a text with
	// {{ until }}.
	Window time.Duration `yaml:"window"`
}

// Send says how a value goes into the request.
type Send struct {
	// In says where it goes: query, header, or none where a text of the request has it as {{ from }}, {{ until }}, {{ cursor }} or,
	// of pages, {{ page }}; or url, for a cursor that is a token: it is the address to go on from.
	In string `yaml:"in" words:"query,header,none,url"`
	// Name is the name that takes it.
	Name string `yaml:"name"`
	// Until is the name that takes the end of the range, for a cursor that is a time.
	Until string `yaml:"until"`
	// Format is how a time is written; without it as the first format of the field.
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
	PageTime   = "time"
)

// What ends a run, besides a page that leads nowhere.
const (
	stopEmpty = "empty_page"
	stopShort = "short_page"
)

// Pagination says how the next page is asked for.
type Pagination struct {
	// Type is what leads to the next page: its number, the offset of its first record, a token or a URL in the answer, the header
	// Link, or something of the last record, a marker. none: there is one page.
	Type string `yaml:"type" words:"none,page,offset,token,next_url,link_header,marker,time"`
	// Send is where page number, offset, token or marker goes.
	Send Send `yaml:"send"`
	// First is the number of the first page.
	First int `yaml:"first"`
	// Size is how many records a page has at most, as the request asks for; needed for stop: short_page and for type: time.
	Size int `yaml:"size"`
	// SendSize is the name that takes Size; or a text of the request has it as {{ page_size }}. Then fewer records are asked for
	// where an answer is larger than max_body.
	SendSize string `yaml:"send_size"`
	// MaxSize is the most records that may be asked for at once: with type: time a page that is full of one moment is asked for
	// with a larger size.
	MaxSize int `yaml:"max_size"`
	// From is an expression for the token, URL or marker, of body, headers (in small letters) and last (the last record of the page).
	From string `yaml:"from"`
	// More is an expression that is true while there are further pages, of body, headers and last.
	More string `yaml:"more"`
	// Stop is what ends a run besides a page that leads nowhere: an empty_page for services that always lead on, a short_page for
	// those that fill every page but the last. Where pages are counted or come behind a marker an empty one always does.
	Stop string `yaml:"stop" words:",empty_page,short_page"`
	// MaxPages is how many pages a run may have, or a window of it; more is an error.
	MaxPages int `yaml:"max_pages"`
}

// Retry says what to do with answers that are no success.
type Retry struct {
	// Max is the longest pause that the service may ask for by Retry-After.
	Max time.Duration `yaml:"max"`
	// On says what a status ("410"), several ("429,503"), or a class ("5xx") means: retry, fail, empty (there is nothing), restart
	// (the page before is no longer known: read again from the cursor on, three times in a run), reset_cursor (begin again at
	// cursor.start, and say so) or refresh_auth (prove anew who we are, and ask once more). Without it 408, 429 and 5xx are tried
	// again, 401 is refresh_auth, and all else fails.
	On map[string]string `yaml:"on" words:"retry,fail,empty,restart,reset_cursor,refresh_auth"`
	// Answers says the same of answers whose status does not tell. It comes before On; the first one that is true decides.
	Answers []Answer `yaml:"answers"`
}

// What may be done with an answer that is no success.
const (
	actionRetry   = "retry"
	actionFail    = "fail"
	actionEmpty   = "empty"
	actionRestart = "restart"
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
		Pagination: defaultPagination(),
		Detail:     Detail{Method: "GET", Concurrency: 4},
		Partitions: defaultPartitions(),
		RateLimit:  RateLimit{Reset: Reset{As: "auto"}},
		Retry:      Retry{Max: 15 * time.Minute},
		Remember:   100_000,
	}
}

func defaultPagination() Pagination {
	return Pagination{Type: PageNone, Send: Send{In: "query"}, First: 1, MaxPages: 1000, MaxSize: 10_000}
}

// Start is where a first run begins.
type Start struct {
	text   string
	now    bool
	ago    time.Duration
	at     time.Time
	number *int64
}

// UnmarshalText reads beginning, now, now-24h, now-7d, a time in RFC 3339, or a number.
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
		ago, err := setting.ParseDuration(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), "-")))
		if err == nil && strings.HasPrefix(strings.TrimSpace(rest), "-") {
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
