package httppoll

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

// The nine rules that keep events from being lost or coming twice, each with a service that would make one of both happen
// without it.

// The bounds are chosen once and sent with every page of a run.
func TestTheRangeIsFrozenWhenARunBegins(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.paging, s.order = PageNumber, "descending" // a list that grew at its head would show records twice
		cfg := configured("http://service", s)
		cfg.Cursor.Send.Until, cfg.Cursor.Overlap = "until", 0
		src, out := local(t, cfg, s), newSink(t)
		for range 40 {
			s.put(time.Now())
			time.Sleep(time.Second)
		}
		s.behind = func() { time.Sleep(3 * time.Second); s.put(time.Now()) }
		for round := range 3 {
			s.seen = nil
			for range 10 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			if round == 0 && out.repeats > 0 {
				t.Errorf("%d records came twice", out.repeats)
			}
			first := s.seen[0].URL.Query()
			for _, r := range s.seen {
				if q := r.URL.Query(); q.Get("from") != first.Get("from") || q.Get("until") != first.Get("until") || q.Get("until") == "" {
					t.Errorf("the first page was asked for from %s until %s, another from %s until %s", first.Get("from"), first.Get("until"),
						q.Get("from"), q.Get("until"))
				}
			}
			if len(s.seen) < 2 {
				t.Errorf("only %d pages", len(s.seen))
			}
		}
	})
}

// A page that can't be had fails what it is a part of: the cursor stays before it.
func TestTheCursorMovesWithWhatItCovers(t *testing.T) {
	for _, order := range []string{"ascending", "descending"} {
		bubble(t, order, func(t *testing.T) {
			s := newService()
			s.order = order
			for range 30 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			cfg := configured("http://service", s)
			cfg.Cursor.Overlap = 0
			src, out := local(t, cfg, s), newSink(t)
			s.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Get("at") != "14" {
					return false
				}
				http.Error(w, "no", http.StatusForbidden)
				return true
			}
			err := src.fetch(t.Context(), out.from, out.emit)
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "answered 403") {
				t.Errorf("the error is %v", err)
			}
			if len(out.ids) != 14 || len(out.marks) != 0 {
				t.Errorf("%d were handed over, and the watermarks %v told", len(out.ids), out.marks)
			}
			s.intercept, s.seen = nil, nil
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
			from := s.seen[0].URL.Query().Get("from")
			if order == "ascending" && from != s.form.Format(s.records[13].At) || order == "descending" && from != "" {
				t.Errorf("it goes on from %q", from)
			}
		})
	}
}

// Records that show in any order for a while are all had, if settle says for how long.
func TestTheCursorStaysBehindWhatHasSettled(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.order = "unordered"
		cfg := configured("http://service", s)
		cfg.Cursor.Overlap, cfg.Cursor.Settle = 0, 20*time.Second
		src, out := local(t, cfg, s), newSink(t)
		for i := range 200 {
			s.put(time.Now().Add(-time.Duration(i*7%19) * time.Second))
			time.Sleep(500 * time.Millisecond)
			if i%5 == 0 {
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
		if out.repeats == 0 {
			t.Error("nothing was read twice: settle was not needed")
		}
	})
}

// Of windows that have nothing in them the cursor passes those that were asked for with both bounds, and no further than
// what has settled.
func TestAnEmptyRunMovesTheCursorIfItWasBounded(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor.Send.Until, cfg.Cursor.Window, cfg.Cursor.Settle = "until", 10*time.Minute, time.Minute
		cfg.Cursor.Start = startAt(time.Now())
		src, out := local(t, cfg, s), newSink(t)
		time.Sleep(5 * time.Minute)
		for range 20 {
			s.put(time.Now())
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Hour)
		late := s.put(time.Now().Add(-70 * time.Second))
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
		for _, r := range s.seen {
			q := r.URL.Query()
			from, _ := s.form.Parse(q.Get("from"))
			until, _ := s.form.Parse(q.Get("until"))
			if until.Sub(from) > 10*time.Minute+cfg.Cursor.Overlap {
				t.Errorf("asked for %s to %s", from, until)
			}
		}
		if n := len(s.seen); n < 18 || n > 30 {
			t.Errorf("%d requests for three hours in windows of ten minutes", n)
		}
		at, err := decodeState(out.from.Cursor)
		if err != nil {
			t.Fatal(err)
		}
		p := at.Parts[""]
		if settled := time.Now().Add(-time.Minute); p.Newest.After(settled) || p.From.After(settled.Add(-cfg.Cursor.Overlap)) || p.Newest.Before(late.At) {
			t.Errorf("the cursor stands at %s, and reads from %s; settled is what is before %s", p.Newest, p.From, settled)
		}
	})
}

