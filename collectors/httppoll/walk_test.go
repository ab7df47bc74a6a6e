package httppoll

import (
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
	for _, paging := range []string{PageNumber, PageOffset, PageToken, PageURL, PageLink, PageMarker, PageTime, PageNone} {
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
					for round := range 12 {
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
					most := 500
					if paging == PageTime && order != "ascending" {
						most = 800 // each page that is full is asked for in parts
					}
					if n := len(s.seen); n > most {
						t.Errorf("%d requests", n)
					}
				})
			}
		}
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
