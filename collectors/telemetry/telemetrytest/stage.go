package telemetrytest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// stage is a stand-in over real HTTP whose events are those that the suite puts.
type stage struct {
	t       testing.TB
	service *standin.Service
	server  *httptest.Server

	mu    sync.Mutex
	last  time.Time
	n     int
	fails int
	down  bool
}

func (s *stage) put(n int) []event.ID {
	var ids []event.ID
	for range n {
		s.mu.Lock()
		s.last = s.last.Add(time.Millisecond)
		at := s.last
		s.mu.Unlock()
		ids = append(ids, s.add(at))
	}
	return ids
}

func (s *stage) late() event.ID {
	s.mu.Lock()
	at := s.last.Add(-2*time.Millisecond - 500*time.Microsecond)
	s.mu.Unlock()
	return s.add(at)
}

func (s *stage) add(at time.Time) event.ID {
	s.mu.Lock()
	s.n++
	id := fmt.Sprintf("event-%05d", s.n)
	s.mu.Unlock()
	s.service.Put(Made(s.t, id, at))
	return event.ID(id)
}

// look makes answers fail in turn: an error of Panko's, a connection that breaks off, a token that is not taken.
func (s *stage) look(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	if s.fails == 0 || r.URL.Path != "/v2/events" {
		return false
	}
	s.fails--
	switch s.fails % 3 {
	case 0:
		http.Error(w, `{"error_message": {"faultcode": "Server", "faultstring": "boom"}}`, http.StatusInternalServerError)
	case 1:
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`[{"message_id": "cut`))
	case 2:
		http.Error(w, `{"error": {"code": 401, "title": "Unauthorized"}}`, http.StatusUnauthorized)
	}
	return true
}

// Conformance is the harness of the suite that every source passes, for one that is built to ask the stand-in at an address.
func Conformance(
	t *testing.T, opts standin.Options, spec collectors.Spec, build func(address string) (collectors.Source, error),
) collectorstest.Harness {
	s := &stage{t: t, service: standin.New(opts), last: time.Now().Add(-5 * time.Second)}
	s.service.Intercept(s.look)
	s.server = httptest.NewServer(s.service)
	t.Cleanup(s.server.Close)
	return collectorstest.Harness{
		Source: func() (collectors.Source, error) { return build(s.server.URL) }, Spec: spec, Put: s.put, Late: s.late,
		Fail: func(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.fails = n },
		Down: func(down bool) { s.mu.Lock(); defer s.mu.Unlock(); s.down = down },
	}
}
