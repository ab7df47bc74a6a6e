package httppoll

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/timeform"
)

// inSeconds is a service that is asked in whole seconds.
func inSeconds(s *service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		for _, name := range []string{"from", "until"} {
			if at, err := timeform.Unix.Parse(q.Get(name)); err == nil {
				q.Set(name, s.form.Format(at))
			}
		}
		r.URL.RawQuery = q.Encode()
		s.ServeHTTP(w, r)
	})
}

// What is sent may say less than the bounds that were chosen. The cursor passes what was asked for, and not what was meant.
func TestBoundsThatAreCutOff(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor.Send.Format, cfg.Cursor.Send.Until, cfg.Cursor.Overlap = timeform.Unix, "until", 0
		src, out := local(t, cfg, inSeconds(s)), newSink(t)
		for range 50 {
			time.Sleep(700 * time.Millisecond)
			s.put(time.Now())
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
	})
}

// Windows whose ends can't be sent as they are leave nothing between them.
func TestWindowsThatAreCutOff(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor.Send.Format, cfg.Cursor.Send.Until, cfg.Cursor.Overlap = timeform.Unix, "until", 0
		cfg.Cursor.Window = 2500 * time.Millisecond
		cfg.Cursor.Start = startAt(time.Now())
		src, out := local(t, cfg, inSeconds(s)), newSink(t)
		for range 100 {
			time.Sleep(300 * time.Millisecond)
			s.put(time.Now())
		}
		time.Sleep(time.Second)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
		if len(s.seen) < 15 {
			t.Errorf("%d requests for half a minute in windows of two seconds", len(s.seen))
		}
	})
}

// A window behind what has settled is read, and passed only when it has.
func TestWindowsThatHaveNotSettled(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor.Send.Until, cfg.Cursor.Window, cfg.Cursor.Settle, cfg.Cursor.Overlap = "until", 10*time.Minute, time.Hour, 0
		cfg.Cursor.Start = startAt(time.Now().Add(-30 * time.Minute))
		src, out := local(t, cfg, s), newSink(t)
		for i := range 40 {
			s.put(time.Now().Add(-time.Duration(i*13%50) * time.Minute).Add(30 * time.Minute))
			time.Sleep(time.Minute)
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		for _, e := range s.records {
			if early := e.At.Before(startAt(time.Date(1999, 12, 31, 23, 30, 0, 0, time.UTC)).at); !early && !out.known[event.ID(e.ID)] {
				t.Errorf("%s of %s is missing", e.ID, e.At)
			}
		}
	})
}

// A token that stands for what was not read to its end is not kept, unless pages come in order.
func TestATokenOfAFailedRun(t *testing.T) {
	for _, order := range []string{"ascending", "unordered"} {
		bubble(t, order, func(t *testing.T) {
			fail := true
			cfg := configured("http://service", newService())
			cfg.Cursor = Cursor{Type: CursorToken, Token: "body.newest", Boundary: "inclusive", Order: order, Send: Send{In: "query", Name: "since"}}
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				since, _ := strconv.Atoi(r.URL.Query().Get("since"))
				at, _ := strconv.Atoi(r.URL.Query().Get("at"))
				if at == 0 {
					at = since + 1
				}
				if fail && at == 3 {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				newest, next := strconv.Itoa(at), ""
				if order == "unordered" {
					newest = "5"
				}
				if at < 5 {
					next = fmt.Sprintf(`, "next": "%d"`, at+1)
				}
				events := ""
				if at <= 5 {
					events = fmt.Sprintf(`{"id": "%d", "type": "x"}`, at)
				}
				_, _ = fmt.Fprintf(w, `{"events": [%s], "newest": %q%s}`, events, newest, next)
			})), newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); !errors.Is(err, event.Invalid) {
				t.Fatal(err)
			}
			fail = false
			for range 2 {
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
			}
			if len(out.ids) != 5 || order == "ascending" && out.repeats > 0 {
				t.Errorf("%v came, %d twice", out.ids, out.repeats)
			}
		})
	}
}

// A record whose time is wrong and lies ahead makes nothing that stands behind it be passed.
func TestARecordFromTheFuture(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.order = "as they came"
		cfg := configured("http://service", s)
		cfg.Cursor.Order, cfg.Cursor.Overlap = "ascending", 0
		for i := range 40 {
			at := time.Now()
			if i%s.size == s.size-1 {
				at = at.Add(1000 * time.Hour) // the last one of each page
			}
			s.put(at)
			time.Sleep(time.Second)
		}
		src, out := local(t, cfg, s), newSink(t)
		for range 10 {
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		out.wantAll(s)
	})
}

// Bounds that go in a header go with every page, also where the service gave its address.
func TestHeadersGoWithEveryPage(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.paging = PageURL
		cfg := configured("http://service", s)
		cfg.Cursor.Send = Send{In: "header", Name: "X-From", Until: "X-Until"}
		cfg.Cursor.Start = startAt(time.Now())
		for range 20 {
			time.Sleep(time.Second)
			s.put(time.Now())
		}
		src, out := local(t, cfg, s), newSink(t)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		for _, r := range s.seen {
			if r.Header.Get("X-From") == "" || r.Header.Get("X-Until") != s.seen[0].Header.Get("X-Until") {
				t.Errorf("page %s was asked for from %q until %q", r.URL, r.Header.Get("X-From"), r.Header.Get("X-Until"))
			}
		}
		if len(s.seen) != 3 {
			t.Errorf("%d pages", len(s.seen))
		}
	})
}

