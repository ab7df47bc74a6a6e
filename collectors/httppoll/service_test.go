package httppoll

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/timeform"
)

// rec is a record of the service.
type rec struct {
	ID  string
	N   int64
	At  time.Time
	Seq int // in which order it came to be there
}

// service is an event service with every way to ask for pages, and every way to misbehave.
type service struct {
	mu      sync.Mutex
	records []rec
	n       int
	size    int    // of a page
	more    int    // how many times that, at most, may be asked for
	order   string // ascending, descending, or anything else: as they came to be there
	paging  string // of Pagination
	strict  bool   // from is exclusive
	form    timeform.Form
	seen    []*http.Request
	// intercept answers in place of the service, if it returns true.
	intercept func(w http.ResponseWriter, r *http.Request) bool
	// behind is called after each page that was answered.
	behind func()
}

func newService() *service {
	return &service{size: 7, more: 20, order: "ascending", paging: PageToken, form: timeform.RFC3339}
}

func (s *service) put(at time.Time) rec {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	r := rec{ID: fmt.Sprintf("e%04d", s.n), N: int64(s.n), At: at, Seq: s.n}
	s.records = append(s.records, r)
	return r
}

// shown are the records that a request is answered with, in order.
func (s *service) shown(r *http.Request) []rec {
	all := slices.Clone(s.records)
	if from := r.URL.Query().Get("from"); from != "" {
		at, err := s.form.Parse(from)
		if err != nil {
			panic(err)
		}
		all = slices.DeleteFunc(all, func(e rec) bool { return e.At.Before(at) || s.strict && e.At.Equal(at) })
	}
	if until := r.URL.Query().Get("until"); until != "" {
		at, err := s.form.Parse(until)
		if err != nil {
			panic(err)
		}
		all = slices.DeleteFunc(all, func(e rec) bool { return !e.At.Before(at) })
	}
	if after := r.URL.Query().Get("after_number"); after != "" {
		n, _ := strconv.ParseInt(after, 10, 64)
		all = slices.DeleteFunc(all, func(e rec) bool { return e.N < n || s.strict && e.N == n })
	}
	slices.SortStableFunc(all, func(a, b rec) int {
		switch s.order {
		case "ascending":
			return a.At.Compare(b.At)
		case "descending":
			return b.At.Compare(a.At)
		}
		return a.Seq - b.Seq
	})
	return all
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, r)
	intercept := s.intercept
	s.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	s.answer(w, r)
	if s.behind != nil {
		s.behind()
	}
}

