package openstack

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/openstack/standin"
)

// serve returns an address where the handler answers, and a client for it.
func serve(t *testing.T, h http.Handler) (string, *http.Client) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	client, err := DefaultHTTP().NewClient()
	if err != nil {
		t.Fatal(err)
	}
	return server.URL, client
}

func adminAt(url string) Auth {
	a := standin.Admin()
	return Auth{URL: url, User: a.User, DomainID: a.DomainID, Password: event.Secret(a.Password), ProjectID: a.ProjectID}
}

func TestOneLoginForMany(t *testing.T) {
	service := standin.New(standin.Options{})
	var logins atomic.Int32
	service.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v3/auth/tokens" {
			logins.Add(1)
		}
		return false
	})
	url, client := serve(t, service)
	s := NewSession(adminAt(url), client, "test/1")
	all := func(get func() (*Token, error)) (first *Token) {
		var mu sync.Mutex
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				token, err := get()
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if first == nil {
					first = token
				} else if token.ID != first.ID {
					t.Error("two tokens were given out at the same time")
				}
			})
		}
		group.Wait()
		return first
	}
	first := all(func() (*Token, error) { return s.Token(t.Context()) })
	if logins.Load() != 1 {
		t.Errorf("%d logins for one token", logins.Load())
	}
	second := all(func() (*Token, error) { return s.Renew(t.Context(), first) })
	if logins.Load() != 2 || second.ID == first.ID {
		t.Errorf("%d logins after one refusal", logins.Load())
	}
	if strings.Join(second.Roles, " ") != "member reader admin" {
		t.Errorf("roles are %v", second.Roles)
	}
}

