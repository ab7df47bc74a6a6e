package httppoll

import (
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

// served makes a source that asks a real server.
func served(t *testing.T, handler http.Handler, change func(*Config)) *Source {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg := configured(server.URL, newService())
	cfg.Request.MaxBody = 64 << 10
	if change != nil {
		change(&cfg)
	}
	if found := cfg.Validate(); len(found) > 0 {
		t.Fatalf("the configuration: %v", found)
	}
	s, err := New(cfg, Options{Version: "test", Format: "http/test"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever a server sends is bounded and named, and never makes the cursor move.
func TestHostileServers(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other host was asked") }))
	t.Cleanup(other.Close)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		change func(*Config)
		want   string
	}{
		"a body without end": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"events": [`))
			for range 1 << 20 {
				if _, err := w.Write([]byte(strings.Repeat(" ", 1<<10))); err != nil {
					return
				}
			}
		}, want: "larger than max_body"},
		"a body that says how large it is": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1073741824")
			w.WriteHeader(http.StatusOK)
		}, want: "larger than max_body"},
		"a gzip bomb": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write([]byte(`{"events": [`))
			for range 1 << 14 {
				_, _ = z.Write(make([]byte, 1<<10))
			}
			_ = z.Close()
		}, want: "larger than max_body"},
		"a body that ends early": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"events": [{"id": "a"`))
		}, want: "unexpected EOF"},
		"JSON that ends early": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"events": [{"id": "a"}`))
		}, want: "cut off"},
		"a page for people": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>log in</html>"))
		}, want: "answered 200: the answer is no JSON but begins with"},
		"an error with 200": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"error": "quota exceeded"}`))
		}, want: "has no events"},
		"another host": {answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/events", http.StatusTemporaryRedirect)
		}, want: "redirects to another host"},
		"itself": {answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}, want: "redirects without end"},
		"nothing": {answer: func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}, change: func(c *Config) { c.Request.HTTP.HeaderTimeout = 20 * time.Millisecond }, want: "timeout"},
		"drop by drop": {answer: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(time.Millisecond):
				}
			}
		}, change: func(c *Config) { c.Request.HTTP.Timeout = 100 * time.Millisecond }, want: "deadline exceeded"},
		"drop by drop, before it begins": {answer: func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 1000)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				select {
				case <-r.Context().Done():
				case <-time.After(time.Millisecond):
				}
			}
		}, change: func(c *Config) { c.Request.HTTP.HeaderTimeout = 50 * time.Millisecond }, want: "timeout"},
		"headers without end": {answer: func(w http.ResponseWriter, _ *http.Request) {
			for i := range 3000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
			}
		}, want: "headers exceeded"},
		"another compression": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			_, _ = w.Write([]byte("\x8b\x02\x80{}\x03"))
		}, want: "is no JSON but begins with"},
		"no gzip that says it is": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte(`{"events": []}`))
		}, want: "gzip: invalid header"},
		"another status": {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, want: "answered 418"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := false
			src := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if bad {
					test.answer(w, r)
					return
				}
				_, _ = w.Write([]byte(`{"events": [{"id": "good", "at": "2026-01-02T03:04:05Z", "type": "x"}]}`))
			}), func(c *Config) {
				c.Cursor.Send.Until, c.Cursor.Settle = "until", time.Hour
				if test.change != nil {
					test.change(c)
				}
			})
			out := newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			bad = true
			before, marks := string(out.from.Cursor), len(out.marks)
			began := time.Now()
			err := src.fetch(t.Context(), out.from, out.emit)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
			if string(out.from.Cursor) != before || len(out.marks) != marks {
				t.Errorf("the cursor moved from %s to %s, and %d marks were told", before, out.from.Cursor, len(out.marks)-marks)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			if event.KindOf(err) == 0 || len(err.Error()) > 1000 {
				t.Errorf("the error has the kind %v and %d bytes", event.KindOf(err), len(err.Error()))
			}
		})
	}
}

