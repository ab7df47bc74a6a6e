package cassette_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	vcr "gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
	"gopkg.in/dnaeon/go-vcr.v4/pkg/recorder"

	"stackstream/internal/cassette"
)

type login struct{}

func isLogin(req *http.Request) bool { return req.Context().Value(login{}) != nil }

// ask asks through a transport, and fails the test unless there is an answer.
func ask(t *testing.T, through http.RoundTripper, method, url, body string, header ...string) string {
	t.Helper()
	text, err := try(t.Context(), through, method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func try(ctx context.Context, through http.RoundTripper, method, url, body string, header ...string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Transport: through}).Do(req)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(text)), errors.Join(err, resp.Body.Close())
}

// record records what is asked of a handler.
func record(t *testing.T, handler http.HandlerFunc, r *cassette.Redactor, asks func(through http.RoundTripper, url string)) *cassette.Cassette {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	rec := &cassette.Recorder{Next: http.DefaultTransport, Login: isLogin}
	asks(rec, server.URL)
	return rec.Cassette("http", []cassette.Run{{Clock: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), Requests: rec.Requests()}}, r)
}

func redactor(t *testing.T, plain ...string) *cassette.Redactor {
	t.Helper()
	r, err := cassette.NewRedactor(plain...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// saved writes a cassette and returns its path and text.
func saved(t *testing.T, c *cassette.Cassette) (path, text string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "c.yaml")
	if err := c.Save(path, false); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(data)
}

// A secret that shows in one place is gone from all, also from those before it; what only sounds like one stays where it leads on.
func TestRedaction(t *testing.T) {
	r := redactor(t, "Accept-Language")
	r.Learn("p@ss/wörd+1")
	r.Keep("https://service/events?token=page-2")
	r.Prefix("sid ")
	handler := func(w http.ResponseWriter, req *http.Request) {
		w.Header().Add("Set-Cookie", "session=cookie-secret; Path=/; HttpOnly")
		w.Header().Set("X-Subject-Token", "subject-secret")
		if req.URL.Path == "/login" {
			fmt.Fprint(w, `{"token": {"id": "behind-a-name"}, "access_token": "access-secret", "expires_in": 3600}`)
			return
		}
		fmt.Fprint(w, `{"next": "/events?token=page-2", "token": "page-2", "events": [{"id": 1, "password": "operators"}], `+
			`"log": "p%40ss%2Fw%C3%B6rd%2B1 cookie-secret access-secret header-secret param-secret prefixed-secret", "html": "p@ss\/w\u00f6rd+1"}`)
	}
	c := record(t, handler, r, func(through http.RoundTripper, url string) {
		in := context.WithValue(t.Context(), login{}, true)
		if _, err := try(in, through, "POST", url+"/login", "user=ann&password=p%40ss%2Fw%C3%B6rd%2B1"); err != nil {
			t.Fatal(err)
		}
		ask(t, through, "GET", url+"/events?limit=1&api_key=param-secret", "", "Authorization", "Bearer header-secret",
			"X-Own", "sid prefixed-secret", "Accept-Language", "en", "Cookie", "session=cookie-secret; theme=dark-mode")
		ask(t, through, "GET", url+"/events?token=page-2", "")
	})
	_, text := saved(t, c)
	for _, secret := range []string{
		"p@ss/w", "p%40ss", `p@ss\/`, "cookie-secret", "subject-secret", "access-secret", "header-secret", "param-secret", "prefixed-secret",
		"operators", "dark-mode", "user=ann",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("it has %q", secret)
		}
	}
	for _, kept := range []string{
		"token=page-2", `"token": "page-2"`, "behind-a-name", `"expires_in": 3600`, "Accept-Language:", "Bearer REDACTED",
		"session=REDACTED; Path=/; HttpOnly", "api_key=REDACTED", "limit=1",
	} {
		if !strings.Contains(text, kept) {
			t.Errorf("it has no %q", kept)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// Other tools read what is saved here, and what they recorded is read here.
func TestOthersCassettes(t *testing.T) {
	handler := func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, `["of ", "`+req.URL.Query().Get("n")+`"]`)
	}
	c := record(t, handler, redactor(t), func(through http.RoundTripper, url string) { ask(t, through, "GET", url+"/?n=1", "") })
	path, _ := saved(t, c)
	theirs, err := vcr.Load(strings.TrimSuffix(path, ".yaml"))
	if err != nil || len(theirs.Interactions) != 1 || theirs.Interactions[0].Response.Body != `["of ", "1"]` {
		t.Errorf("go-vcr reads %+v (%v)", theirs, err)
	}

	server := httptest.NewServer(http.HandlerFunc(handler))
	name := filepath.Join(t.TempDir(), "theirs")
	rec, err := recorder.New(name)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, rec, "GET", server.URL+"/?n=2", "")
	if err := rec.Stop(); err != nil {
		t.Fatal(err)
	}
	server.Close()
	ours, err := cassette.Load(name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	if at := ours.Runs()[0].Clock; time.Since(at).Abs() > time.Hour {
		t.Errorf("it went by %s, and the service told the time", at)
	}
	p := &cassette.Player{Cassette: ours, Login: isLogin}
	if got := ask(t, p, "GET", server.URL+"/?n=2", ""); got != `200 ["of ", "2"]` {
		t.Errorf("it plays %s", got)
	}
}

func conversation(pairs ...string) *cassette.Cassette {
	c := &cassette.Cassette{}
	for i := 0; i < len(pairs); i += 3 {
		c.Interactions = append(c.Interactions, &vcr.Interaction{
			Request: vcr.Request{Method: "GET", URL: pairs[i], Body: pairs[i+1]}, Response: vcr.Response{Code: 200, Body: pairs[i+2]},
		})
	}
	return c
}

// Each answer is given once, in the order of the cassette; a login as often as it is wanted.
func TestPlaying(t *testing.T) {
	p := &cassette.Player{Login: isLogin, Ignore: []string{"key"}, Cassette: conversation(
		"https://s/login", "REDACTED", "in", "https://s/e?a=1&b=2", "", "one", "https://s/e?b=2&a=1", "", "two", "https://s/e?t=REDACTED", "", "three",
		"https://s/q", `{"a": 1, "b": [2]}`, "four",
	)}
	in := context.WithValue(t.Context(), login{}, true)
	for range 2 {
		if got, err := try(in, p, "GET", "https://s/login", "whatever"); got != "200 in" {
			t.Errorf("a login is answered %s (%v)", got, err)
		}
	}
	for _, step := range [][]string{
		{"https://s/e?a=1&b=2&key=mine", "", "200 one"}, {"https://s/e?a=1&b=2", "", "200 two"}, {"https://s/e?t=anything", "", "200 three"},
		{"https://s/q", `{"b":[2],"a":1}`, "200 four"},
	} {
		if got := ask(t, p, "GET", step[0], step[1]); got != step[2] {
			t.Errorf("%s is answered %s, want %s", step[0], got, step[2])
		}
	}
	if p.Left() >= 0 || p.Unused() > 0 || p.Missing() != nil {
		t.Errorf("%d are left", p.Unused())
	}
}

// What the cassette does not have is told with what is nearest, and how that differs.
func TestMissing(t *testing.T) {
	p := &cassette.Player{Login: isLogin, Cassette: conversation(
		"https://s/other", "", "", "https://s/e?limit=10&since=2026-01-02T00:00:00Z", "", "one", "https://t/e?limit=10&x=1", "", "two")}
	_, err := try(t.Context(), p, "GET", "https://s/e?limit=10&since=2026-01-03T00:00:00Z&page=2", "")
	want := "nearest is request 1, https://s/e?limit=10&since=2026-01-02T00:00:00Z: page=2 is not recorded; since is 2026-01-03T00:00:00Z, " +
		"recorded is 2026-01-02T00:00:00Z"
	if err == nil || !strings.Contains(err.Error(), want) || p.Missing() == nil || p.Missing().Nearest != 1 {
		t.Errorf("it says %v", err)
	}
}

// What a recorder kept packed is unpacked, as it would have been on the way.
func TestPackedAnswers(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte("[1, 2]"))
	_ = w.Close()
	c := conversation("https://s/e", "", packed.String())
	c.Interactions[0].Response.Headers = http.Header{"Content-Encoding": {"gzip"}}
	path, _ := saved(t, c)
	c, err := cassette.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, &cassette.Player{Cassette: c, Login: isLogin}, "GET", "https://s/e", ""); got != "200 [1, 2]" {
		t.Errorf("it plays %q", got)
	}
}

