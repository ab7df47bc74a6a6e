package openstack

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"stackstream/event"
)

// answering is a Keystone that gives one answer to everything.
type answering struct {
	status int
	header http.Header
	body   []byte
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Header: a.header.Clone(), Body: io.NopCloser(bytes.NewReader(a.body)), Request: r,
	}, nil
}

// Whatever Keystone answers is a token or an error with a kind, on one line, without the password, which the answer may have
// in it; and an endpoint of the catalogue, if there is one, has no spaces in its ends.
func FuzzKeystone(f *testing.F) {
	const password = "correct-horse-battery"
	f.Add(201, "token-1", []byte(`{"token":{"issued_at":"2026-11-22T12:00:00.000000Z","expires_at":"2026-11-22T13:00:00.000000Z","roles":[{"name":"admin"}],`+
		`"catalog":[{"type":"event","endpoints":[{"interface":"public","region":"r","url":"http://127.0.0.1:1/"}]}]}}`))
	f.Add(201, "", []byte(`{"token":null}`))
	f.Add(201, "x", []byte(`{"token":{"expires_at":"0001-01-01T00:00:00Z","issued_at":"9999-12-31T23:59:59Z","catalog":[null,{"endpoints":[null]}]}}`))
	f.Add(401, "", []byte(`{"error":{"code":401,"title":"Unauthorized","message":"The request with `+password+` \u001b[31m was refused.\n"}}`))
	f.Add(300, "", []byte(`<html><title>`+password+`</title>`))
	f.Add(403, "", []byte(strings.Repeat("x", maxFaultText-len(password)+1)+password))
	f.Add(500, "", []byte("\xff\x00"))
	f.Add(200, "a\r\nb", []byte(`[`))
	f.Fuzz(func(t *testing.T, status int, id string, body []byte) {
		if status < 200 || status > 599 || status == http.StatusSwitchingProtocols {
			return
		}
		auth := adminAt("http://127.0.0.1:1/v3")
		auth.Password = event.Secret(password)
		s := NewSession(auth, &http.Client{
			Transport: answering{status, http.Header{"X-Subject-Token": {id}, "Content-Type": {"application/json"}}, body}, CheckRedirect: checkRedirect,
		}, "test/1")
		token, err := s.Token(t.Context())
		if err != nil {
			if event.KindOf(err) == 0 || strings.Contains(err.Error(), password[:len(password)-1]) || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Fatalf("kind %v: %q", event.KindOf(err), err)
			}
			return
		}
		if token.ID != id || id == "" {
			t.Fatalf("the token is %q, want %q", token.ID, id)
		}
		if again, err := s.Token(t.Context()); err != nil || again.ID != id {
			t.Fatalf("the second time it is %+v (%v)", again, err)
		}
	})
}
