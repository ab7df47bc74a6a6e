package standin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plain is an account that may see its own events only. The recording has it with the user id "u".
func plain() Account {
	a := Admin()
	a.User, a.UserID, a.Password, a.Roles, a.Credential = "plain", "u", "plain password", []string{"member"}, ""
	return a
}

func do(s http.Handler, method, target, body string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func passwordRequest(a Account) string {
	return `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "` + a.User +
		`", "domain": {"name": "` + a.Domain + `"}, "password": "` + a.Password + `"}}},
		"scope": {"project": {"id": "` + a.ProjectID + `"}}}}`
}

func login(t *testing.T, s *Service, a Account) string {
	t.Helper()
	w := do(s, "POST", "/v3/auth/tokens", passwordRequest(a), nil)
	if w.Code != http.StatusCreated {
		t.Fatalf("login of %s: %d %s", a.User, w.Code, w.Body)
	}
	return w.Header().Get("X-Subject-Token")
}

// notServed are the requests in the recording for what the stand-in does not have.
var notServed = []string{
	"event_types", "traits", "trait values", "traits of unknown type", "event_type one", "capabilities", "root",
	"accept xml", "plain user event_types",
}

func TestAnswersLikeTheRecordedPanko(t *testing.T) {
	s := New(Options{Accounts: []Account{Admin(), plain()}})
	s.Put(RecordedEvents()...)
	tokens := map[string]string{"admin": login(t, s, Admin()), "member": login(t, s, plain())}
	answersAs(t, s, Recorded(), func(x Exchange) string { return tokens[x.Request.Header["X-Roles"]] })
}

func TestAnswersLikeTheRecordedCeilometer(t *testing.T) {
	s := New(Options{Accounts: []Account{Admin(), plain()}, Ceilometer: true})
	s.Put(RecordedCeilometerEvents()...)
	tokens := map[string]string{"<admin token>": login(t, s, Admin()), "<user token>": login(t, s, plain()), "<gAAAAbad token>": "bad"}
	answersAs(t, s, RecordedCeilometer(), func(x Exchange) string { return tokens[x.Request.Header["X-Auth-Token"]] })
}

func TestSendsOnToPankoLikeTheRecordedCeilometer(t *testing.T) {
	s := New(Options{Ceilometer: true, MovedTo: "http://127.0.0.1:8977"})
	want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(RecordedRedirect())), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Body.Close()
	w := do(s, "GET", "/v2/events?q.field=event_type&q.op=eq&q.value=image.delete&limit=2", "",
		map[string]string{"Accept": "application/json", "X-Auth-Token": login(t, s, Admin())})
	if w.Code != want.StatusCode || w.Header().Get("Location") != want.Header.Get("Location") {
		t.Errorf("answered %d to %s, want %d to %s", w.Code, w.Header().Get("Location"), want.StatusCode, want.Header.Get("Location"))
	}
}

