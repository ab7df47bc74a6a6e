package httppoll

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
)

// bubble runs a test in virtual time.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// Every way to ask for pages, with every order, gets everything once, while records come, late ones too.
func TestEveryPaging(t *testing.T) {
	for _, paging := range []string{PageNumber, PageOffset, PageToken, PageURL, PageLink, PageMarker, PageNone} {
		for _, order := range []string{"ascending", "descending", "unordered"} {
			for _, strict := range []bool{false, true} {
				bubble(t, fmt.Sprintf("%s %s %v", paging, order, strict), func(t *testing.T) {
					s := newService()
					s.paging, s.order, s.strict = paging, order, strict
					cfg := configured("http://service", s)
					if order != "ascending" {
						cfg.Cursor.Send.Until = "until"
					}
					src, out := local(t, cfg, s), newSink(t)
					for range 30 {
						s.put(time.Now())
						time.Sleep(100 * time.Millisecond)
					}
					for round := range 20 {
						for i := range round {
							s.put(time.Now().Add(-time.Duration(i%3) * 5 * time.Second))
							time.Sleep(10 * time.Millisecond)
						}
						if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
							t.Fatal(err)
						}
						time.Sleep(10 * time.Second)
					}
					if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
						t.Fatal(err)
					}
					out.wantAll(s)
					if n := len(s.seen); n > 500 {
						t.Errorf("%d requests", n)
					}
				})
			}
		}
	}
}

// The bounds are chosen once and sent with every page of a run.
func TestBoundsAreFrozen(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor.Send.Until = "until"
		src, out := local(t, cfg, s), newSink(t)
		for range 40 {
			s.put(time.Now())
			time.Sleep(time.Second)
		}
		s.behind = func() { time.Sleep(3 * time.Second); s.put(time.Now()) }
		for range 3 {
			s.seen = nil
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
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
func TestAFailedPageIsNotPassed(t *testing.T) {
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

// What leads nowhere new is an error, and soon.
func TestEndlessPages(t *testing.T) {
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

// Services that always lead on, though there is nothing more, are left at an empty page; those that fill every page but the last
// at one that is not full.
func TestStops(t *testing.T) {
	for stop, want := range map[string]int{stopEmpty: 4, stopShort: 3} {
		bubble(t, stop, func(t *testing.T) {
			s := newService()
			cfg := configured("http://service", s)
			cfg.Pagination = Pagination{Type: PageLink, Stop: stop, Size: 7, MaxPages: 10, Send: Send{In: "query"}}
			for range 20 {
				s.put(time.Now())
			}
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				at, _ := strconv.Atoi(r.URL.Query().Get("at"))
				w.Header().Set("Link", fmt.Sprintf(`</events?at=%d>; rel="next"`, min(at+7, 20)))
				s.ServeHTTP(w, r)
			})), newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
			if len(s.seen) != want {
				t.Errorf("%d requests, want %d", len(s.seen), want)
			}
		})
	}
}

// Of windows that have nothing in them the cursor passes those that were asked for with both bounds, and no further than
// what has settled.
func TestWindows(t *testing.T) {
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

// Records that show in any order for a while are all had, if settle says for how long.
func TestSettle(t *testing.T) {
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

func TestNumbers(t *testing.T) {
	for _, strict := range []bool{true, false} {
		bubble(t, fmt.Sprint(strict), func(t *testing.T) {
			s := newService()
			s.strict = strict
			cfg := configured("http://service", s)
			cfg.Cursor = Cursor{Type: CursorInteger, Field: "n", Boundary: "inclusive", Order: "ascending", Send: Send{In: "query", Name: "after_number"}}
			src, out := local(t, cfg, s), newSink(t)
			for round := range 10 {
				for range 3 * round {
					s.put(time.Now())
					time.Sleep(time.Second)
				}
				s.seen = nil
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
			}
			out.wantAll(s)
			if last := s.seen[len(s.seen)-1].URL.Query().Get("after_number"); len(s.seen) > 5 || last == "" {
				t.Errorf("the last run asked %d times, last after %q", len(s.seen), last)
			}
		})
	}
}

func TestNewestFirstWithoutCursor(t *testing.T) {
	bubble(t, "with an ETag", func(t *testing.T) {
		s := newService()
		s.order, s.paging = "descending", PageNone
		cfg := configured("http://service", s)
		cfg.Cursor = Default().Cursor
		etag, same := "", 0
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			etag = fmt.Sprintf(`"%d"`, len(s.records))
			if r.Header.Get("If-None-Match") == etag {
				same++
				w.WriteHeader(http.StatusNotModified)
				return
			}
			w.Header().Set("ETag", etag)
			s.ServeHTTP(w, r)
		})), newSink(t)
		for round := range 10 {
			if round%3 == 0 {
				s.put(time.Now())
			}
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		out.wantAll(s)
		if same != 6 || len(s.seen) != 4 {
			t.Errorf("%d answers that nothing changed, %d others", same, len(s.seen))
		}
	})
}

func TestPartitions(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		regions := map[string]*service{"one": newService(), "two": newService()}
		cfg := configured("http://service", regions["one"])
		cfg.Request.URL = "http://service/{{partition.region}}/events"
		cfg.Partitions.Values, cfg.Partitions.As = []string{"two", "one"}, "region"
		fail := false
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			region := strings.Split(r.URL.Path, "/")[1]
			if fail && region == "two" {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			regions[region].ServeHTTP(w, r)
		})), newSink(t)
		for round := range 9 {
			regions["one"].put(time.Now())
			regions["two"].put(time.Now().Add(-20 * time.Second)) // the same identities
			fail = round%3 == 1
			if err := src.fetch(t.Context(), out.from, out.emit); (err != nil) != fail {
				t.Fatal(err)
			}
			if id := event.ID(fmt.Sprintf("one/e%04d", round+1)); !out.known[id] {
				t.Errorf("%s is missing, though only region two fails", id)
			}
			time.Sleep(time.Minute)
		}
		for region := range regions {
			for n := 1; n <= 9; n++ {
				if id := event.ID(fmt.Sprintf("%s/e%04d", region, n)); !out.known[id] {
					t.Errorf("%s is missing", id)
				}
			}
		}
		if len(out.ids) != 18 {
			t.Errorf("%d came", len(out.ids))
		}
	})
}

