package webhook

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"stackstream/event"
)

// schemes are all there are, and what one may say itself.
func schemes() map[string]HMAC {
	const secret = event.Secret("c2VjcmV0")
	all := map[string]HMAC{
		"custom, no time": {Scheme: "custom", Secret: secret, Header: "X-Sum", Signs: "{body}"},
		"custom, all it can sign": {
			Scheme: "custom", Secret: secret, Header: "X-Sum", Signs: "{id}/{timestamp}/{body}", IDHeader: "Ce-Id", TimestampHeader: "X-At",
		},
	}
	for _, name := range []string{"github", "slack", "stripe", "standard-webhooks"} {
		all[name] = HMAC{Scheme: name, Secret: secret}
	}
	return all
}

// signedRig takes what is signed, and headers are those of who signs.
func signedRig(t *testing.T, format string, scheme HMAC) (r *rig, headers func(id string, at time.Time, body []byte) []string) {
	t.Helper()
	r = newRig(t, format, func(c *Config) { c.Auth.HMAC = &scheme })
	v, err := newVerifier(scheme)
	if err != nil {
		t.Fatal(err)
	}
	return r, func(id string, at time.Time, body []byte) []string {
		var all []string
		for name, values := range v.headers(id, at, body) {
			if name != "" { // what the scheme does not have
				all = append(all, name, values[0])
			}
		}
		return all
	}
}

// What an event in binary mode is stands in headers, which no scheme signs: two with one body in one second are refused, and not taken
// for one, and what was recorded can't be made another event of, by whichever process it is asked.
func TestWhatNoSignatureCovers(t *testing.T) {
	t.Parallel()
	for name, scheme := range schemes() {
		r, headers := signedRig(t, formatCloudEvents, scheme)
		now := time.Now()
		binary := func(id string) []string {
			return []string{"Ce-Specversion", "1.0", "Ce-Type", "t", "Ce-Source", "/s", "Ce-Id", id, "Content-Type", "application/json"}
		}
		refused := func(what string, body string, id string, more ...string) {
			t.Helper()
			got := r.post(t, []byte(body), append(headers(id, now, []byte(body)), more...)...)
			if got.status != http.StatusBadRequest || got.Field != "ce-specversion" || !strings.Contains(got.Error, "is not signed") {
				t.Errorf("%s: %s: %v", name, what, got)
			}
		}
		refused("binary", `{"ok":true}`, "1", binary("1")...)
		refused("another one", `{"ok":true}`, "1", binary("1")[:8]...)
		refused("and another one", `{"ok":true}`, "2", binary("2")...)
		body := cloudEvent("a")
		for range 2 {
			got := r.post(t, []byte(body), append(headers("a", now, []byte(body)), "Content-Type", oneJSON)...)
			if got.status != http.StatusOK || got.N != 1 {
				t.Errorf("%s: in its body: %v", name, got)
			}
		}
		refused("what was recorded", body, "a", binary("a")...)
		// In the mode that has all in the body the headers say nothing.
		more := append(binary("a"), "Content-Type", oneJSON)
		if got := r.post(t, []byte(body), append(headers("a", now, []byte(body)), more...)...); got.status != http.StatusOK || got.N != 1 {
			t.Errorf("%s: with headers beside it: %v", name, got)
		}
		r.stop()
		if got := r.log.IDs(cloud); len(got) != 1 || got[0] != "/things a" {
			t.Errorf("%s: stored is %v", name, got)
		}
		again, _ := signedRig(t, formatCloudEvents, scheme)
		r.url = again.url
		refused("what was recorded, by another process", body, "a", binary("a")...)
		if got := again.log.IDs(cloud); len(got) != 0 {
			t.Errorf("%s: another process stored %v", name, got)
		}
		if found := r.cfg.Doubts(); found[len(found)-1].Field != "auth.hmac" {
			t.Errorf("%s: the doubts are %v", name, found)
		}
	}
}

// Two events whose bodies differ by nothing but the id are two in one second, and each is known again.
func TestSignedInOneSecond(t *testing.T) {
	t.Parallel()
	for name, scheme := range schemes() {
		for _, format := range []string{formatCeilometer, formatCloudEvents, formatJSON} {
			r, headers := signedRig(t, format, scheme)
			now := time.Now()
			for n := range 4 {
				id := fmt.Sprint("e-", n%2)
				body, kind := ceilometerBody(event.ID(id)), "application/json"
				switch format {
				case formatCloudEvents:
					body, kind = []byte(cloudEvent(id)), oneJSON
				case formatJSON:
					body = []byte(`{"type":"t","id":"` + id + `"}`)
				}
				got := r.post(t, body, append(headers("one", now, body), "Content-Type", kind)...)
				if got.status != http.StatusOK || got.N != 1 {
					t.Errorf("%s, %s: event %d: %v", name, format, n, got)
				}
			}
			if got := r.log.IDs(cloud); len(got) != 2 {
				t.Errorf("%s, %s: stored is %v", name, format, got)
			}
		}
	}
}

