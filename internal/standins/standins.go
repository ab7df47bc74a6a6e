// Package standins has stand-ins for public event services, for the tests and the recordings of the examples.
//
// Each is written from the documentation of its service, which its comment names, and not from what the service did: default and
// largest sizes of pages, the order of records, which bounds are inclusive, what happens to values that are not known, how one
// proves who one is, how errors look, and what comes late. They are stricter than the services in one thing: a parameter that the
// documentation does not name is refused. They give fewer records on a page than one asks for (Store.Most), as all of the services
// may, so that few records make many pages.
package standins

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Service is a stand-in.
type Service struct {
	// Name is that of the example, and Host of the service, as the example has it.
	Name, Host string
	// Secrets are what the files have that the example names.
	Secrets map[string]string
	// Late is how late an event may come to be shown.
	Late time.Duration
	// Ascending: events that are not late are shown oldest first.
	Ascending bool
	// Cutoff, where it is not zero, is how old something has to be for the service to show it.
	Cutoff time.Duration
	*Store
	http.Handler
}

// All are the stand-ins, by name.
func All() []*Service {
	all := []*Service{
		auth0(), awx(), cloudflareLogpull(), couchdb(), datadogAudit(), gitea(), githubAudit(), githubEvents(), gitlabAudit(),
		jiraChangelog(), keycloak(),
		kubernetes(), nasaDonki(), okta(), opensearch(), osmChangesets(), pagerduty(), slackAudit(), stripe(), timeFrom(), usgs(),
		zabbix(), novaActions(),
	}
	slices.SortFunc(all, func(a, b *Service) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Entry is an event of a service.
type Entry struct {
	N     int       // which it is, from 1 on, in the order in which they came to be
	At    time.Time // when it happened, as exactly as the service says it
	Shown time.Time // from when on it is shown
	Late  bool      // it is shown behind newer ones
	Part  string    // of the service, where it has several
	ID    string    // what identifies it, without the part
	Body  any       // the record
}

// Store has the events of a service. It is safe for concurrent use.
type Store struct {
	// Most is how many records a page has at most.
	Most int
	// Step is what times are cut to.
	Step time.Duration
	// Parts are those that events are in, in turn.
	Parts []string
	// Make makes the record of an event, and its identity.
	Make func(e Entry) (id string, body any)

	mu      sync.Mutex
	entries []Entry
}

// Put adds an event that happens at a time and is shown from another on.
func (s *Store) Put(at, shown time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Entry{N: len(s.entries) + 1, At: at.UTC().Truncate(max(s.Step, 1)), Shown: shown, Late: shown.After(at)}
	if len(s.Parts) > 0 {
		e.Part = s.Parts[e.N%len(s.Parts)]
	}
	e.ID, e.Body = s.Make(e)
	s.entries = append(s.entries, e)
}

// Entries are all events, in the order in which they came to be.
func (s *Store) Entries() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries)
}

// shown are the events that are shown now, oldest first; those of one moment in the order in which they came to be.
func (s *Store) shown() []Entry {
	now := time.Now()
	all := slices.DeleteFunc(s.Entries(), func(e Entry) bool { return e.Shown.After(now) })
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
	return all
}

// newest are the same, newest first.
func (s *Store) newest() []Entry {
	all := s.shown()
	slices.Reverse(all)
	return all
}

// keep are the entries for which a condition holds.
func keep(all []Entry, cond func(e Entry) bool) []Entry {
	return slices.DeleteFunc(all, func(e Entry) bool { return !cond(e) })
}

// cut cuts a page out of entries, and tells whether there are more behind it.
func cut(all []Entry, start, size int) (page []Entry, more bool) {
	start = min(max(start, 0), len(all))
	end := min(start+size, len(all))
	return all[start:end], end < len(all)
}

// bodies are the records of entries; never nil, so that they are written as a list.
func bodies(all []Entry) []any {
	out := make([]any, 0, len(all))
	for _, e := range all {
		out = append(out, e.Body)
	}
	return out
}

// M is a JSON object.
type M = map[string]any

func answer(w http.ResponseWriter, status int, body any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// known returns what is wrong with a query: a parameter that is not among those that the documentation names, or one that comes
// twice.
func known(query url.Values, names ...string) string {
	for name, values := range query {
		if !slices.Contains(names, name) {
			return fmt.Sprintf("unknown parameter %s", name)
		}
		if len(values) > 1 {
			return fmt.Sprintf("%s is there twice", name)
		}
	}
	return ""
}

// number reads a parameter that is a number within bounds; ok is false for anything else.
func number(query url.Values, name string, otherwise, least, most int) (n int, ok bool) {
	if !query.Has(name) {
		return otherwise, true
	}
	n, err := strconv.Atoi(query.Get(name))
	return n, err == nil && n >= least && n <= most
}

// moment reads a parameter that is a time in a layout; zero if it is not there.
func moment(query url.Values, name, layout string) (at time.Time, ok bool) {
	if !query.Has(name) {
		return at, true
	}
	at, err := time.Parse(layout, query.Get(name))
	return at, err == nil
}

// seconds reads a parameter that is a number of seconds since 1970; zero if it is not there.
func seconds(query url.Values, name string) (at time.Time, ok bool) {
	if !query.Has(name) {
		return at, true
	}
	n, err := strconv.ParseInt(query.Get(name), 10, 64)
	return time.Unix(n, 0).UTC(), err == nil
}

// self is the address that was asked, with another query.
func self(r *http.Request, query url.Values) string {
	scheme := "http"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return scheme + "://" + host + r.URL.Path + "?" + query.Encode()
}

// with is a query with some of its values replaced; an empty value takes one out.
func with(query url.Values, pairs ...string) url.Values {
	out := url.Values{}
	for name, values := range query {
		out[name] = slices.Clone(values)
	}
	for i := 0; i < len(pairs); i += 2 {
		if out.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			out.Del(pairs[i])
		}
	}
	return out
}

// within tells whether a time is from one on and until another; zero bounds are none.
func within(at, from, until time.Time) bool {
	return (from.IsZero() || !at.Before(from)) && (until.IsZero() || !at.After(until))
}

// pick takes one of several in turn.
func pick[T any](n int, values ...T) T { return values[n%len(values)] }

// uuid is an identity that is the same each time.
func uuid(n int) string { return fmt.Sprintf("%08x-0c5a-4c1e-9d0b-%012x", n*2654435761%(1<<32), n) }

// millis is the layout of times with milliseconds.
const millis = "2006-01-02T15:04:05.000Z"

// sortByID sorts by time, and what is of one moment by its identity.
func sortByID(all []Entry) {
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
}

// byHappened sorts rows of CSV by their first field, a time; those of one moment by when they were updated.
func byHappened(all []Entry) {
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Compare(a.Body.([]string)[0], b.Body.([]string)[0]) })
}