// A part of the service that was not there for a while is read on from where it was. If it was not there for so long that what it
// had handed over was forgotten, it is read from where that is known, and it is said.
func TestAPartitionThatComesBack(t *testing.T) {
	for name, test := range map[string]struct {
		pause time.Duration
		all   bool
	}{"soon": {10 * time.Minute, true}, "late": {13 * time.Hour, false}} {
		bubble(t, name, func(t *testing.T) {
			s := newService()
			cfg := configured("http://service", s)
			out := newSink(t)
			said := ""
			for round := range 9 {
				cfg.Partitions.Values, cfg.Partitions.As = []string{"one", "two"}, "region"
				if round/3 == 1 {
					cfg.Partitions.Values = []string{"one"}
				}
				src := local(t, cfg, s)
				src.opts.Report = func(_ bool, what string) { said = what }
				s.put(time.Now())
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
				if told := said != ""; told != (round == 6 && !test.all) {
					t.Errorf("in round %d it says %q", round, said)
				}
				said = ""
				time.Sleep(test.pause)
			}
			if n := len(out.ids); n < 14 || n > 18 || test.all && n != 18 {
				t.Errorf("%d came; want nine of one, and all but what was missed of two", n)
			}
		})
	}
}

func startAt(at time.Time) Start {
	var s Start
	if err := s.UnmarshalText([]byte(at.UTC().Format(time.RFC3339))); err != nil {
		panic(err)
	}
	return s
}
