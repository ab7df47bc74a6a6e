package author_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	vcr "gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"

	"stackstream/internal/app"
	"stackstream/internal/app/author"
	"stackstream/internal/app/author/authortest"
	"stackstream/internal/app/config"
	"stackstream/internal/cassette"
)

var begin = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// subject is the one of a configuration file.
func subject(t *testing.T, path string) *author.Subject {
	t.Helper()
	cfg, err := config.Reader{Kinds: app.Kinds(), Env: func(string) (string, bool) { return "", false }}.File(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := author.Choose(cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Version = "test"
	return s
}

// recorded records a service, so many runs, and returns its configuration and the cassette's path.
func recorded(t *testing.T, service *authortest.Service, runs int) (cfg, path string) {
	t.Helper()
	server := httptest.NewServer(service)
	defer server.Close()
	dir := t.TempDir()
	cfg, err := service.Configuration(dir, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := subject(t, cfg).Record(t.Context(), runs, func(int, author.Recorded) {})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "c.yaml")
	if err := c.Save(path, false); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"password", "key", "token"} {
		if err := os.Remove(filepath.Join(dir, secret)); err != nil {
			t.Fatal(err)
		}
	}
	return cfg, path
}

// Whatever the service wants to know one by, no secret is in the cassette, in any spelling, and it plays back without them.
func TestNoSecretIsKept(t *testing.T) {
	var spellings []string
	for _, secret := range authortest.All() {
		spellings = append(spellings, cassette.Spellings(secret)...)
	}
	for _, auth := range []string{"none", "bearer", "basic", "header", "query", "oauth2", "keystone", "session", "session-query", "session-cookie"} {
		for _, paging := range []string{"none", "page", "offset", "token", "next_url", "link_header", "marker"} {
			if auth != "bearer" && paging != "next_url" {
				continue
			}
			t.Run(auth+" "+paging, func(t *testing.T) {
				t.Parallel()
				service := authortest.New(25, begin)
				service.Auth, service.Paging, service.Details = auth, paging, paging == "next_url"
				cfg, path := recorded(t, service, 2)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for _, secret := range spellings {
					if i := strings.Index(string(data), secret); i >= 0 {
						t.Errorf("the cassette has %q: …%s…", secret, data[max(0, i-80):min(len(data), i+80)])
					}
				}
				if _, err := vcr.Load(strings.TrimSuffix(path, ".yaml")); err != nil {
					t.Errorf("go-vcr does not read it: %v", err)
				}
				c, err := cassette.Load(path)
				if err != nil {
					t.Fatal(err)
				}
				replay, err := subject(t, cfg).Replay(t.Context(), c, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				var ids []string
				for _, e := range replay.Events {
					ids = append(ids, e.ID)
				}
				if len(ids) != 25 || !slices.IsSorted(ids) || replay.Unused > 0 {
					t.Errorf("%d events, %d unused answers", len(ids), replay.Unused)
				}
			})
		}
	}
}
