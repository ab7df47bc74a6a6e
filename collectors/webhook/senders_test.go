package webhook

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"stackstream/event"
	"stackstream/jetstream/jetstreamtest"
)

// send opens a connection and posts events, and closes its side of it.
func send(t *testing.T, r *rig, ids ...event.ID) *net.TCPConn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address(t, r))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	body := ceilometerBody(ids...)
	if _, err := fmt.Fprintf(conn, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
	tcp := conn.(*net.TCPConn)
	if err := tcp.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return tcp
}

// A sender that closes its side behind its request, as nc -N does, is answered as any other, and so is one that is gone: nothing of
// theirs is lost.
func TestClosedBehindTheRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, nil)
	end := r.stall(t)
	waits, gone := send(t, r, "waits"), send(t, r, "gone")
	r.waiting(t, 2)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	end(true)
	resp, err := http.ReadResponse(bufio.NewReader(waits), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("who waits is answered with %v (%v)", resp, err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "{\"accepted\":1}\n" {
		t.Errorf("who waits is told %q (%v)", body, err)
	}
	jetstreamtest.Eventually(t, "both to be counted as answered", func() bool { return r.reasons("") == 2 })
	if n := len(r.log.IDs(cloud)); n != 2 || r.reasons(reasonCut) != 0 {
		t.Errorf("%d are stored, and %d are counted as lost", n, r.reasons(reasonCut))
	}
}

// Senders that are gone while nothing is stored do not keep connections from those who come.
func TestGoneSendersKeepNoConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, func(c *Config) { c.Limits.Connections = 4 })
	end := r.stall(t)
	for i := range 8 {
		conn := send(t, r, event.ID(fmt.Sprint("gone-", i)))
		r.waiting(t, i+1)
		_ = conn.Close()
		jetstreamtest.Eventually(t, "it to be noticed", func() bool { return r.front.conns.spare() > 0 })
	}
	answer := make(chan said, 1)
	go func() { answer <- r.post(t, ceilometerBody("comes")) }()
	r.waiting(t, 9)
	end(true)
	if got := <-answer; got.status != http.StatusOK {
		t.Errorf("who comes is answered with %v", got)
	}
	if n := len(r.log.IDs(cloud)); n != 9 {
		t.Errorf("%d are stored", n)
	}
}

// spare is how many connections go before that of a sender that waits.
func (c *connections) spare() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, of := range c.known {
		if of.idle {
			n++
		}
	}
	return n
}

// What a web page had a browser post is refused where the browser needs to know nothing for it.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	nobody := func(*Config) {}
	basic := func(c *Config) { c.Auth.Basic = &Basic{User: "u", Password: "p"} }
	bearer := func(c *Config) { c.Auth.Bearer = &Bearer{Token: "t"} }
	proxied := func(c *Config) { c.Auth.Anonymous = true }
	known := map[string]string{"basic": "Basic dTpw", "bearer": "Bearer t"}
	for name, change := range map[string]func(*Config){"nobody": nobody, "basic": basic, "bearer": bearer, "proxied": proxied} {
		r := newRig(t, formatCeilometer, change)
		for _, test := range []struct {
			header, value string
			refused       []string
		}{
			{"Origin", "https://evil.example", []string{"nobody", "basic", "proxied"}},
			{"Origin", "null", []string{"nobody", "basic", "proxied"}},
			{"Sec-Fetch-Site", "cross-site", []string{"nobody", "basic", "proxied"}},
			{"Sec-Fetch-Site", "same-site", []string{"nobody", "basic", "proxied"}},
			{"Sec-Fetch-Site", "none", nil},
			{"Host", "evil.example", []string{"nobody"}},
			{"Host", "evil.example:8322", []string{"nobody"}},
			{"Host", "192.0.2.1:8322", []string{"nobody"}},
			{"Host", "localhost:1", nil},
			{"Host", "LocalHost", nil},
			{"Host", "127.8.9.1", nil},
			{"Host", "[::1]:8322", nil},
			{"Host", "[::1]", nil},
		} {
			want := http.StatusOK
			for _, one := range test.refused {
				if one == name {
					want = http.StatusForbidden
				}
			}
			before := r.reasons(reasonSite)
			got := r.post(t, ceilometerBody("a"), "Content-Type", "text/plain", "Authorization", known[name], test.header, test.value)
			if counted := r.reasons(reasonSite) > before; got.status != want || counted != (want != http.StatusOK) {
				t.Errorf("%s, %s: %s: %v, want %d", name, test.header, test.value, got, want)
			}
		}
		if resp, err := http.Get(r.url); err != nil || resp.Body.Close() != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: a load balancer is answered with %v (%v)", name, resp, err)
		}
	}
}