// Nothing is replaced unless it is wanted, and what can't be written leaves no piece behind.
func TestSaving(t *testing.T) {
	c := conversation("https://s/e", "", "\xff\x00bytes")
	path, _ := saved(t, c)
	if err := c.Save(path, false); !errors.Is(err, cassette.ErrExists) {
		t.Errorf("saved over a file: %v", err)
	}
	if err := c.Save(path, true); err != nil {
		t.Error(err)
	}
	again, err := cassette.Load(path)
	if err != nil || again.Interactions[0].Response.Body != "\xff\x00bytes" {
		t.Errorf("it reads back %+v (%v)", again, err)
	}
	if err := c.Save(filepath.Join(filepath.Dir(path), "absent", "c.yaml"), false); err == nil {
		t.Error("saved into no directory")
	}
	if err := c.Save(filepath.Dir(path), true); err == nil {
		t.Error("saved over a directory")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("%s is left behind", left)
	}
}

// What is no cassette is told as that.
func TestLoading(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\ninteractions: []": "no cassette of go-vcr of the format 2", "version: 2\ninteractions: []": "no interactions",
		"[": "is no cassette", "version: 2\ninteractions: [{id: 0}]": "interaction 0 has no request",
	} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := cassette.Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A conversation that is too large to keep ends as one that is.
func TestTooMuch(t *testing.T) {
	rec := &cassette.Recorder{Login: isLogin, Next: endless{}, Max: 100_000}
	if _, err := try(t.Context(), rec, "GET", "https://s/e", ""); !errors.Is(err, cassette.ErrTooMuch) {
		t.Errorf("it ends with %v", err)
	}
}

// endless answers without end.
type endless struct{}

func (endless) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(endless{}), Request: req}, nil
}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