// answersAs sends what was recorded with tokens of its own, and compares the answers.
func answersAs(t *testing.T, s *Service, recorded []Exchange, token func(Exchange) string) {
	for _, x := range recorded {
		if slices.Contains(notServed, x.Name) {
			continue
		}
		t.Run(x.Name, func(t *testing.T) {
			header := map[string]string{"Accept": x.Request.Header["Accept"]}
			if id := token(x); id != "" {
				header["X-Auth-Token"] = id
			}
			w := do(s, x.Request.Method, x.Request.Path+"?"+x.Request.Query, "", header)
			if w.Code != x.Response.Status {
				t.Fatalf("answered %d %s\nwant %d %s", w.Code, w.Body, x.Response.Status, x.Response.Body)
			}
			if got, want := w.Header().Get("Content-Type"), x.Response.Header["Content-Type"]; got != want {
				t.Errorf("content type %q, want %q", got, want)
			}
			if x.Response.Status == http.StatusOK && x.Name != "get one (maybe other tenant)" && x.Name != "get one" {
				if w.Body.String() != x.Response.Body {
					t.Errorf("body differs:\n%s", cmp.Diff(x.Response.Body, w.Body.String()))
				}
				return
			}
			if diff := cmp.Diff(decoded(t, x.Response.Body), decoded(t, w.Body.String())); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func decoded(t *testing.T, body string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("not JSON: %v: %s", err, body)
	}
	if m, ok := v.(map[string]any); ok {
		if e, ok := m["error_message"].(map[string]any); ok {
			if text, ok := e["faultstring"].(string); ok {
				// The database's own words go on with the statement.
				e["faultstring"], _, _ = strings.Cut(text, "\n")
			}
		}
	}
	return v
}

func TestKeystoneRefuses(t *testing.T) {
	good := passwordRequest(Admin())
	credential := func(secret, extra string) string {
		return `{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "` +
			Admin().Credential + `", "secret": "` + secret + `"}}` + extra + `}}`
	}
	for _, tc := range []struct {
		name, body string
		want       int
	}{
		{"password", good, 201},
		{"wrong password", strings.Replace(good, Admin().Password, "guess", 1), 401},
		{"wrong domain", strings.Replace(good, "Default", "Other", 1), 401},
		{"wrong project", strings.Replace(good, Admin().ProjectID, "other", 1), 401},
		{"application credential", credential(Admin().CredentialSecret, ""), 201},
		{"application credential with a wrong secret", credential("guess", ""), 401},
		{"application credential with a scope", credential(Admin().CredentialSecret, `, "scope": {"project": {"id": "x"}}`), 401},
		{"no body", "", 400},
		{"two methods", strings.Replace(good, `["password"]`, `["password", "totp"]`, 1), 400},
		{"another method", strings.Replace(good, `["password"]`, `["token"]`, 1), 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := do(New(Options{}), "POST", "/v3/auth/tokens", tc.body, nil)
			if w.Code != tc.want || (w.Header().Get("X-Subject-Token") != "") != (tc.want == 201) {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, tc.want)
			}
		})
	}
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{TokenLife: time.Minute})
		header := map[string]string{"Accept": "application/json", "X-Auth-Token": login(t, s, Admin())}
		time.Sleep(time.Minute - time.Nanosecond)
		if w := do(s, "GET", "/v2/events", "", header); w.Code != http.StatusOK {
			t.Fatalf("before its end: %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Nanosecond)
		w := do(s, "GET", "/v2/events", "", header)
		if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `"error"`) {
			t.Fatalf("after its end: %d %s", w.Code, w.Body)
		}
	})
}

