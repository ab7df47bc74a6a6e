package panko

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/openstack"
	"stackstream/internal/openstack/standin"
)

// inProcess is a transport that calls the handler in place of a network, so that virtual time works.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

// testConfig is a valid configuration for the stand-in at a URL.
func testConfig(url string) Config {
	cfg := Default()
	who := standin.Admin()
	cfg.Auth = openstack.Auth{
		URL: url + "/v3", User: who.User, Domain: who.Domain, Password: event.Secret(who.Password), Project: who.Project,
	}
	cfg.Jitter = 0
	return cfg
}

const address = "http://openstack.test"

// local makes a source that talks to a handler without a network.
func local(t *testing.T, h http.Handler, change func(*Config)) *Source {
	t.Helper()
	cfg := testConfig(address)
	if change != nil {
		change(&cfg)
	}
	if found := cfg.Validate(); len(found) > 0 {
		t.Fatalf("configuration: %v", found)
	}
	s, err := newSource(cfg, Options{Version: "test"}, &http.Client{Transport: inProcess{h}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sink takes batches as the loop would, and keeps what a restart would begin with.
type sink struct {
	batches []collectors.Batch
	from    event.From
}

func (s *sink) emit(_ context.Context, b collectors.Batch) error {
	s.batches = append(s.batches, b)
	if b.Cursor != nil {
		s.from.Cursor = b.Cursor
	}
	if b.Floor.After(s.from.Floor) {
		s.from.Floor = b.Floor
	}
	return nil
}

func (s *sink) events() []event.Raw {
	var out []event.Raw
	for _, b := range s.batches {
		out = append(out, b.Events...)
	}
	return out
}

func (s *sink) ids() []string {
	var out []string
	for _, e := range s.events() {
		out = append(out, string(e.ID))
	}
	return out
}

// once runs one fetch from where the sink stands.
func (s *sink) once(t *testing.T, src *Source) error {
	t.Helper()
	return src.fetch(t.Context(), s.from, s.emit)
}

// made is an event with nothing but what matters here.
func made(t *testing.T, id string, at time.Time) standin.Event {
	t.Helper()
	e, err := standin.ParseEvent(fmt.Appendf(nil,
		`{"message_id": %q, "event_type": "test.%s", "generated": %q, "traits": [], "raw": {}}`,
		id, id, at.UTC().Format(timeFormat)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// counter counts by name; it may be used by several goroutines.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[name] += n
}

func (c *counter) get(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

// hooks counts everything.
func (c *counter) hooks() Hooks {
	return Hooks{
		Page:  func(int, int64, time.Duration) { c.add("page", 1) },
		Retry: func(why string) { c.add(why, 1) },
		Odd:   c.add,
	}
}
