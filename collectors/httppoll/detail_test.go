package httppoll

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// detailed is a service that has more of each record elsewhere.
type detailed struct {
	*service
	mu    sync.Mutex
	asked map[string]int // by id
	more  func(w http.ResponseWriter, r *http.Request, id string) bool
}

func (d *detailed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutPrefix(r.URL.Path, "/things/")
	if !ok {
		d.service.ServeHTTP(w, r)
		return
	}
	d.mu.Lock()
	d.asked[id]++
	d.mu.Unlock()
	if d.more != nil && d.more(w, r, id) {
		return
	}
	_, _ = fmt.Fprintf(w, `{"thing": {"id": "another", "name": %q, "changes": [1.50]}}`, "of "+id)
}

func (d *detailed) total() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, times := range d.asked {
		n += times
	}
	return n
}

func withDetail(s *service) Config {
	cfg := configured("http://service", s)
	cfg.Detail = Detail{
		URL: "http://service/things/{{rec.id}}", Method: "GET", Path: "thing", As: "more", Concurrency: 3,
		On: map[string]string{"404, 410": "keep"},
	}
	return cfg
}

// bodies takes the bodies of what is handed over.
type bodies struct {
	*sink
	bodies map[event.ID]string
}

func (b *bodies) emit(t *testing.T, src *Source) error {
	t.Helper()
	return src.fetch(t.Context(), b.from, func(ctx context.Context, batch collectors.Batch) error {
		for _, e := range batch.Events {
			if !b.known[e.ID] {
				b.bodies[e.ID] = string(e.Body)
			}
		}
		return b.sink.emit(ctx, batch)
	})
}

// Each record has its detail, in the order of the records, by the same bytes whoever asks; what is read back is not asked for again.
func TestDetails(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"a member": {nil, `{"at":"%s","id":"e0003","n":3,"type":"thing.done","more":{"id": "another", "name": "of e0003", "changes": [1.50]}}`},
		"merged": {func(c *Config) { c.Detail.As, c.Detail.Merge = "", true },
			`{"at":"%s","id":"another","n":3,"type":"thing.done","name":"of e0003","changes":[1.50]}`},
		"a part":         {func(c *Config) { c.Detail.Path = "thing.changes" }, `{"at":"%s","id":"e0003","n":3,"type":"thing.done","more":[1.50]}`},
		"in its place":   {func(c *Config) { c.Detail.Path, c.Detail.As = "thing.name", "type" }, `{"at":"%s","id":"e0003","n":3,"type":"of e0003"}`},
		"not wanted":     {func(c *Config) { c.Detail.When = `rec.id == "e0001"` }, `{"at":"%s","id":"e0003","n":3,"type":"thing.done"}`},
		"by a path":      {func(c *Config) { c.Detail.URL = "/things/{{rec.id}}" }, ""},
		"by its address": {func(c *Config) { c.Detail.URL = `{{"http://service/things/" + rec.id}}` }, ""},
	} {
		bubble(t, name, func(t *testing.T) {
			d := &detailed{service: newService(), asked: map[string]int{}}
			cfg := withDetail(d.service)
			if test.change != nil {
				test.change(&cfg)
			}
			out := &bodies{newSink(t), map[event.ID]string{}}
			src := local(t, cfg, d)
			for range 10 {
				for range 3 {
					d.put(time.Now())
					time.Sleep(time.Second)
				}
				if err := out.emit(t, src); err != nil {
					t.Fatal(err)
				}
			}
			out.wantAll(d.service)
			if out.repeats > 0 || len(d.seen) < 20 {
				t.Errorf("%d were handed over twice, of %d pages", out.repeats, len(d.seen))
			}
			want := test.want
			if want == "" {
				want = `{"at":"%s","id":"e0003","n":3,"type":"thing.done","more":{"id": "another", "name": "of e0003", "changes": [1.50]}}`
			}
			want = strings.ReplaceAll(want, "%s", d.form.Format(d.records[2].At))
			if out.bodies["e0003"] != want {
				t.Errorf("the record is %s, want %s", out.bodies["e0003"], want)
			}
			if n := d.total(); n > 30 {
				t.Errorf("%d details of 30 records were asked for", n)
			}
			again := &bodies{newSink(t), map[event.ID]string{}}
			if err := again.emit(t, local(t, cfg, d)); err != nil {
				t.Fatal(err)
			}
			for id, body := range out.bodies {
				if again.bodies[id] != body {
					t.Errorf("%s is %s, and later %s", id, body, again.bodies[id])
				}
			}
			for i, id := range again.ids {
				if want := event.ID(fmt.Sprintf("e%04d", i+1)); id != want {
					t.Errorf("record %d is %s", i, id)
				}
			}
		})
	}
}