// Answers that are no success do what retry says, and Retry-After is kept to.
func TestStatuses(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		after  string
		on     map[string]string
		kind   event.Kind
		wait   time.Duration
		tries  int
	}{
		"retried":               {status: 503, kind: event.Unavailable, tries: pageTries},
		"too many":              {status: 429, kind: event.Unavailable, tries: pageTries},
		"Retry-After, seconds":  {status: 429, after: "90", kind: event.Unavailable, wait: 90 * time.Second, tries: 1},
		"Retry-After, date":     {status: 503, after: "Sat, 01 Jan 2000 00:02:00 GMT", kind: event.Unavailable, wait: 2 * time.Minute, tries: 1},
		"Retry-After, too long": {status: 503, after: "86400", kind: event.Unavailable, wait: 15 * time.Minute, tries: 1},
		"refused":               {status: 403, kind: event.Invalid, tries: 1},
		"refused, and retried":  {status: 403, on: map[string]string{"403, 404": "retry"}, kind: event.Unavailable, tries: pageTries},
		"failed by class":       {status: 503, on: map[string]string{"5xx": "fail"}, kind: event.Invalid, tries: 1},
		"nothing there":         {status: 404, on: map[string]string{"404": "empty"}, tries: 1},
	} {
		bubble(t, name, func(t *testing.T) {
			tries := 0
			cfg := configured("http://service", newService())
			cfg.Retry.On = test.on
			src := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				tries++
				if test.after != "" {
					w.Header().Set("Retry-After", test.after)
				}
				w.WriteHeader(test.status)
			}))
			out := newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			var asked *collectors.RetryAfter
			if errors.As(err, &asked) != (test.wait > 0) || asked != nil && asked.After != test.wait {
				t.Errorf("the error is %v, want a pause of %s", err, test.wait)
			}
			if event.KindOf(err) != test.kind || tries != test.tries {
				t.Errorf("the error is %v after %d tries, want the kind %v after %d", err, tries, test.kind, test.tries)
			}
		})
	}
}

// A service that forgot where we stood is read from the start again, if that is wanted, and it is said.
func TestResetOfTheCursor(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor = Cursor{Type: CursorToken, Token: `"t" + string(size(body.events))`, Boundary: "inclusive", Order: "ascending", Send: Send{In: "query", Name: "token"}}
		cfg.Retry.On = map[string]string{"410": "reset_cursor"}
		gone := false
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if gone && r.URL.Query().Get("token") != "" {
				w.WriteHeader(http.StatusGone)
				return
			}
			s.ServeHTTP(w, r)
		})), newSink(t)
		said := ""
		src.opts.Report = func(_ bool, what string) { said = what }
		for range 5 {
			s.put(time.Now())
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil || s.seen[0].URL.Query().Has("token") {
			t.Fatal(err)
		}
		s.put(time.Now())
		gone = true
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
		if !strings.Contains(said, "no longer knew where we stood") {
			t.Errorf("it says %q", said)
		}
		src.cfg.Retry.On = nil
		if err := src.fetch(t.Context(), out.from, out.emit); !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "410") {
			t.Errorf("without that it is %v", err)
		}
	})
}

func TestAuth(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, fmt.Sprintf("secret-%d", len(text)))
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const key = "correct horse battery staple"
	for name, test := range map[string]struct {
		auth Auth
		good func(r *http.Request) bool
	}{
		"basic": {Auth{Basic: &Basic{User: "ann", PasswordFile: file(key)}}, func(r *http.Request) bool {
			user, password, ok := r.BasicAuth()
			return ok && user == "ann" && password == key
		}},
		"bearer":          {Auth{Bearer: &Bearer{Token: key}}, func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+key }},
		"another word":    {Auth{Bearer: &Bearer{Token: key, Scheme: "SSWS"}}, func(r *http.Request) bool { return r.Header.Get("Authorization") == "SSWS "+key }},
		"key in a header": {Auth{APIKey: &APIKey{In: "header", Name: "X-Key", KeyFile: file(key)}}, func(r *http.Request) bool { return r.Header.Get("X-Key") == key }},
		"behind a prefix": {Auth{APIKey: &APIKey{In: "header", Name: "Authorization", Prefix: "Token token=", KeyFile: file(key)}}, func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "Token token="+key
		}},
		"key in the query": {Auth{APIKey: &APIKey{In: "query", Name: "key", Key: key}}, func(r *http.Request) bool {
			return r.URL.Query().Get("key") == key && r.URL.Query().Get("from") != ""
		}},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService()
			s.put(time.Now())
			cfg := configured("http://service", s)
			cfg.Cursor.Start = startAt(time.Now().Add(-time.Hour))
			cfg.Auth = test.auth
			fail := false
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if fail || !test.good(r) {
					http.Error(w, `{"error": "who are you"}`, http.StatusUnauthorized)
					return
				}
				s.ServeHTTP(w, r)
			})), newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
			fail = true
			err := src.fetch(t.Context(), out.from, out.emit)
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "answered 401") {
				t.Errorf("refused, it is %v", err)
			}
			if strings.Contains(fmt.Sprint(err), key) || strings.Contains(fmt.Sprintf("%+v %#v", cfg.Auth, cfg), key) {
				t.Error("the secret is shown")
			}
		})
	}
}

