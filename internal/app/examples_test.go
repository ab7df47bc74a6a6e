package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/mapping"
	"stackstream/normalizer/httpevent"
	"stackstream/normalizer/normalizertest"
)

// documented is the service of docs/http.md, made from what is quoted there of its documentation.
func documented(events int, token string) http.Handler {
	type entry struct {
		ID      string            `json:"id"`
		Created time.Time         `json:"created"`
		Kind    string            `json:"kind"`
		By      map[string]string `json:"by"`
		Server  string            `json:"server"`
	}
	var all []entry
	for i := range events {
		all = append(all, entry{
			fmt.Sprintf("e-%d", i+1), time.Date(2026, 1, 2, 15, 4, i, 0, time.UTC), "server.created", map[string]string{"user": "ann"},
			fmt.Sprintf("s-%d", i+1),
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		limit, _ := strconv.Atoi(query.Get("limit"))
		if r.URL.Path != "/v1/events" || r.Header.Get("Authorization") != "Bearer "+token || limit == 0 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		from, _ := time.Parse(time.RFC3339, query.Get("time_from"))
		after := query.Get("after")
		page := []entry{}
		for _, e := range all {
			if after == "" && !e.Created.Before(from) && len(page) < min(limit, 7) {
				page = append(page, e)
			}
			if e.ID == after {
				after = ""
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"events": page})
	})
}

// What docs/http.md shows collects every event of the service that it describes, and makes of each what it says.
func TestDocumentedServiceIsCollected(t *testing.T) {
	const events = 40
	server := httptest.NewServer(documented(events, "secret"))
	defer server.Close()
	cfg, err := config.Reader{Kinds: app.Kinds()}.File("../../examples/http/time-from.yaml")
	if err != nil {
		t.Fatal(err)
	}
	settings := cfg.Providers["my-service"].Sources[httppoll.Kind].(*httppoll.Config)
	settings.Request.URL = server.URL + "/v1/events"
	settings.Auth.Bearer.TokenFile = filepath.Join(t.TempDir(), settings.Auth.Bearer.TokenFile)
	if err := os.WriteFile(settings.Auth.Bearer.TokenFile, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := httppoll.New(*settings, httppoll.Options{Version: "test", Format: httpevent.Format("my-service")})
	if err != nil {
		t.Fatal(err)
	}
	if err := source.Available(t.Context()); err != nil {
		t.Fatal(err)
	}

	log := collectorstest.NewLog()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loop := collectors.Loop{
		Provider: "my-service", Name: httppoll.Kind, Source: source, Spec: settings.Spec(), Memory: log, Log: zerolog.Nop(),
		Writer: log.NewWriter("my-service", httppoll.Kind, event.Fence{}), Options: collectors.Options{Heartbeat: 10 * time.Millisecond},
	}
	loop.Hooks.Committed = func(_ event.Provider, _ event.Source, c collectors.Commit) {
		if !c.Progress.Watermark.IsZero() {
			stop() // a run is over
		}
	}
	if err := loop.Run(ctx); err != nil {
		t.Fatal(err)
	}
	m, mistakes := mapping.Compile(settings.Event)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	converter := httpevent.New(normalizertest.Rules(t), m)
	got := log.Events("my-service")
	if len(got) != events {
		t.Fatalf("%d of %d events were collected", len(got), events)
	}
	for i, raw := range got {
		converted, err := converter.Convert(raw.Raw)
		if err != nil {
			t.Fatal(err)
		}
		e := converted.Events[0]
		if e.MessageID != fmt.Sprintf("e-%d", i+1) || e.EventType != "server.created" || e.Context.UserName != "ann" ||
			len(e.Targets) != 1 || e.Targets[0] != (event.Target{Kind: "server", ID: fmt.Sprintf("s-%d", i+1)}) ||
			!e.Timestamp.Time().Equal(time.Date(2026, 1, 2, 15, 4, i, 0, time.UTC)) {
			t.Errorf("event %d is %+v", i+1, e)
		}
	}
}