// What leads nowhere new is an error, and soon.
func TestWhatLeadsNowhereNewIsAnError(t *testing.T) {
	page := func(next string) string {
		return `{"events": [{"id": "a", "at": "2000-01-01T00:00:00Z", "type": "x"}], "next": ` + next + `}`
	}
	for name, test := range map[string]struct {
		paging string
		answer func(n int) string
		want   string
	}{
		"the same token again": {PageToken, func(int) string { return page(`"1"`) }, "leads back to one that was read already"},
		"always other tokens":  {PageToken, func(n int) string { return page(fmt.Sprintf(`"%d"`, n)) }, "no record that was not on the page before it"},
		"always new records": {PageToken, func(n int) string {
			return strings.ReplaceAll(page(fmt.Sprintf(`"%d"`, n)), `"a"`, fmt.Sprintf(`"a%d"`, n))
		}, "more than 1000 pages"},
		"a circle": {PageURL, func(n int) string {
			return strings.ReplaceAll(page(fmt.Sprintf(`"/events?p=%d"`, n%3)), `"a"`, fmt.Sprintf(`"a%d"`, n%3))
		}, "leads back"},
		"another host":           {PageURL, func(int) string { return page(`"http://evil.example/events"`) }, "another host, evil.example"},
		"another scheme":         {PageURL, func(int) string { return page(`"https://service/events"`) }, "another host"},
		"no URL":                 {PageURL, func(int) string { return page(`"http://[::1"`) }, "no URL"},
		"the page never changes": {PageNumber, func(int) string { return page(`""`) }, "no record that was not on the page before it"},
		"no marker":              {PageMarker, func(int) string { return `{"events": [{"at": "2000-01-01T00:00:00Z"}]}` }, "pagination.from"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService()
			s.paging = test.paging
			n := 0
			src := local(t, configured("http://service", s), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n++
				_, _ = w.Write([]byte(test.answer(n)))
			}))
			out := newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
			if n > 1001 || len(out.marks) > 0 {
				t.Errorf("%d requests, watermarks %v", n, out.marks)
			}
		})
	}
}

// A page that can't be had fails its window: nothing behind the windows before is passed.
func TestAFailedPageFailsItsWindow(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.order = "descending"
		cfg := configured("http://service", s)
		cfg.Cursor.Send.Until, cfg.Cursor.Window, cfg.Cursor.Overlap = "until", 10*time.Minute, 0
		began := time.Now()
		cfg.Cursor.Start = startAt(began)
		for range 60 {
			s.put(time.Now())
			time.Sleep(time.Minute)
		}
		bad := true
		s.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			from, _ := s.form.Parse(r.URL.Query().Get("from"))
			if broken := bad && from.Sub(began) >= 30*time.Minute && r.URL.Query().Get("at") == "7"; broken {
				http.Error(w, "no", http.StatusForbidden)
				return true
			}
			return false
		}
		src, out := local(t, cfg, s), newSink(t)
		if err := src.fetch(t.Context(), out.from, out.emit); !errors.Is(err, event.Invalid) {
			t.Errorf("the error is %v", err)
		}
		at, err := decodeState(out.from.Cursor)
		if passed := at.Parts[""].From.Sub(began); err != nil || passed != 30*time.Minute || len(out.marks) > 0 {
			t.Errorf("the cursor passed %s, %v; %d marks", passed, err, len(out.marks))
		}
		bad = false
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
	})
}

// Whoever sends us to another host (by the next page, a redirect, or the address of a detail) is not followed, and nobody there
// is told who we are.
func TestCredentialsStayWithTheHost(t *testing.T) {
	var asked []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.Path) }))
	defer other.Close()
	record := `{"id": "a", "at": "2000-01-01T00:00:00Z", "type": "x", "url": "` + other.URL + `/detail"}`
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		change func(*Config)
	}{
		"the next page": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"events": [` + record + `], "next": "` + other.URL + `/next"}`))
		}, func(c *Config) {
			c.Pagination = Pagination{Type: PageURL, From: "body.next", Send: Send{In: "query"}, MaxPages: 9}
		}},
		"a header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "<"+other.URL+`/link>; rel="next"`)
			_, _ = w.Write([]byte(`{"events": [` + record + `]}`))
		}, func(c *Config) { c.Pagination = Pagination{Type: PageLink, Send: Send{In: "query"}, MaxPages: 9} }},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/redirect", http.StatusFound)
		}, func(*Config) {}},
		"a detail": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"events": [` + record + `]}`)) },
			func(c *Config) { c.Detail.URL, c.Detail.As = "{{rec.url}}", "more" }},
		"the redirect of a login": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/login", http.StatusTemporaryRedirect)
		}, func(c *Config) {
			c.Auth = Auth{Session: &Session{URL: c.Request.URL, JSON: map[string]string{"p": "{{password}}"}, Password: "s3cret", Token: "body.t",
				Send: SessionSend{Name: "X"}}}
		}},
	} {
		src := served(t, http.HandlerFunc(test.answer), func(c *Config) {
			c.Auth.Bearer = &Bearer{Token: "s3cret"}
			test.change(c)
		})
		out := newSink(t)
		err := src.fetch(t.Context(), out.from, out.emit)
		if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "another host") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error is %v", name, err)
		}
		if len(out.marks) > 0 || len(asked) > 0 {
			t.Errorf("%s: %v was asked there, %d marks", name, asked, len(out.marks))
		}
	}
}