// A token that expires in the middle of a run is got anew, and nothing is lost.
func TestOAuth2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		for range 40 {
			s.put(time.Now())
		}
		const id, key = "the client", "s3cret/+ ü"
		logins, token, good := 0, "", 0
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				user, password, _ := r.BasicAuth()
				_ = r.ParseForm()
				if user != "the+client" || password != "s3cret%2F%2B+%C3%BC" || r.Form.Get("grant_type") != "client_credentials" || r.Form.Get("scope") != "a b" {
					http.Error(w, `{"error": "invalid_client", "error_description": "`+password+`"}`, http.StatusUnauthorized)
					return
				}
				logins++
				token, good = fmt.Sprintf("token-%d", logins), 3
				_, _ = fmt.Fprintf(w, `{"access_token": %q, "token_type": "bearer", "expires_in": 3600}`, token)
				return
			}
			if r.Header.Get("Authorization") != "Bearer "+token || good == 0 {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			good--
			s.ServeHTTP(w, r)
		})
		cfg := configured("http://service", s)
		cfg.Auth = Auth{OAuth2: &OAuth2{TokenURL: "http://service/token", ClientID: id, ClientSecret: key, Scopes: []string{"a", "b"}}}
		src, out := local(t, cfg, handler), newSink(t)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
		if logins != 2 {
			t.Errorf("%d logins for 6 pages, with tokens for 3", logins)
		}
		time.Sleep(2 * time.Hour)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil || logins != 4 {
			t.Errorf("%v; %d logins after the token had expired", err, logins)
		}
		src.signer.(*oauthSigner).cfg.ClientSecret = "guess"
		time.Sleep(2 * time.Hour)
		err := src.fetch(t.Context(), out.from, out.emit)
		if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "answered 401: invalid_client") || strings.Contains(err.Error(), "guess") {
			t.Errorf("with a wrong secret it is %v", err)
		}
	})
}

// stage is a service for the suite that every source passes.
type stage struct {
	*service
	fails int
	down  bool
	last  time.Time
}

func (s *stage) add(at time.Time) event.ID { return event.ID(s.service.put(at).ID) }

func TestConformance(t *testing.T) {
	for _, paging := range []string{PageToken, PageMarker, PageNumber, PageTime} {
		t.Run(paging, func(t *testing.T) {
			t.Parallel()
			collectorstest.TestSource(t, func(t *testing.T) collectorstest.Harness {
				s := &stage{service: newService(), last: time.Now().Add(-5 * time.Second)}
				s.paging = paging
				s.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					if s.down {
						w.WriteHeader(http.StatusForbidden)
						return true
					}
					if s.fails == 0 {
						return false
					}
					s.fails--
					if s.fails%2 == 0 {
						w.WriteHeader(http.StatusBadGateway)
					} else {
						w.Header().Set("Content-Length", "1000")
						_, _ = w.Write([]byte(`{"events": [{"id": "cut`))
					}
					return true
				}
				server := httptest.NewServer(s.service)
				t.Cleanup(server.Close)
				cfg := configured(server.URL, s.service)
				cfg.Schedule.Every = 3 * time.Millisecond
				return collectorstest.Harness{
					Source: func() (collectors.Source, error) { return New(cfg, Options{Version: "test", Format: "http/test"}) },
					Spec:   cfg.Spec(),
					Put: func(n int) (ids []event.ID) {
						for range n {
							s.last = s.last.Add(time.Millisecond)
							ids = append(ids, s.add(s.last))
						}
						return ids
					},
					Late: func() event.ID { return s.add(s.last.Add(-2*time.Millisecond - 500*time.Microsecond)) },
					Fail: func(n int) { s.mu.Lock(); defer s.mu.Unlock(); s.fails = n },
					Down: func(down bool) { s.mu.Lock(); defer s.mu.Unlock(); s.down = down },
				}
			})
		})
	}
}
