package httppoll

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

// A service that is followed by its next link, for ever, is asked where it led to: nothing is asked for again, and nothing missed.
func TestResumesWhereTheServiceLed(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor = Cursor{Type: CursorToken, Token: "links.next", Boundary: "inclusive", Order: "unordered", Send: Send{In: "url"}}
		cfg.Pagination = Pagination{Type: PageLink, Stop: stopEmpty, MaxPages: 100, Send: Send{In: "query"}}
		cfg.Request.Query = map[string][]string{"since": {"x"}}
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var at int
			_, _ = fmt.Sscan(r.URL.Query().Get("at"), &at)
			if r.URL.Query().Has("since") == r.URL.Query().Has("at") {
				t.Errorf("asked for %s", r.URL)
			}
			// On two lines, the other one first.
			w.Header().Add("Link", `</events?self>; rel="self"`)
			w.Header().Add("Link", fmt.Sprintf(`</events?at=%d>; rel="next"`, min(at+7, len(s.records))))
			s.ServeHTTP(w, r)
		})), newSink(t)
		for range 5 {
			for range 9 {
				s.put(time.Now())
			}
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		out.wantAll(s)
		if out.repeats > 0 {
			t.Errorf("%d came again", out.repeats)
		}
		if n := len(s.seen); n > 20 {
			t.Errorf("%d requests", n)
		}
	})
}

// The address in a cursor is one of the host that is configured, whoever wrote it.
func TestResumesOnlyOnTheHost(t *testing.T) {
	for name, test := range map[string]struct{ link, from, want string }{
		"the service leads away":  {"http://elsewhere/events?at=1", "", "another host, elsewhere"},
		"the cursor leads away":   {"/events?at=1", "http://elsewhere/events?at=1", "another host than request.url"},
		"a scheme without secret": {"/events?at=1", "https://service/events", "another host than request.url"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService()
			cfg := configured("http://service", s)
			cfg.Cursor = Cursor{Type: CursorToken, Token: "body.link", Boundary: "inclusive", Order: "unordered", Send: Send{In: "url"}}
			cfg.Pagination = Pagination{Type: PageNone, MaxPages: 100, Send: Send{In: "query"}}
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Host != "service" || r.URL.Scheme != "http" {
					t.Errorf("%s was asked", r.URL)
				}
				_, _ = fmt.Fprintf(w, `{"events": [], "link": %q}`, test.link)
			})), newSink(t)
			if test.from != "" {
				cursor, err := state{Parts: map[string]*position{"": {Token: test.from, Began: true}}}.encode()
				if err != nil {
					t.Fatal(err)
				}
				out.from.Cursor = cursor
			}
			err := src.fetch(t.Context(), out.from, out.emit)
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// Where the newest come first and no time can be asked from, what was read already ends the reading.
func TestNewestFirstWithoutATimeToAskFrom(t *testing.T) {
	for _, paging := range []string{PageNumber, PageOffset, PageToken, PageLink} {
		bubble(t, paging, func(t *testing.T) {
			s := newService()
			s.paging, s.order = paging, "descending"
			cfg := configured("http://service", s)
			cfg.Cursor.Order, cfg.Cursor.Send = "descending", Send{In: "none"}
			src, out := local(t, cfg, s), newSink(t)
			for range 100 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			for range 20 {
				s.seen = nil
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
				for range 6 {
					time.Sleep(2 * time.Second)
					s.put(time.Now())
					s.put(time.Now().Add(-20 * time.Second))
				}
			}
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
			if n := len(s.seen); n > 12 {
				t.Errorf("%d requests in a run", n)
			}
		})
	}
}