// A number that comes behind a greater one, in whatever order was promised, is not passed when the run fails.
func TestNumbersOutOfOrder(t *testing.T) {
	for _, order := range []string{"ascending", "unordered"} {
		bubble(t, order, func(t *testing.T) {
			fail := true
			pages := []string{
				`{"events": [{"id": "9", "n": 9, "type": "x"}, {"id": "1", "n": 1, "type": "x"}], "next": "1"}`,
				`{"events": [{"id": "2", "n": 2, "type": "x"}], "next": ""}`,
			}
			asked := []string{}
			cfg := configured("http://service", newService())
			cfg.Cursor = Cursor{Type: CursorInteger, Field: "n", Boundary: "inclusive", Order: order, Send: Send{In: "query", Name: "since"}}
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.Query().Get("since"))
				at, _ := strconv.Atoi(r.URL.Query().Get("at"))
				switch since := r.URL.Query().Get("since"); {
				case at == 1 && fail:
					w.WriteHeader(http.StatusForbidden)
				case since != "":
					_, _ = w.Write([]byte(`{"events": [{"id": "9", "n": 9, "type": "x"}]}`))
				default:
					_, _ = w.Write([]byte(pages[at]))
				}
			})), newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); !errors.Is(err, event.Invalid) {
				t.Fatal(err)
			}
			fail = false
			for range 2 {
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
			}
			if last := asked[len(asked)-1]; len(out.ids) != 3 || last != "9" {
				t.Errorf("%v came, and the last run asked from %q", out.ids, last)
			}
		})
	}
}

// Pages are counted by what the service lists, not by what that is expanded to: a page of which nothing is left is not the end, and
// an offset goes by the list.
func TestPagesOfWhatIsExpanded(t *testing.T) {
	for _, paging := range []string{PageNumber, PageOffset, PageMarker} {
		for _, stop := range []string{"", stopEmpty, stopShort} {
			bubble(t, paging+" "+stop, func(t *testing.T) {
				s := newService()
				s.paging = paging
				for range 31 {
					s.put(time.Now())
				}
				cfg := configured("http://service", s)
				cfg.Cursor = Default().Cursor
				cfg.Records.Expand = []string{"parts"}
				cfg.Pagination.Stop, cfg.Pagination.Size = stop, s.size
				src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					var page strings.Builder
					s.answer(&writer{w, &page}, r)
					text := page.String()
					for _, e := range s.records {
						parts := `[]`
						if e.N%10 == 1 || e.N == 25 {
							parts = fmt.Sprintf(`[{"id": "%d.1", "type": "x"}, {"id": "%d.2", "type": "x"}]`, e.N, e.N)
						}
						text = strings.ReplaceAll(text, fmt.Sprintf(`"id":%q`, e.ID), fmt.Sprintf(`"id":%q,"parts":%s`, e.ID, parts))
					}
					_, _ = w.Write([]byte(text))
				})), newSink(t)
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
				if len(out.ids) != 10 {
					t.Errorf("%v came, of 1, 11, 21, 25 and 31, two each", out.ids)
				}
			})
		}
	}
}

// writer keeps a body to be changed.
type writer struct {
	http.ResponseWriter
	body *strings.Builder
}

func (w *writer) Write(b []byte) (int, error) { return w.body.Write(b) }

// A status that means that there is nothing ends what it is an answer to, whatever leads on.
func TestNothing(t *testing.T) {
	for _, paging := range []string{PageToken, PageMarker, PageURL, PageNumber} {
		bubble(t, paging, func(t *testing.T) {
			s := newService()
			s.paging = paging
			for range 20 {
				s.put(time.Now())
			}
			cfg := configured("http://service", s)
			cfg.Pagination.Stop = stopEmpty
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if len(s.seen) == 3 {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				s.ServeHTTP(w, r)
			})), newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
		})
	}
}

// An answer that says that it has nothing yet is not taken for an empty one.
func TestAcceptedIsNoAnswer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		cfg := configured("http://service", newService())
		cfg.Records.OnMissing, cfg.Cursor.Send.Until = "empty", "until"
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(`{"status": "pending"}`))
		})), newSink(t)
		err := src.fetch(t.Context(), out.from, out.emit)
		if !errors.Is(err, event.Unavailable) || len(out.marks) > 0 {
			t.Errorf("%v, %d marks", err, len(out.marks))
		}
	})
}

// That the first page is as it was says nothing about the others.
func TestTagsOfSeveralPages(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor = Default().Cursor
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at, _ := strconv.Atoi(r.URL.Query().Get("at"))
			tag := fmt.Sprint(at, min(len(s.records)-at, s.size))
			if at > 0 {
				tag = "0 7"
			}
			w.Header().Set("ETag", tag)
			if r.Header.Get("If-None-Match") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			s.ServeHTTP(w, r)
		})), newSink(t)
		for range 30 {
			s.put(time.Now())
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		out.wantAll(s)
	})
}

// A filter leaves out what it says, counted as what is left out by type is; what it can't be evaluated for is kept.
func TestFilteredByExpression(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Records.Filter = `rec.n % 4 != 0 && (rec.n % 4 != 1 || rec.absent)`
		odd := map[string]int{}
		src, out := local(t, cfg, s), newSink(t)
		src.opts.Hooks.Odd = func(what string, n int) { odd[what] += n }
		for range 5 {
			for range 8 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
		}
		if len(out.ids) != 30 || out.filtered != 10 || odd["unfiltered"] < 10 || !out.known["e0001"] || out.known["e0004"] {
			t.Errorf("%d came, %d were filtered, odd are %v", len(out.ids), out.filtered, odd)
		}
	})
}
