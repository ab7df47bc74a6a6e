package author_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/internal/app/author"
	"stackstream/internal/app/author/authortest"
	"stackstream/internal/cassette"
)

// limited refuses some of the requests for events.
type limited struct {
	*authortest.Service
	refuse func(n int64, w http.ResponseWriter) bool
	n      atomic.Int64
}

func (l *limited) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/events" && l.refuse(l.n.Add(1), w) {
		return
	}
	l.Service.ServeHTTP(w, r)
}

// A conversation in which the service wanted a pause, or did not know us any more, plays back as it went, also where nobody kept the
// times of its runs.
func TestConversationsWithLimits(t *testing.T) {
	for name, refuse := range map[string]func(n int64, w http.ResponseWriter) bool{
		"429 at once":   func(n int64, w http.ResponseWriter) bool { return n == 1 && refused(w, 429, "1") },
		"429 in a run":  func(n int64, w http.ResponseWriter) bool { return n == 2 && refused(w, 429, "1") },
		"401 in a run":  func(n int64, w http.ResponseWriter) bool { return n == 2 && refused(w, 401, "") },
		"500 for a run": func(n int64, w http.ResponseWriter) bool { return n >= 2 && n < 7 && refused(w, 500, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := &limited{Service: authortest.New(25, time.Now().Add(-time.Hour)), refuse: refuse}
			service.Auth, service.Paging = "oauth2", "token"
			server := httptest.NewServer(service)
			defer server.Close()
			cfg, err := service.Configuration(t.TempDir(), server.URL)
			if err != nil {
				t.Fatal(err)
			}
			var runs []author.Recorded
			c, err := subject(t, cfg).Record(t.Context(), 2, func(_ int, r author.Recorded) { runs = append(runs, r) })
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				s := subject(t, cfg)
				replay, err := s.Replay(t.Context(), c, time.Time{})
				if err != nil || len(replay.Events) != 25 || replay.Unused > 0 {
					t.Fatalf("recorded %v, played back %d events in %d runs, %d answers are left (%v)", c.Recorded, len(replay.Events), len(replay.Runs),
						replay.Unused, err)
				}
				tests, err := s.Faults(t.Context(), c, replay, 1)
				if err != nil || !tests.OK() {
					t.Errorf("%+v (%v)", tests, err)
				}
				c = &cassette.Cassette{Version: c.Version, Interactions: c.Interactions}
			}
		})
	}
}

func refused(w http.ResponseWriter, status int, after string) bool {
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	w.WriteHeader(status)
	return true
}