// A detail that can't be had fails the page, unless the configuration says that the record goes without; the cursor stays.
func TestDetailsThatFail(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		change func(*Config)
		want   string // "": the record goes without
	}{
		"gone":           {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }},
		"refused":        {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, want: "/things/e0010 answered 403"},
		"out of order":   {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, want: "answered 502"},
		"nothing":        {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, want: "answered 204"},
		"HTML":           {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, want: "is no JSON but begins with"},
		"something else": {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"error": 1}`)) }, want: "has no thing"},
		"cut off":        {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"thing": {`)) }, want: "cut off"},
		"no JSON inside": {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"thing": {"a": }}`)) }, want: "answered 200"},
		"too large": {answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"thing": "` + strings.Repeat("x", 70<<10) + `"}`))
		}, want: "larger than max_body"},
		"no object": {
			answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"thing": [1]}`)) },
			change: func(c *Config) { c.Detail.As, c.Detail.Merge = "", true }, want: "detail.merge wants one",
		},
		"another host": {
			answer: func(http.ResponseWriter, *http.Request) {},
			change: func(c *Config) {
				c.Detail.URL = `{{rec.n < 10 ? "/things/" + rec.id : "http://evil.example/" + rec.id}}`
			},
			want: "leads to another host, evil.example",
		},
		"no address": {
			answer: func(http.ResponseWriter, *http.Request) {},
			change: func(c *Config) { c.Detail.URL = `{{rec.n < 10 ? "/things/" + rec.id : ""}}` }, want: "is empty for a record",
		},
		"a way up": {
			answer: func(http.ResponseWriter, *http.Request) {},
			change: func(c *Config) { c.Detail.URL = `/things/{{rec.n < 10 ? rec.id : ".."}}` }, want: `is ".." for a record`,
		},
	} {
		bubble(t, name, func(t *testing.T) {
			d := &detailed{service: newService(), asked: map[string]int{}}
			d.more = func(w http.ResponseWriter, r *http.Request, id string) bool {
				if id == "e0010" {
					test.answer(w, r)
				}
				return id == "e0010"
			}
			cfg := withDetail(d.service)
			cfg.Request.MaxBody, cfg.Cursor.Overlap = 64<<10, 0
			if test.change != nil {
				test.change(&cfg)
			}
			for range 20 {
				d.put(time.Now())
				time.Sleep(time.Second)
			}
			out := &bodies{newSink(t), map[event.ID]string{}}
			src := local(t, cfg, d)
			err := out.emit(t, src)
			if test.want == "" {
				if out.wantAll(d.service); err != nil || strings.Contains(out.bodies["e0010"], "more") {
					t.Errorf("%v, and the record is %s", err, out.bodies["e0010"])
				}
				return
			}
			if event.KindOf(err) == 0 || !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
			if len(out.ids) != 7 || len(out.marks) > 0 {
				t.Errorf("%d were handed over, %d marks", len(out.ids), len(out.marks))
			}
			// Mended, all comes, and what was had of the page is not asked for again.
			d.more = nil
			src.cfg.Detail = withDetail(d.service).Detail
			fixed := local(t, withDetail(d.service), d)
			src.programs = fixed.programs
			if err := out.emit(t, src); err != nil {
				t.Fatal(err)
			}
			out.wantAll(d.service)
			if d.asked["e0008"] != 1 {
				t.Errorf("e0008 was asked for %d times", d.asked["e0008"])
			}
		})
	}
}

// Details of one page may be far more requests than a quota has at a time.
func TestDetailsBeyondAQuota(t *testing.T) {
	for _, order := range []string{"ascending", "descending"} {
		bubble(t, order, func(t *testing.T) {
			d := &detailed{service: newService(), asked: map[string]int{}}
			d.order, d.size = order, 20
			for range 50 {
				d.put(time.Now())
				time.Sleep(time.Second)
			}
			cfg := withDetail(d.service)
			cfg.Detail.Concurrency = 1
			cfg.Retry.Max = 2 * time.Hour
			cfg.RateLimit.Remaining, cfg.RateLimit.Reset.Header = "X-RateLimit-Remaining", "X-RateLimit-Reset"
			q := &quota{service: d, limit: 6, period: time.Hour, as: "seconds", status: http.StatusTooManyRequests}
			out := newSink(t)
			collected(t, out, func() int { return len(d.records) }, 20*time.Hour, func() *Source { return local(t, cfg, q) })
			out.wantAll(d.service)
			if q.poached > 0 || q.requests > 90 {
				t.Errorf("%d requests for 53, %d with nothing left", q.requests, q.poached)
			}
		})
	}
}

// So many are asked for at once and no more, and who we are is told with each.
func TestDetailsAtOnce(t *testing.T) {
	s := newService()
	s.size = 40
	for range 40 {
		s.put(time.Now())
	}
	var now, most atomic.Int64
	all := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := strings.CutPrefix(r.URL.Path, "/things/")
		if r.Header.Get("Authorization") != "Bearer x" {
			t.Errorf("%s does not say who asks", r.URL)
		}
		if !ok {
			s.ServeHTTP(w, r)
			return
		}
		if n := now.Add(1); n > most.Load() {
			if most.Store(n); n == 5 {
				close(all)
			}
		}
		<-all
		now.Add(-1)
		_, _ = w.Write([]byte(strconv.Quote(id)))
	}))
	defer server.Close()
	cfg := configured(server.URL, s)
	cfg.Auth.Bearer = &Bearer{Token: "x"}
	cfg.Detail = Detail{URL: server.URL + "/things/{{rec.id}}", Method: "GET", As: "more", Concurrency: 5}
	src, err := New(cfg, Options{Format: "http/test"})
	if err != nil {
		t.Fatal(err)
	}
	out := newSink(t)
	if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
		t.Fatal(err)
	}
	out.wantAll(s)
	if most.Load() != 5 {
		t.Errorf("%d were asked for at once", most.Load())
	}
	for i, id := range out.ids {
		if want := event.ID(fmt.Sprintf("e%04d", i+1)); id != want {
			t.Errorf("record %d is %s", i, id)
		}
	}
}

// A member of a URL's path that a record has stays one.
func TestDetailPaths(t *testing.T) {
	asked := ""
	cfg := withDetail(newService())
	cfg.Detail.URL = "http://service/a/{{rec.id}}/b"
	src := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			_, _ = w.Write([]byte(`{"events": [{"id": "x/../y?a=b#c %2e", "at": "2000-01-01T00:00:00Z", "type": "x"}]}`))
			return
		}
		asked = r.URL.EscapedPath() + "?" + r.URL.RawQuery
		_, _ = w.Write([]byte(`{"thing": 1}`))
	}))
	out := newSink(t)
	if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
		t.Fatal(err)
	}
	if want := "/a/x%2F..%2Fy%3Fa=b%23c%20%252e/b?"; asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
}

func TestComplete(t *testing.T) {
	for _, test := range []struct{ record, name, addition, want string }{
		{`{}`, "a", `1`, `{"a":1}`},
		{` {"a": 1.50 , "b":[ ]} `, "c", `{"x": 1}`, `{"a":1.50,"b":[ ],"c":{"x": 1}}`},
		{`{"a":1,"b":2,"a":3}`, "a", `4`, `{"a":4,"b":2}`},
		{`{"a":1,"b":2}`, "", `{"b":3,"c":4,"b":5}`, `{"a":1,"b":5,"c":4}`},
		{`{"<é>":1}`, "\"", `2`, `{"<é>":1,"\"":2}`},
		{`[1]`, "a", `1`, ``}, {`{}`, "", `[1]`, ``},
	} {
		got, err := complete([]byte(test.record), test.name, []byte(test.addition))
		if string(got) != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s with %s %s is %s, %v; want %s", test.record, test.name, test.addition, got, err, test.want)
		}
	}
	if _, err := complete([]byte("x"), "a", nil); errors.Is(err, nil) {
		t.Error("no object was taken for one")
	}
}