func TestTenants(t *testing.T) {
	s := New(Options{Accounts: []Account{Admin(), plain()}})
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	add := func(id, traits string) {
		e, err := ParseEvent([]byte(`{"message_id": "` + id + `", "event_type": "x", "generated": "` + at.Format(naive) +
			`", "traits": [` + traits + `], "raw": {}}`))
		if err != nil {
			t.Fatal(err)
		}
		s.Put(e)
	}
	add("mine", `{"name": "project_id", "type": "string", "value": "`+Admin().ProjectID+`"}`)
	add("nobody's", ``)
	add("other", `{"name": "project_id", "type": "string", "value": "other"}`)
	add("users", `{"name": "project_id", "type": "string", "value": "`+Admin().ProjectID+
		`"}, {"name": "user_id", "type": "string", "value": "u"}`)
	for _, tc := range []struct {
		name  string
		who   Account
		query string
		want  []string
	}{
		{"admin", Admin(), "", []string{"mine", "nobody's", "users"}},
		{"admin for all", Admin(), "?q.field=all_tenants&q.op=eq&q.value=True", []string{"mine", "nobody's", "other", "users"}},
		{"member", plain(), "", []string{"users"}},
		{"member for all", plain(), "?q.field=all_tenants&q.op=eq&q.value=True", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := do(s, "GET", "/v2/events"+tc.query, "",
				map[string]string{"Accept": "application/json", "X-Auth-Token": login(t, s, tc.who)})
			var list []struct {
				ID string `json:"message_id"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range list {
				got = append(got, e.ID)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("shows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnEventIsPutOnce(t *testing.T) {
	s := New(Options{})
	e := RecordedEvents()[0]
	again := e
	again.Generated = e.Generated.Add(time.Second)
	s.Put(e, again)
	if got := s.Events(); len(got) != 1 || !got[0].Generated.Equal(e.Generated) {
		t.Errorf("there are %d events with one id", len(got))
	}
	s.Remove(e.ID)
	s.Put(again)
	if got := s.Events(); len(got) != 1 || !got[0].Generated.Equal(again.Generated) {
		t.Errorf("after the first was removed there are %d", len(got))
	}
}

func TestGenerateMakesFreshEvents(t *testing.T) {
	s := New(Options{Seed: 7})
	at := time.Date(2031, 5, 6, 7, 8, 9, 123456789, time.UTC)
	templates := map[string]Event{}
	for _, e := range RecordedEvents() {
		templates[e.Type] = e
	}
	ids := map[string]bool{}
	for range 200 {
		e := s.Generate(at)
		if ids[e.ID] {
			t.Fatalf("id %s is used twice", e.ID)
		}
		ids[e.ID] = true
		if want := at.Truncate(time.Microsecond); !e.Generated.Equal(want) {
			t.Fatalf("generated %s, want %s", e.Generated, want)
		}
		if _, ok := templates[e.Type]; !ok {
			t.Fatalf("type %s was not recorded", e.Type)
		}
		if bytes.Contains(e.Body, []byte("2026-11-22")) {
			t.Fatalf("an old time is left in %s", e.Body)
		}
		var shape struct {
			ID  string `json:"message_id"`
			Raw struct {
				Metadata struct {
					ID   string `json:"message_id"`
					Time string `json:"timestamp"`
				} `json:"metadata"`
			} `json:"raw"`
		}
		if err := json.Unmarshal(e.Body, &shape); err != nil {
			t.Fatal(err)
		}
		if shape.Raw.Metadata.ID != e.ID || shape.Raw.Metadata.Time != "2031-05-06 07:08:09.123456" {
			t.Fatalf("the raw part says %+v", shape.Raw.Metadata)
		}
	}
	if again := New(Options{Seed: 7}).Generate(at); !ids[again.ID] {
		t.Error("the same seed makes other ids")
	}
}

func TestRunPutsBurstThenRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Burst: 10, Rate: 5, LateOneIn: 5, Lateness: 10 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second+time.Millisecond)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		events := s.Events()
		if len(events) != 30 {
			t.Errorf("%d events, want 10 and 4 s of 5/s", len(events))
		}
		late := 0
		for _, e := range events {
			if e.Visible.After(e.Generated) {
				late++
			}
		}
		if late != 4 {
			t.Errorf("%d events show late, want one in 5 of 20", late)
		}
	})
}

func TestFaults(t *testing.T) {
	s := New(Options{Seed: 3})
	s.Put(RecordedEvents()...)
	header := map[string]string{"Accept": "application/json", "X-Auth-Token": login(t, s, Admin())}
	s.SetFaults(Faults{ErrorRate: 0.5})
	failed := 0
	for range 100 {
		if w := do(s, "GET", "/v2/events", "", header); w.Code == http.StatusInternalServerError {
			failed++
		}
	}
	if failed < 20 || failed > 80 {
		t.Errorf("%d of 100 requests failed at a rate of one half", failed)
	}
	s.SetFaults(Faults{ShortPages: true})
	short := false
	for range 20 {
		w := do(s, "GET", "/v2/events?limit=10", "", header)
		var list []json.RawMessage
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) == 0 || len(list) > 10 {
			t.Fatalf("a page has %d events (%v)", len(list), err)
		}
		short = short || len(list) < 10
	}
	if !short {
		t.Error("no page was short")
	}
	s.RevokeTokens()
	if w := do(s, "GET", "/v2/events", "", header); w.Code != http.StatusUnauthorized {
		t.Errorf("a revoked token is answered %d", w.Code)
	}
	s.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusTeapot)
		return true
	})
	if w := do(s, "GET", "/v2/events", "", header); w.Code != http.StatusTeapot {
		t.Errorf("an intercepted request is answered %d", w.Code)
	}
}