// A service may go by a time that no record has: what was asked for with both bounds is read. The bounds may stand in texts.
func TestATimeThatNoRecordHas(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.paging = PageNone
		cfg := configured("http://service", s)
		cfg.Cursor.Field, cfg.Cursor.Format, cfg.Cursor.Overlap, cfg.Cursor.Order = "", nil, 0, "unordered"
		cfg.Cursor.Send, cfg.Cursor.Window, cfg.Cursor.Settle = Send{In: "none"}, 10*time.Minute, 5*time.Second
		cfg.Request.Query = map[string][]string{"from": {"{{from}}"}, "until": {`{{until < start - duration("5s") ? until : start - duration("5s")}}`}}
		began := time.Now()
		if err := cfg.Cursor.Start.UnmarshalText([]byte(began.Format(time.RFC3339))); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			s.put(time.Now())
			time.Sleep(time.Minute)
		}
		time.Sleep(2 * time.Second) // the sixth window would end in what has not settled
		src, out := local(t, cfg, s), newSink(t)
		s.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
			if q := r.URL.Query(); q.Get("until") < q.Get("from") {
				t.Errorf("asked from %s until %s", q.Get("from"), q.Get("until"))
			}
			return false
		}
		for range 30 {
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			s.put(time.Now())
			time.Sleep(7 * time.Second)
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
		if out.repeats > 0 || len(s.seen) > 40 {
			t.Errorf("%d came again, %d requests", out.repeats, len(s.seen))
		}
	})
}

// The end of a range is sent as exactly as its form can say: what happened behind it in the same second is not passed over.
func TestTheEndIsWhatWasSent(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor.Overlap, cfg.Cursor.Order = 0, "unordered"
		cfg.Cursor.Send = Send{In: "query", Name: "from", Until: "until", Format: "2006-01-02T15:04:05Z"}
		src, out := local(t, cfg, s), newSink(t)
		for range 20 {
			time.Sleep(700 * time.Millisecond)
			s.put(time.Now())
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
	})
}

// In a list that grows at its beginning the last page may have nothing but what was on the page before it.
func TestAPageOfOneKnownRecordIsNoCircle(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.paging, s.order = PageNumber, "descending"
		for range 14 {
			s.put(time.Now())
			time.Sleep(time.Second)
		}
		cfg := configured("http://service", s)
		n := 0
		s.behind = func() {
			if n++; n == 2 {
				s.put(time.Now())
			}
		}
		src, out := local(t, cfg, s), newSink(t)
		for range 2 {
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		out.wantAll(s)
	})
}

// What can't be meant is a mistake that says so.
func TestWhatANewCursorNeeds(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *Config)
		want   string
	}{
		"an address and numbered pages": {func(c *Config) {
			c.Cursor = Cursor{Type: CursorToken, Token: "links.next", Boundary: "inclusive", Order: "unordered", Send: Send{In: "url"}}
			c.Pagination.Type, c.Pagination.Send.Name = PageNumber, "page"
		}, "cursor.send.in: is url, and pagination.type is page: one of none, next_url, link_header is meant"},
		"an address of a time":    {func(c *Config) { c.Cursor.Send.In = "url" }, "cursor.send.in: is url, for a token that is an address: cursor.type: token"},
		"a page behind a word":    {func(c *Config) { c.Pagination.Send.In = "url" }, "pagination.send.in: is url, which is for cursor.send"},
		"no field and no end":     {func(c *Config) { c.Cursor.Field = "" }, "cursor.field: is missing: where a record has its time or number (a time that no record says"},
		"a window without an end": {func(c *Config) { c.Cursor.Window = time.Hour }, "cursor.window: needs send.until"},
	} {
		cfg := configured("http://service", newService())
		test.change(&cfg)
		found := fmt.Sprint(cfg.Validate())
		if !strings.Contains(found, test.want) {
			t.Errorf("%s: found %s, want %s", name, found, test.want)
		}
	}
	bounded := configured("http://service", newService())
	bounded.Cursor.Field, bounded.Cursor.Window, bounded.Cursor.Send = "", time.Hour, Send{In: "none"}
	bounded.Request.Query = map[string][]string{"range": {"{{from}}/{{until}}"}}
	if found := bounded.Validate(); len(found) > 0 {
		t.Errorf("both bounds are sent, and still: %v", found)
	}
}
