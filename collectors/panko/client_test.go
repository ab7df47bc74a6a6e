package panko

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/collectors/telemetry/telemetrytest"
	"stackstream/event"
	"stackstream/internal/openstack"
	"stackstream/internal/openstack/standin"
)

func TestAvailable(t *testing.T) {
	member := standin.Admin()
	member.Roles = []string{"member"}
	for _, tc := range []struct {
		name    string
		options standin.Options
		change  func(*Config)
		answer  http.HandlerFunc // of Panko
		kind    event.Kind
		want    string // empty: available
	}{
		{name: "password"},
		{name: "application credential by id", change: func(c *Config) {
			c.Auth = openstack.Auth{URL: address, ApplicationCredential: openstack.ApplicationCredential{
				ID: standin.Admin().Credential, Secret: event.Secret(standin.Admin().CredentialSecret)}}
		}},
		{name: "application credential by name", change: func(c *Config) {
			c.Auth = openstack.Auth{URL: address + "/v3/", User: "admin", Domain: "Default",
				ApplicationCredential: openstack.ApplicationCredential{
					Name: "stackstream", Secret: event.Secret(standin.Admin().CredentialSecret)}}
		}},
		{name: "endpoint in place of the catalogue", options: standin.Options{NoEventService: true},
			change: func(c *Config) { c.Endpoint = address + "/v2/" }},
		{name: "wrong password", change: func(c *Config) { c.Auth.Password = "guess" }, kind: event.Invalid,
			want: "answered 401: The request you have made requires authentication. (see user, domain, password and project below auth)"},
		{name: "wrong secret", kind: event.Invalid, change: func(c *Config) {
			c.Auth = openstack.Auth{URL: address, ApplicationCredential: openstack.ApplicationCredential{ID: "x", Secret: "guess"}}
		}, want: "(see auth.application_credential)"},
		{name: "not Keystone", change: func(c *Config) { c.Auth.URL = address + "/elsewhere" }, kind: event.Invalid,
			want: "/elsewhere answered 403: RBAC Authorization Failed (see auth)"},
		{name: "no event service", options: standin.Options{NoEventService: true}, kind: event.Invalid,
			want: `the catalogue has no service of the type "event", only identity (set endpoint where it is not registered)`},
		{name: "wrong region", change: func(c *Config) { c.Region = "RegionTwo" }, kind: event.Invalid,
			want: `it is not in the region "RegionTwo", only in RegionOne (see region)`},
		{name: "forbidden", kind: event.Invalid, want: "answered 403: RBAC Authorization Failed: the account may not read events",
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.Write([]byte(`{"error_message": {"code": 403, "title": "Forbidden", "description": "RBAC Authorization Failed"}}`))
			}},
		{name: "no token is good enough", kind: event.Invalid, want: "a token that Keystone has just given is not accepted",
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }},
		{name: "another service", kind: event.Invalid, want: "answered 404: 404 page not found (is this the events service? see endpoint)",
			answer: http.NotFound},
		{name: "a login page", kind: event.Invalid, want: "answered 200: the answer is no JSON but begins with \"<html>login</html>\" (is this the events service? see endpoint)",
			answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>login</html>")) }},
		{name: "down", kind: event.Unavailable, want: "answered 502: Bad Gateway",
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }},
		{name: "not an administrator", options: standin.Options{Accounts: []standin.Account{member}}, kind: event.Invalid,
			want: "the account has member (give it the role, or set all_tenants: false)"},
		{name: "not an administrator, and asking for no more", options: standin.Options{Accounts: []standin.Account{member}},
			change: func(c *Config) { c.AllTenants = false }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			service := standin.New(tc.options)
			service.Put(standin.RecordedEvents()...)
			if tc.answer != nil {
				service.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasPrefix(r.URL.Path, "/v2") {
						return false
					}
					tc.answer(w, r)
					return true
				})
			}
			src := local(t, service, tc.change)
			err := src.Available(t.Context())
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if event.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v (%v), want %q", err, event.KindOf(err), tc.want)
			}
			for _, secret := range []string{standin.Admin().Password, standin.Admin().CredentialSecret, "guess"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

func TestErrorsOfTheRecording(t *testing.T) {
	telemetrytest.ErrorsOfTheRecording(t, standin.Options{}, standin.Recorded(), func(t *testing.T, h http.Handler, x standin.Exchange) error {
		_, err := local(t, h, nil).Probe(t.Context())
		if lost := strings.Contains(err.Error(), "no longer knows the page before"); lost != (x.Name == "marker unknown") {
			t.Errorf("taken for a lost marker: %v", err)
		}
		return err
	})
}

func TestTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := standin.New(standin.Options{TokenLife: 10 * time.Minute})
		logins, refused := 0, 0
		service.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v3/auth/tokens" {
				logins++
			}
			return false
		})
		src := local(t, service, nil, httppoll.Hooks{Retry: func(string) { refused++ }})
		ask := func() {
			t.Helper()
			if _, err := src.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 60 {
			ask()
			time.Sleep(time.Minute)
		}
		// Each token is used for 8 of its 10 minutes: from 0, 8, 16, … to 56.
		if logins != 8 || refused != 0 {
			t.Errorf("%d logins, %d refused tokens in an hour of tokens of 10 minutes", logins, refused)
		}
		service.RevokeTokens()
		ask()
		if logins != 9 || refused != 1 {
			t.Errorf("after the token was revoked: %d logins, %d refused", logins, refused)
		}
	})
}

func TestRetriesWithinARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := standin.New(standin.Options{})
		telemetrytest.Numbered(t, service, 3)
		fails := 3
		service.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v2/events" || fails == 0 {
				return false
			}
			fails--
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		src := local(t, service, nil)
		var out telemetrytest.Sink
		if err := out.Once(t, src); err != nil || len(out.IDs()) != 3 {
			t.Fatalf("three errors in a row: %v, %d events", err, len(out.IDs()))
		}
		fails = 1000
		began := time.Now()
		if err := out.Once(t, src); !errors.Is(err, event.Unavailable) || fails != 1000-4 || time.Since(began) > time.Minute {
			t.Errorf("errors for good: %v after %d tries and %s", err, 1000-fails, time.Since(began))
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := standin.New(standin.Options{})
		service.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			status := http.StatusServiceUnavailable
			if r.URL.Path == "/v2/events" {
				status = http.StatusTooManyRequests
			}
			w.Header().Set("Retry-After", "77")
			w.WriteHeader(status)
			return true
		})
		check := func() {
			t.Helper()
			_, err := local(t, service, nil).Probe(t.Context())
			var asked *collectors.RetryAfter
			if !errors.As(err, &asked) || asked.After != 77*time.Second || !errors.Is(err, event.Unavailable) {
				t.Errorf("error is %v", err)
			}
		}
		check() // Keystone
		keystone := standin.New(standin.Options{})
		refuse := service
		service = keystone
		service.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/events" {
				refuse.ServeHTTP(w, r)
				return true
			}
			return false
		})
		check() // Panko
	})
}

func TestTheTokenIsNotShownToAnotherHost(t *testing.T) {
	shown := false
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		shown = shown || r.Header.Get("X-Auth-Token") != ""
	}))
	defer other.Close()
	service := standin.New(standin.Options{})
	service.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/events" {
			http.Redirect(w, r, other.URL+"/v2/events", http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	server := httptest.NewServer(service)
	defer server.Close()
	src, err := New(testConfig(server.URL), Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	err = src.Available(t.Context())
	if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "redirects to another host") {
		t.Errorf("error is %v", err)
	}
	if shown {
		t.Error("the token was shown to another host")
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(standin.New(standin.Options{}))
	server.Close()
	src, err := New(testConfig(server.URL), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Available(t.Context()); !errors.Is(err, event.Unavailable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := src.Available(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error after the end is %v", err)
	}
}

func TestHangingServiceTimesOut(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*openstack.HTTP)
		hang   func(w http.ResponseWriter)
	}{
		{"no first line", func(h *openstack.HTTP) { h.HeaderTimeout = 20 * time.Millisecond }, func(http.ResponseWriter) {}},
		{"no end", func(h *openstack.HTTP) { h.Timeout = 100 * time.Millisecond }, func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`[{"message_id": "a"}, `))
			w.(http.Flusher).Flush()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			service := standin.New(standin.Options{})
			over := make(chan struct{})
			service.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v2/events" {
					return false
				}
				tc.hang(w)
				select {
				case <-over:
				case <-r.Context().Done():
				}
				return true
			})
			server := httptest.NewServer(service)
			defer server.Close()
			defer close(over)
			cfg := testConfig(server.URL)
			tc.change(&cfg.HTTP)
			src, err := New(cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := src.Available(t.Context()); !errors.Is(err, event.Unavailable) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