// Nor does a signature cover the charset of a body: by another one what was recorded would have other ids.
func TestCharsetsThatAreNotSigned(t *testing.T) {
	t.Parallel()
	body := map[string]string{
		formatJSON: `{"type":"t","id":"é"}`, formatCeilometer: `{"event_type":"t","message_id":"é"}`,
		formatCloudEvents: strings.Replace(cloudEvent("é"), `,"data"`, `,"x":"","data"`, 1),
	}
	for format, body := range body {
		r, headers := signedRig(t, format, schemes()["github"])
		kind := "application/json"
		if format == formatCloudEvents {
			kind = oneJSON
		}
		signed := headers("", time.Now(), []byte(body))
		for params, want := range map[string]int{
			"": 200, "; charset=UTF-8": 200, "; charset=iso-8859-1": 415, "; charset=klingon": 415, "; charset=utf-8; charset=latin1": 415,
			"; =; charset=latin1": 415,
		} {
			if got := r.post(t, []byte(body), append(signed, "Content-Type", kind+params)...); got.status != want {
				t.Errorf("%s, %s: %v, want %d", format, params, got, want)
			}
		}
		if got := r.log.IDs(cloud); len(got) != 1 {
			t.Errorf("%s: stored is %q", format, got)
		}
	}
}

// What is ASCII reads the same in most charsets, and is taken in those.
func TestCharsetsOfASCII(t *testing.T) {
	t.Parallel()
	for format, body := range map[string]string{formatJSON: `{"type":"t","id":"e"}`, formatCeilometer: `{"event_type":"t","message_id":"e"}`} {
		r, headers := signedRig(t, format, schemes()["github"])
		post := func(body []byte, charset string, want int, more ...string) {
			t.Helper()
			all := append(headers("", time.Now(), body), "Content-Type", "application/json; charset="+charset)
			if got := r.post(t, body, append(all, more...)...); got.status != want {
				t.Errorf("%s, %s: %v, want %d", format, charset, got, want)
			}
		}
		for charset, want := range map[string]int{
			"us-ascii": 200, "ISO-8859-1": 200, "windows-1252": 200, "shift_jis": 200, "": 200,
			"utf-16": 415, "utf-16be": 415, "iso-2022-jp": 415, "hz-gb-2312": 415, "klingon": 415,
		} {
			post([]byte(body), charset, want)
		}
		post([]byte(strings.Replace(body, `"e"`, `"é"`, 1)), "us-ascii", 415)
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for how, packed := range map[string][]byte{"gzip": packed(t, body), "zstd": z.EncodeAll([]byte(body), nil)} {
			post(packed, "us-ascii", 415, "Content-Encoding", how)
			post(packed, "utf-8", 200, "Content-Encoding", how)
		}
		if got := r.log.IDs(cloud); len(got) != 1 {
			t.Errorf("%s: stored is %q", format, got)
		}
	}
}

// In which way a body is read is a part of the name by which a request is known again, and nothing else: what is not signed makes no
// more than a few of one.
func TestNamesOfWhatIsSigned(t *testing.T) {
	for name, scheme := range schemes() {
		v, err := newVerifier(scheme)
		if err != nil {
			t.Fatal(err)
		}
		body, now := []byte("{}"), time.Now()
		of := func(more ...string) signed {
			h := v.headers("1", now, body)
			for i := 0; i < len(more); i += 2 {
				h.Add(more[i], more[i+1])
			}
			name, refused := v.check(h, body, now)
			if refused != nil {
				t.Fatal(refused)
			}
			return name
		}
		seen := map[signed]string{of(): "nothing"}
		for _, more := range [][]string{
			{"Content-Type", oneJSON}, {"Content-Type", batchJSON}, {"Content-Type", "application/json; charset=latin1"},
			{"Content-Type", oneJSON + "; charset=latin1"}, {"Content-Encoding", "gzip"}, {"Content-Encoding", "zstd"},
			{"Content-Type", oneJSON, "Content-Encoding", "zstd"},
		} {
			if other, is := seen[of(more...)]; is {
				t.Errorf("%s: with %q it is known as with %s", name, more, other)
			}
			seen[of(more...)] = fmt.Sprintf("%q", more)
		}
		for _, same := range [][2][]string{
			{nil, {"User-Agent", "x", "X-Request-Id", "y"}}, {nil, {"Content-Type", "application/json; a=1"}}, {nil, {"Content-Type", "text/plain"}},
			{nil, {"Content-Type", "application/x1+json; charset=utf8"}}, {nil, {"Ce-Source", "a"}}, {nil, {"Ce-X", "a", "Ce-X", "b"}},
			{nil, {"Content-Encoding", "Identity"}}, {{"Content-Type", oneJSON}, {"Content-Type", oneJSON + "; a=2; charset=UTF-8", "Ce-X", "1"}},
			{{"Content-Encoding", "gzip"}, {"Content-Encoding", "X-GZIP"}},
		} {
			if of(same[0]...) != of(same[1]...) {
				t.Errorf("%s: with %q it is another one than with %q", name, same[1], same[0])
			}
		}
	}
}