// What says that it is something else than JSON is not read. What says nothing is.
func TestContentTypes(t *testing.T) {
	t.Parallel()
	for _, format := range []string{formatCeilometer, formatJSON} {
		r := newRig(t, format, nil)
		body := ceilometerBody("a")
		if format == formatJSON {
			body = []byte(`[{"id": "a", "type": "t"}]`)
		}
		for kind, want := range map[string]int{
			"application/json": 200, "Application/JSON; charset=utf-8": 200, "application/problem+json": 200, "text/json": 200,
			"text/plain; charset=UTF-8": 200, "application/octet-stream": 200, "": 200, "application/json; =": 200, "json": 200,
			"application/json; charset=utf-8; =": 200, "application/json; charset=latin1; charset=latin1": 200,
			"application/json; charset=": 200, "application/json; Charset = ; =": 200, `application/json; charset=""; =`: 200,
			"application/json; charset=utf-8, application/json": 200, "application/json,Application/JSON;charset=UTF8": 200,
			`application/json; x="a, text/xml"`: 200, "application/json; charset=latin1, application/json; charset=Latin1": 200,
			"application/json; =, x": 200, `application/json; x="\", text/xml"`: 200,
			"application/json, text/xml": 415, "text/xml; charset=utf-8, application/json": 415,
			"text/xml": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415, ";": 415,
		} {
			got := r.post(t, body, "Content-Type", kind)
			if got.status != want || want == 415 && got.Field != "Content-Type" {
				t.Errorf("%s, %q: %v, want %d", format, kind, got, want)
			}
		}
		for _, kind := range []string{
			"application/json; charset=utf-8, application/json; charset=latin1", "application/json, application/json; charset=latin1",
			"application/json; charset=, application/json; charset=klingon", "application/json; charset=utf-8 latin1",
		} {
			if got := r.post(t, body, "Content-Type", kind); got.status != 400 || got.Field != "Content-Type" {
				t.Errorf("%s, %q: %v", format, kind, got)
			}
		}
		if n := r.reasons(reasonInvalid); n != 10 {
			t.Errorf("%s: %d are counted", format, n)
		}
	}
}

// Of what is said twice, one would be heeded and the other not: it is refused, and what is packed twice is not unpacked once.
func TestHeadersThatAreThereTwice(t *testing.T) {
	for _, format := range []string{formatCeilometer, formatJSON, formatCloudEvents} {
		h := http.Header{"Content-Encoding": {"gzip", "gzip"}}
		for _, other := range []string{"text/json", "application/json; charset=latin1", "", "application/json, text/xml"} {
			h["Content-Type"] = []string{"application/json", "application/json", other}
			refused := config(format, nil).checkContent(h)
			if refused == nil || refused.status != http.StatusBadRequest || refused.Error() != "Content-Type: is there twice, and not the same" {
				t.Errorf("%s: another type %q is answered with %v", format, other, refused)
			}
		}
		h["Content-Type"] = []string{"application/json", "application/json"}
		if refused := config(format, nil).checkContent(h); refused != nil {
			t.Errorf("%s: one type twice is answered with %v", format, refused)
		}
		// Of an event in binary mode the parameters are kept.
		h["Content-Type"] = []string{"application/json; charset=utf-8", "application/json"}
		if refused := config(format, nil).checkContent(h); (refused != nil) != (format == formatCloudEvents) {
			t.Errorf("%s: one type with a charset is answered with %v", format, refused)
		}
		if _, refused := unpacker(h); refused == nil || refused.status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: two ways to unpack are answered with %v", format, refused)
		}
	}
}
