package httppoll

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
	"stackstream/internal/openstack"
)

const (
	loginUser   = `ann "x"`
	loginSecret = `s3cret/+ ü"\`
)

// door is a service that wants a login first, whose tokens are taken for a number of requests.
type door struct {
	service *service
	good    func(r *http.Request) bool // of a login
	hand    func(w http.ResponseWriter, token string)
	shows   func(r *http.Request) string // the token
	refuses int                          // the status
	lasts   int                          // requests that a token is good for
	logins  int
	refused int
	left    int
}

func (d *door) token() string { return fmt.Sprintf("t+/=%d", d.logins) }

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/login" {
		if !d.good(r) {
			body, _ := io.ReadAll(r.Body)
			http.Error(w, "wrong: "+string(body), http.StatusForbidden)
			return
		}
		d.logins++
		d.left = d.lasts
		d.hand(w, d.token())
		return
	}
	if d.left == 0 || d.shows(r) != d.token() {
		d.refused++
		w.WriteHeader(d.refuses)
		return
	}
	d.left--
	d.service.ServeHTTP(w, r)
}

func jsonLogin(r *http.Request) bool {
	var fields map[string]string
	err := json.NewDecoder(r.Body).Decode(&fields)
	return err == nil && len(fields) == 2 && fields["name"] == loginUser && fields["pass"] == loginSecret &&
		r.Header.Get("Content-Type") == "application/json"
}

// Whatever a login is like, its token is sent as the service wants it; when it expires in the middle of a run it is got anew, and
// the same page asked for again.
func TestSessions(t *testing.T) {
	fields := map[string]string{"name": "{{user}}", "pass": "{{password}}"}
	header := func(r *http.Request) string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Token ") }
	inBody := func(w http.ResponseWriter, token string) {
		_, _ = fmt.Fprintf(w, `{"session": {"token": %q, "seconds": 3600}}`, token)
	}
	toHeader := SessionSend{Name: "Authorization", Prefix: "Token "}
	for name, test := range map[string]struct {
		session Session
		door    door
		on      map[string]string
	}{
		"JSON": {
			Session{JSON: fields, Token: "body.session.token", ExpiresIn: "body.session.seconds", Send: toHeader},
			door{good: jsonLogin, hand: inBody, shows: header, refuses: 401}, nil,
		},
		"a body": {
			Session{Body: `{"name": {{json(user)}}, "pass": {{json(password)}}}`, Token: "body.session.token", Lifetime: time.Hour, Send: toHeader},
			door{good: jsonLogin, hand: inBody, shows: header, refuses: 419}, map[string]string{"403,419": "refresh_auth"},
		},
		"a form, in the query": {
			Session{Form: fields, Token: "body.session.token", Send: SessionSend{In: "query", Name: "key"}},
			door{good: func(r *http.Request) bool {
				return r.FormValue("name") == loginUser && r.FormValue("pass") == loginSecret
			},
				hand: inBody, shows: func(r *http.Request) string { return r.URL.Query().Get("key") }, refuses: 403},
			map[string]string{"403": "refresh_auth"},
		},
		"by HTTP Basic, a text": {
			Session{Basic: true, Token: "body", Headers: map[string]string{"X-For": "{{user}}"}, Send: SessionSend{Name: "X-Session"}},
			door{
				good: func(r *http.Request) bool {
					user, password, _ := r.BasicAuth()
					return user == loginUser && password == loginSecret && r.Header.Get("X-For") == loginUser
				},
				hand:  func(w http.ResponseWriter, token string) { _, _ = fmt.Fprintf(w, "%s\n", token) },
				shows: func(r *http.Request) string { return r.Header.Get("X-Session") }, refuses: 401,
			}, nil,
		},
		"in a header": {
			Session{JSON: fields, Token: `headers["x-auth-token"]`, Send: toHeader},
			door{good: jsonLogin, hand: func(w http.ResponseWriter, token string) {
				w.Header().Set("X-Auth-Token", token)
				w.WriteHeader(http.StatusCreated)
			}, shows: header, refuses: 401}, nil,
		},
		"a cookie, and sent on": {
			Session{Form: fields, Cookie: "sid"},
			door{good: func(r *http.Request) bool { return r.FormValue("pass") == loginSecret },
				hand: func(w http.ResponseWriter, token string) {
					http.SetCookie(w, &http.Cookie{Name: "other", Value: "x"})
					http.SetCookie(w, &http.Cookie{Name: "sid", Value: token, MaxAge: 3600})
					w.Header().Set("Location", "/home")
					w.WriteHeader(http.StatusFound)
				},
				shows: func(r *http.Request) string {
					c, err := r.Cookie("sid")
					if err != nil {
						return ""
					}
					return c.Value
				}, refuses: 401}, nil,
		},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService()
			for range 40 {
				s.put(time.Now())
			}
			d := test.door
			d.service, d.lasts = s, 4
			cfg := configured("http://service", s)
			cfg.Retry.On = test.on
			session := test.session
			session.URL, session.User, session.Password = "http://service/login", loginUser, loginSecret
			cfg.Auth = Auth{Session: &session}
			src, out := local(t, cfg, &d), newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
			if d.logins != 2 || d.refused != 1 || out.repeats != 0 || len(s.seen) != 6 {
				t.Errorf("%d logins, %d refusals, %d repeats, %d pages", d.logins, d.refused, out.repeats, len(s.seen))
			}
			if session.ExpiresIn != "" || session.Lifetime > 0 || session.Cookie != "" {
				time.Sleep(2 * time.Hour)
				d.lasts = 100
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil || d.logins != 3 || d.refused != 1 {
					t.Errorf("%v; %d logins, %d refusals after the token had expired", err, d.logins, d.refused)
				}
			}
			d.left, d.lasts = 0, 0
			err := src.fetch(t.Context(), out.from, out.emit)
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), fmt.Sprintf("answered %d", d.refuses)) {
				t.Errorf("with tokens that are never taken it is %v", err)
			}
			d.good = func(*http.Request) bool { return false }
			err = src.fetch(t.Context(), out.from, out.emit)
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "it answered 403 (see auth.session)") {
				t.Errorf("with a wrong secret it is %v", err)
			}
			if text := fmt.Sprintf("%v %+v", err, cfg); strings.Contains(text, "s3cret") {
				t.Errorf("the secret is shown: %s", text)
			}
		})
	}
}

// What a login answers that is none is named, and shows nothing of what was sent or got.
func TestLoginsThatFail(t *testing.T) {
	for name, test := range map[string]struct {
		answer  http.HandlerFunc
		session Session
		kind    event.Kind
		want    string
	}{
		"no token": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"id": "s3cret"}`)) },
			Session{Token: "body.token"}, event.Invalid, "auth.session.token asks for what is not there: body.token"},
		"an empty token": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"token": ""}`)) },
			Session{Token: "body.token"}, event.Invalid, "without a token"},
		"a wrong expression": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"token": "s3cret"}`)) },
			Session{Token: "int(body.token)"}, event.Invalid, "can't be evaluated"},
		"a wrong text": {nil, Session{Body: "{{int(password)}}", Token: "body.token"}, event.Invalid, "can't be written"},
		"no cookie": {func(http.ResponseWriter, *http.Request) {}, Session{Cookie: "sid", Send: SessionSend{}},
			event.Invalid, "without the cookie sid"},
		"later": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
			Session{Token: "body.token"}, event.Unavailable, "it answered 502"},
		"without end": {func(w http.ResponseWriter, _ *http.Request) {
			for range 4 << 10 {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}, Session{Token: "body.token"}, event.Invalid, "auth.session.token"},
	} {
		bubble(t, name, func(t *testing.T) {
			cfg := configured("http://service", newService())
			session := test.session
			session.URL, session.Password = "http://service/login", "s3cret"
			if session.Cookie == "" {
				session.Send.Name = "X"
			}
			cfg.Auth.Session = &session
			src, out := local(t, cfg, test.answer), newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			if event.KindOf(err) != test.kind || !strings.Contains(fmt.Sprint(err), test.want) || strings.Contains(fmt.Sprint(err), "s3cret") {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}

// Other ways to log in are renewed as well when the service does not take them any more, by whatever status it says so.
func TestEveryLoginIsRenewed(t *testing.T) {
	for name, auth := range map[string]Auth{
		"oauth2":   {OAuth2: &OAuth2{TokenURL: "http://service/login", ClientID: "us", ClientSecret: "s3cret"}},
		"keystone": {Keystone: &openstack.Auth{URL: "http://service/v3", UserID: "u", Password: "s3cret", ProjectID: "p"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService()
				for range 40 {
					s.put(time.Now())
				}
				logins, left := 0, 0
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					token := fmt.Sprintf("t%d", logins)
					switch {
					case r.URL.Path == "/login" || r.URL.Path == "/v3/auth/tokens":
						logins++
						left = 3
						w.Header().Set("X-Subject-Token", fmt.Sprintf("t%d", logins))
						if name == "keystone" {
							w.WriteHeader(http.StatusCreated)
						}
						_, _ = fmt.Fprintf(w, `{"access_token": "t%d", "expires_in": 40, "token": {"catalog": []}}`, logins)
					case left == 0 || r.Header.Get("Authorization") != "Bearer "+token && r.Header.Get("X-Auth-Token") != token:
						w.WriteHeader(419)
					default:
						left--
						s.ServeHTTP(w, r)
					}
				})
				cfg := configured("http://service", s)
				cfg.Auth = auth
				cfg.Retry.On = map[string]string{"419": "refresh_auth"}
				src, out := local(t, cfg, handler), newSink(t)
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
				out.wantAll(s)
				if logins != 2 || out.repeats != 0 {
					t.Errorf("%d logins for 6 pages, with tokens of 40 s for 3", logins)
				}
			})
		})
	}
}