// What can lose events or have them come twice, whatever the source does, is said before it happens.
func TestTheCheckWarnsOfWhatMayBeLost(t *testing.T) {
	for name, test := range map[string]struct {
		order, paging string
		change, mend  func(*Config)
		field         string
	}{
		"pages of a list that changes while it is read": {"unordered", PageOffset, func(c *Config) {
			c.Cursor.Type, c.Cursor.Field, c.Cursor.Format, c.Cursor.Overlap, c.Cursor.Send = CursorNone, "", nil, 0, Send{In: "query"}
		}, func(c *Config) {
			c.Pagination.Type, c.Pagination.Send.Name, c.Pagination.From = PageMarker, "marker", "last.id"
		}, "pagination.type"},
		"records that show late": {"ascending", PageToken, func(c *Config) { c.Cursor.Overlap = 0 },
			func(c *Config) { c.Cursor.Overlap = time.Minute }, "cursor.overlap"},
	} {
		bubble(t, name, func(t *testing.T) {
			lost := func(mended bool) (lost int, doubts []Problem) {
				s := newService()
				s.order, s.paging = test.order, test.paging
				cfg := configured("http://service", s)
				if test.change(&cfg); mended {
					test.mend(&cfg)
					s.paging = cfg.Pagination.Type
				}
				src, out := local(t, cfg, s), newSink(t)
				pages := 0
				s.behind = func() {
					if pages++; test.paging == PageOffset && pages == 1 && len(s.records) > 6 { // what was read is removed, but for the last
						s.records = s.records[6:]
					}
				}
				var all []event.ID
				for range 8 {
					for range 25 {
						all = append(all, event.ID(s.put(time.Now()).ID))
						time.Sleep(100 * time.Millisecond)
					}
					if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
						t.Fatal(err)
					}
					if pages = 0; test.paging == PageOffset {
						s.records = nil
					}
					all = append(all, event.ID(s.put(time.Now().Add(-10*time.Second)).ID))
				}
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
				for _, id := range all {
					if !out.known[id] {
						lost++
					}
				}
				return lost, cfg.Doubts()
			}
			n, doubts := lost(false)
			if n == 0 || len(doubts) == 0 || doubts[0].Field != test.field {
				t.Errorf("%d are lost, and the doubts are %v", n, doubts)
			}
			n, doubts = lost(true)
			for _, d := range doubts {
				if d.Field == test.field {
					t.Errorf("mended, it is still doubted: %s", d)
				}
			}
			if n > 0 {
				t.Errorf("mended, %d are lost", n)
			}
		})
	}
}

// A service that says when it will serve again is not asked before, whichever way it says it: one that locks out who does would
// be lost.
func TestRetryAfterIsKept(t *testing.T) {
	for name, after := range map[string]func(d time.Duration) string{
		"seconds": func(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) },
		"a date":  func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) },
	} {
		for _, order := range []string{"ascending", "descending"} {
			bubble(t, name+" "+order, func(t *testing.T) {
				s := newService()
				s.order = order
				for range 60 {
					s.put(time.Now())
					time.Sleep(time.Second)
				}
				served, until, locked := 0, time.Time{}, false
				cfg := configured("http://service", s)
				out := newSink(t)
				collected(t, out, func() int { return len(s.records) }, 6*time.Hour, func() *Source {
					return local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if locked = locked || time.Now().Before(until); locked {
							w.WriteHeader(http.StatusForbidden)
							return
						}
						if served++; served%4 == 0 {
							until = time.Now().Add(14 * time.Minute)
							w.Header().Set("Retry-After", after(14*time.Minute))
							w.WriteHeader(http.StatusTooManyRequests)
							return
						}
						s.ServeHTTP(w, r)
					}))
				})
				if out.wantAll(s); locked {
					t.Error("it was asked too early")
				}
			})
		}
	}
}
