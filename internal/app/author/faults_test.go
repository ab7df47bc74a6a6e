package author_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"stackstream/internal/app/author"
	"stackstream/internal/app/author/authortest"
	"stackstream/internal/cassette"
)

// faults records a service, plays it back with faults, and returns what came of them.
func faults(t *testing.T, cfg, path string, places int) *author.Tests {
	t.Helper()
	c, err := cassette.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s := subject(t, cfg)
	replay, err := s.Replay(t.Context(), c, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	tests, err := s.Faults(t.Context(), c, replay, places)
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// A configuration that is right survives every fault, with every way to ask for pages and every order.
func TestFaultsAreSurvived(t *testing.T) {
	for _, paging := range []string{"none", "page", "offset", "token", "next_url", "link_header", "marker"} {
		for _, descending := range []bool{false, true} {
			if descending && paging != "token" && paging != "page" {
				continue
			}
			name := paging
			if descending {
				name += " descending"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				service := authortest.New(25, time.Now().Add(-time.Hour))
				service.Auth, service.Paging, service.Descending = "oauth2", paging, descending
				cfg, path := recorded(t, service, 2)
				tests := faults(t, cfg, path, 2)
				var out bytes.Buffer
				if err := tests.Write(&out); err != nil {
					t.Fatal(err)
				}
				if !tests.OK() {
					t.Error(out.String())
				}
				_ = out
			})
		}
	}
}

// Further requests for each record, and parts that a request lists, are in the conversation too, and faults happen to them.
func TestFaultsOfFurtherRequests(t *testing.T) {
	for _, descending := range []bool{false, true} {
		service := authortest.New(15, time.Now().Add(-time.Hour))
		service.Auth, service.Paging, service.Size, service.Descending = "session", "token", 4, descending
		service.Details, service.Regions = true, []string{"north", "south"}
		cfg, path := recorded(t, service, 2)
		tests := faults(t, cfg, path, 3)
		var out bytes.Buffer
		if err := tests.Write(&out); err != nil {
			t.Fatal(err)
		}
		if !tests.OK() {
			t.Error(out.String())
		}
		for _, k := range tests.Kinds {
			if k.Fault == "500" && k.All < 15+2*2+1 {
				t.Errorf("only %d places", k.All)
			}
		}
	}
}

// What loses or repeats events when something goes wrong is found, and what it is.
func TestCarelessConfigurations(t *testing.T) {
	for name, test := range map[string]struct {
		paging, from, to string // what of the configuration is replaced
		descending       bool
		fault, want      string
	}{
		"an error is taken for the end": {
			"token", "event: {id", "retry: {on: {5xx: empty}}\n      event: {id", true, "500", "lost         e-015",
		},
		"a login that is refused is taken for the end": {
			"next_url", "event: {id", "retry: {on: {'401': empty}}\n      event: {id", true, "401", "lost         e-015",
		},
		"one identity for all": {"none", "id: rec.id", "id: rec.kind", false, "none", "lost         server."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := authortest.New(25, time.Now().Add(-time.Hour))
			service.Auth, service.Paging, service.Descending = "basic", test.paging, test.descending
			cfg, path := recorded(t, service, 1)
			text, err := os.ReadFile(cfg)
			if err != nil {
				t.Fatal(err)
			}
			careless := strings.Replace(strings.Replace(string(text), test.from, test.to, 1), "overlap: 1m", "overlap: 1s", 1)
			if err := os.WriteFile(cfg, []byte(careless), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			tests := faults(t, cfg, path, 3)
			if err := tests.Write(&out); err != nil {
				t.Fatal(err)
			}
			if tests.OK() || !strings.Contains(out.String(), "\n"+test.fault+", request") || !strings.Contains(out.String(), test.want) {
				t.Errorf("the fault %s is survived, or does not lose what it should (%s):\n%s", test.fault, test.want, out.String())
			}
		})
	}
}