func (s *service) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.shown(r)
	query := r.URL.Query()
	start, size := 0, s.size
	switch s.paging {
	case PageTime:
		if limit, _ := strconv.Atoi(query.Get("limit")); limit > 0 {
			size = min(limit, s.size*s.more)
		}
	case PageNumber:
		n, _ := strconv.Atoi(query.Get("page"))
		start = max(n-1, 0) * s.size
	case PageOffset, PageToken, PageURL, PageLink:
		start, _ = strconv.Atoi(query.Get("at"))
	case PageMarker:
		if marker := query.Get("marker"); marker != "" {
			i := slices.IndexFunc(all, func(e rec) bool { return e.ID == marker })
			if i < 0 {
				http.Error(w, `{"error": "marker not found"}`, http.StatusBadRequest)
				return
			}
			start = i + 1
		}
	}
	start = min(start, len(all))
	end := min(start+size, len(all))
	if s.paging == PageNone {
		start, end = 0, len(all)
	}
	body := map[string]any{"events": []any{}, "more": end < len(all)}
	var events []any
	for _, e := range all[start:end] {
		events = append(events, map[string]any{"id": e.ID, "n": e.N, "at": s.form.Format(e.At), "type": "thing.done"})
	}
	if events != nil {
		body["events"] = events
	}
	if end < len(all) {
		next := *r.URL
		q := next.Query()
		q.Set("at", strconv.Itoa(end))
		next.RawQuery = q.Encode()
		switch s.paging {
		case PageToken:
			body["next"] = strconv.Itoa(end)
		case PageURL:
			body["next"] = next.RequestURI()
		case PageLink:
			w.Header().Set("Link", `<http://`+r.Host+`/events?x=1>; rel="prev", <`+next.RequestURI()+`>; title="a, b"; rel="next"`)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// configured is a configuration for the service at an address.
func configured(address string, s *service) Config {
	c := Default()
	c.Request.URL = address + "/events"
	c.Records.Path = "events"
	c.Cursor = Cursor{
		Type: CursorTime, Field: "at", Format: timeform.Forms{s.form}, Boundary: "inclusive", Order: s.order, Overlap: 30 * time.Second,
		Send: Send{In: "query", Name: "from"},
	}
	if s.strict {
		c.Cursor.Boundary = "exclusive"
	}
	c.Event.ID, c.Event.Type = "rec.id", "rec.type"
	c.Pagination.Type = s.paging
	switch s.paging {
	case PageNumber:
		c.Pagination.Send.Name = "page"
	case PageOffset:
		c.Pagination.Send.Name = "at"
	case PageToken:
		c.Pagination.Send.Name, c.Pagination.From = "at", "body.?next"
	case PageTime:
		c.Pagination.Size, c.Pagination.SendSize, c.Pagination.MaxSize = s.size, "limit", s.size*s.more
		if s.order != "ascending" {
			c.Cursor.Send.Until = "until"
		}
	case PageURL:
		c.Pagination.From = "body.?next"
	case PageMarker:
		c.Pagination.Send.Name, c.Pagination.From = "marker", "last.id"
	}
	c.Schedule.Every, c.Schedule.Jitter = 10*time.Second, 0
	return c
}

// direct is a transport that asks a handler, without a network, so that time may be virtual.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// local makes a source of a configuration whose requests go to a handler.
func local(t *testing.T, cfg Config, handler http.Handler) *Source {
	t.Helper()
	if found := cfg.Validate(); len(found) > 0 {
		t.Fatalf("the configuration: %v", found)
	}
	s, err := newSource(cfg, Options{Version: "test", Format: "http/test"}, &http.Client{Transport: direct{handler}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sink takes what a source hands over, as the loop would: known events are left out, and the cursor goes with them.
type sink struct {
	t        *testing.T
	from     event.From
	ids      []event.ID
	known    map[event.ID]bool
	repeats  int
	filtered int
	marks    []time.Time
	fresh    bool // partitions come that have events from before the floor
}

func newSink(t *testing.T) *sink { return &sink{t: t, known: map[event.ID]bool{}} }

func (s *sink) emit(_ context.Context, b collectors.Batch) error {
	for _, e := range b.Events {
		if s.known[e.ID] {
			s.repeats++
			continue
		}
		if !s.fresh && !e.Time.IsZero() && e.Time.Before(s.from.Floor) {
			s.t.Errorf("%s of %s was handed over, and nothing before %s was to be", e.ID, e.Time, s.from.Floor)
		}
		s.known[e.ID] = true
		s.ids = append(s.ids, e.ID)
	}
	if s.filtered += b.Filtered; b.Cursor != nil {
		s.from.Cursor = b.Cursor
	}
	if !s.fresh && !b.Floor.IsZero() && b.Floor.Before(s.from.Floor) {
		s.t.Errorf("the floor moves back from %s to %s", s.from.Floor, b.Floor)
	}
	if b.Floor.After(s.from.Floor) {
		s.from.Floor = b.Floor
	}
	if !b.Watermark.IsZero() {
		s.marks = append(s.marks, b.Watermark)
	}
	return nil
}

// wantAll fails the test unless everything came that the service has.
func (s *sink) wantAll(service *service) {
	s.t.Helper()
	for _, e := range service.records {
		if !s.known[event.ID(e.ID)] {
			s.t.Errorf("%s of %s is missing", e.ID, e.At)
		}
	}
	if len(s.ids) != len(service.records) {
		s.t.Errorf("%d came, the service has %d", len(s.ids), len(service.records))
	}
}
