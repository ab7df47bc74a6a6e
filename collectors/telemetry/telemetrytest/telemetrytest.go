// Package telemetrytest is what the tests of panko and ceilometer have in common.
package telemetrytest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/openstack"
	"stackstream/internal/openstack/standin"
)

// Address is where InProcess seems to be.
const Address = "http://openstack.test"

// TimeFormat is how a time is sent, and how these services write one.
const TimeFormat = "2006-01-02T15:04:05.000000"

// InProcess is a client that calls the handler in place of a network, so that virtual time works.
func InProcess(h http.Handler) *http.Client { return &http.Client{Transport: inProcess{h}} }

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

// Auth is the login of the stand-in's administrator.
func Auth(url string) openstack.Auth {
	who := standin.Admin()
	return openstack.Auth{
		URL: url + "/v3", User: who.User, Domain: who.Domain, Password: event.Secret(who.Password), Project: who.Project,
	}
}

// Sink takes batches as the loop would, and keeps what a restart would begin with.
type Sink struct {
	Batches []collectors.Batch
	From    event.From
}

// Emit takes a batch.
func (s *Sink) Emit(_ context.Context, b collectors.Batch) error {
	s.Batches = append(s.Batches, b)
	if b.Cursor != nil {
		s.From.Cursor = b.Cursor
	}
	if b.Floor.After(s.From.Floor) {
		s.From.Floor = b.Floor
	}
	return nil
}

// Events are all that came.
func (s *Sink) Events() []event.Raw {
	var out []event.Raw
	for _, b := range s.Batches {
		out = append(out, b.Events...)
	}
	return out
}

// IDs are those of Events.
func (s *Sink) IDs() []string {
	var out []string
	for _, e := range s.Events() {
		out = append(out, string(e.ID))
	}
	return out
}

// Once is one run from where the sink stands.
func (s *Sink) Once(t testing.TB, src interface {
	Fetch(context.Context, event.From, collectors.Emit) error
}) error {
	t.Helper()
	return src.Fetch(t.Context(), s.From, s.Emit)
}

// Want compares identities, or queries.
func Want(t testing.TB, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Made is an event with nothing but what matters here.
func Made(t testing.TB, id string, at time.Time) standin.Event {
	t.Helper()
	e, err := standin.ParseEvent(fmt.Appendf(nil,
		`{"message_id": %q, "event_type": "test.%s", "generated": %q, "traits": [], "raw": {}}`,
		id, id, at.UTC().Format(TimeFormat)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Numbered puts n events a second apart that end a minute ago, and returns their ids.
func Numbered(t testing.TB, s *standin.Service, n int) []string {
	t.Helper()
	var ids []string
	first := time.Now().Add(-time.Minute - time.Duration(n)*time.Second)
	for i := range n {
		id := fmt.Sprintf("e%04d", i)
		s.Put(Made(t, id, first.Add(time.Duration(i)*time.Second)))
		ids = append(ids, id)
	}
	return ids
}

// Queries records what is asked for.
func Queries(s *standin.Service) *[]string {
	var asked []string
	s.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/events" {
			asked = append(asked, r.URL.RawQuery)
		}
		return false
	})
	return &asked
}

// ErrorsOfTheRecording reads every error that the real service gave; ask asks a handler that answers with it. None may be taken for
// the end, and all must be fit to be read.
func ErrorsOfTheRecording(
	t *testing.T, opts standin.Options, recorded []standin.Exchange, ask func(*testing.T, http.Handler, standin.Exchange) error,
) {
	seen := 0
	for _, x := range recorded {
		if x.Response.Status < 400 {
			continue
		}
		seen++
		t.Run(x.Name, func(t *testing.T) {
			s := standin.New(opts)
			Answer(s, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(x.Response.Status)
				_, _ = w.Write([]byte(x.Response.Body))
			})
			err := ask(t, s, x)
			want := event.Invalid
			if x.Response.Status >= 500 {
				want = event.Unavailable
			}
			if !errors.Is(err, want) || !strings.Contains(err.Error(), fmt.Sprintf("answered %d: ", x.Response.Status)) {
				t.Errorf("error is %v, want the kind %v", err, want)
			}
			if strings.ContainsAny(err.Error(), "<>\n") || len(err.Error()) > 700 {
				t.Errorf("the error is not readable: %v", err)
			}
		})
	}
	if seen < 15 {
		t.Errorf("only %d errors were read", seen)
	}
}

// Answer makes a function answer for the service.
func Answer(s *standin.Service, f http.HandlerFunc) {
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v2/events" {
			return false
		}
		f(w, r)
		return true
	})
}

// Counter counts by name; it may be used by several goroutines.
type Counter struct {
	mu sync.Mutex
	n  map[string]int
}

// Add counts.
func (c *Counter) Add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[name] += n
}

// Get is how much was counted.
func (c *Counter) Get(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

// Hooks count everything.
func (c *Counter) Hooks() httppoll.Hooks {
	return httppoll.Hooks{
		Page:  func(int, int64, time.Duration) { c.Add("page", 1) },
		Retry: func(why string) { c.Add(why, 1) },
		Odd:   c.Add,
	}
}