func TestTheSecretFileIsReadAgain(t *testing.T) {
	url, client := serve(t, standin.New(standin.Options{}))
	auth := adminAt(url)
	auth.Password, auth.PasswordFile = "", filepath.Join(t.TempDir(), "password")
	s := NewSession(auth, client, "test/1")
	if _, err := s.Token(t.Context()); !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "auth.password_file") {
		t.Errorf("no file: %v", err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(auth.PasswordFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("\n")
	if _, err := s.Token(t.Context()); !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("empty file: %v", err)
	}
	write("not the one\n")
	if _, err := s.Token(t.Context()); !errors.Is(err, event.Invalid) {
		t.Errorf("wrong password: %v", err)
	}
	write(standin.Admin().Password + "\n")
	if _, err := s.Token(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKeystoneErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		kind   event.Kind
		want   string
	}{
		{"404", http.NotFound, event.Invalid, "answered 404: 404 page not found (is auth.url the address of Keystone, version 3?)"},
		{"503", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) }, event.Unavailable, "answered 503: busy"},
		{"it repeats the password", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error": {"message": "'`+standin.Admin().Password+`' is not valid"}}`, http.StatusBadRequest)
		}, event.Invalid, "answered 400: 'redacted' is not valid (see auth)"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte("<html>"))
		}, event.Invalid, "does not answer in JSON"},
		{"no token", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"token": {}}`))
		}, event.Invalid, "answered without a token"},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			for range maxKeystone/1024 + 1 {
				_, _ = w.Write([]byte(strings.Repeat(" ", 1024)))
			}
		}, event.Invalid, "auth.url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, client := serve(t, tc.answer)
			_, err := NewSession(adminAt(url), client, "test/1").Token(t.Context())
			if event.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), standin.Admin().Password) {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestWaitingForATokenEndsWithTheContext(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	url, client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		w.WriteHeader(http.StatusBadGateway)
	}))
	s := NewSession(adminAt(url), client, "test/1")
	first := make(chan error, 1)
	go func() {
		_, err := s.Token(context.Background())
		first <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Token(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	close(leave)
	if err := <-first; !errors.Is(err, event.Unavailable) {
		t.Errorf("error is %v", err)
	}
}

func TestRedirects(t *testing.T) {
	_, other := serve(t, http.NotFoundHandler())
	for _, tc := range []struct {
		name, from, to string
		followed       bool
	}{
		{"another path", "https://a:1/v2/events", "https://a:1/v2/events/", true},
		{"to https", "http://a/v2", "https://a/v2", true},
		{"back to http", "https://a/v2", "http://a/v2", false},
		{"another host", "https://a/v2", "https://b/v2", false},
		{"another port", "http://a:1/v2", "http://a:2/v2", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			from, next := httptest.NewRequest(http.MethodGet, tc.from, nil), httptest.NewRequest(http.MethodGet, tc.to, nil)
			if err := other.CheckRedirect(next, []*http.Request{from}); (err == nil) != tc.followed {
				t.Errorf("error is %v", err)
			}
		})
	}
	from := httptest.NewRequest(http.MethodGet, "https://a/v2", nil)
	if err := other.CheckRedirect(from, []*http.Request{from, from, from, from, from, from}); err == nil {
		t.Error("redirects are followed without end")
	}
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestTLSIsChecked(t *testing.T) {
	server := httptest.NewUnstartedServer(standin.New(standin.Options{}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake is what the test wants
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := DefaultHTTP().NewClient()
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewSession(adminAt(server.URL), client, "test/1").Token(t.Context())
	if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "see http.tls") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(server), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := DefaultHTTP()
	conf.TLS.CAFile = ca
	if client, err = conf.NewClient(); err != nil {
		t.Fatal(err)
	}
	if _, err = NewSession(adminAt(server.URL), client, "test/1").Token(t.Context()); err != nil {
		t.Errorf("with its certificate trusted: %v", err)
	}
}

func TestProxy(t *testing.T) {
	var through atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		through.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTP_PROXY", proxy.URL)
	ask := func(p string) {
		conf := DefaultHTTP()
		conf.Proxy, conf.ConnectTimeout, conf.Timeout = p, time.Second, time.Second
		client, err := conf.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewSession(adminAt("http://openstack.invalid"), client, "test/1").Token(t.Context())
		if !errors.Is(err, event.Unavailable) {
			t.Errorf("proxy %q: %v", p, err)
		}
	}
	ask("")
	if through.Load() != 0 {
		t.Error("the environment's proxy was used without being asked for")
	}
	ask(proxy.URL)
	if through.Load() != 1 {
		t.Error("the proxy was not used")
	}
}

// A whole catalogue is not kept, only what is looked for.
func TestFinds(t *testing.T) {
	url, client := serve(t, standin.New(standin.Options{}))
	nothing, err := NewSession(adminAt(url), client, "test/1").Token(t.Context())
	if err != nil || len(nothing.services)+len(nothing.catalog) > 0 {
		t.Errorf("who looks for nothing keeps %+v (%v)", nothing, err)
	}
	token, err := NewSession(adminAt(url), client, "test/1").Finds("event").Token(t.Context())
	if err != nil || len(token.catalog) != 1 || len(token.services) < 2 {
		t.Fatalf("kept is %+v (%v)", token, err)
	}
	if at, err := token.Endpoint(Location{Service: "event"}); err != nil || at == "" {
		t.Errorf("the events service is at %q (%v)", at, err)
	}
	if _, err := token.Endpoint(Location{Service: "metering"}); !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "event") {
		t.Errorf("what is not there: %v", err)
	}
}

// Clients with the same settings share connections, as long as one of them is there.
func TestClientsShare(t *testing.T) {
	var clients *Clients
	make2 := func(a, b HTTP) bool {
		t.Helper()
		x, err := clients.New(a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := clients.New(b)
		if err != nil {
			t.Fatal(err)
		}
		if y.Timeout != b.Timeout {
			t.Errorf("the limit is %s, want %s", y.Timeout, b.Timeout)
		}
		return x.Transport == y.Transport
	}
	usual, slow, proxied, named := DefaultHTTP(), DefaultHTTP(), DefaultHTTP(), DefaultHTTP()
	if make2(usual, usual) {
		t.Error("without a pool they share one")
	}
	clients = NewClients()
	slow.Timeout *= 2
	proxied.Proxy = "http://proxy.invalid:3128"
	named.TLS.ServerName = "cloud.invalid"
	if !make2(usual, usual) || !make2(usual, slow) {
		t.Error("clients with the same settings do not share")
	}
	if make2(usual, proxied) || make2(usual, named) || make2(proxied, named) {
		t.Error("clients with different settings share")
	}
	runtime.GC()
	runtime.GC()
	if _, err := clients.New(proxied); err != nil || len(clients.pools) != 1 {
		t.Errorf("%d pools are kept (%v)", len(clients.pools), err)
	}
}
