package httppoll

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/records"
	"stackstream/internal/timeform"
)

// Where only their number lets records be known again, no more are handed over than that before the cursor passes them.
func TestMoreThanIsRememberedIsRefused(t *testing.T) {
	for _, test := range []struct {
		cursor, order string
		ok            bool
	}{
		{CursorNone, "unordered", false}, {CursorInteger, "unordered", false}, {CursorInteger, "ascending", true},
		{CursorTime, "unordered", true},
	} {
		bubble(t, test.cursor+" "+test.order, func(t *testing.T) {
			s := newService()
			s.order = test.order
			for range 60 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			cfg := configured("http://service", s)
			switch cfg.Remember = 50; test.cursor {
			case CursorNone:
				cfg.Cursor = Default().Cursor
			case CursorInteger:
				cfg.Cursor = Default().Cursor
				cfg.Cursor.Type, cfg.Cursor.Field, cfg.Cursor.Order = CursorInteger, "n", test.order
				cfg.Cursor.Send.Name = "after_number"
			}
			src, out := local(t, cfg, s), newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				out.wantAll(s)
				return
			}
			if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "remember: 50") || len(out.ids) > 50 {
				t.Errorf("%d were handed over, and then: %v", len(out.ids), err)
			}
		})
	}
}

// A service that no longer takes the time that is asked for begins again, but nothing comes that was forgotten since.
func TestAResetKeepsWhatWasPromised(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Retry.On = map[string]string{"410": "reset_cursor"}
		src, out := local(t, cfg, s), newSink(t)
		for range 200 {
			s.put(time.Now())
			time.Sleep(time.Second)
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		gone := true
		s.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			if !gone {
				return false
			}
			gone = false
			http.Error(w, "too old", http.StatusGone)
			return true
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		if gone {
			t.Error("nobody was told that it is gone")
		}
		out.wantAll(s) // the sink looks for what is older than promised
	})
}

// The service's clock may be behind ours by less than shows. What it has not dated yet is not passed.
func TestAClockThatIsALittleBehind(t *testing.T) {
	const behind = 1500 * time.Millisecond
	bubble(t, "", func(t *testing.T) {
		s := newService()
		cfg := configured("http://service", s)
		cfg.Cursor.Overlap, cfg.Cursor.Send.Until = 0, "until"
		src, out := local(t, cfg, s), newSink(t)
		for range 5 {
			s.put(time.Now().Add(-behind))
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			mark := out.marks[len(out.marks)-1]
			time.Sleep(200 * time.Millisecond)
			if e := s.put(time.Now().Add(-behind)); e.At.Before(mark) {
				t.Errorf("a watermark says %s, and then comes what is of %s", mark, e.At)
			}
			time.Sleep(10 * time.Second)
		}
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
	})
}

// A service may show all of its events, in order, some time after what they say. A range that is asked for with both bounds is empty
// then, and not passed.
func TestEventsThatShowLateAllOfThem(t *testing.T) {
	const delay = 2 * time.Minute
	for _, window := range []time.Duration{0, 5 * time.Minute} {
		bubble(t, window.String(), func(t *testing.T) {
			s := newService()
			cfg := configured("http://service", s)
			cfg.Cursor.Send.Until, cfg.Cursor.Window = "until", window
			src, out := local(t, cfg, s), newSink(t)
			for i := range 200 {
				if i == 60 || i == 100 {
					time.Sleep(40 * time.Minute) // nothing for a while
				}
				s.put(time.Now().Add(-delay))
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
			}
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
		})
	}
}

// Where one answer is all there is to a run, and the service cuts it, a watermark says no more than what came.
func TestAWatermarkOverAnswersThatAreCut(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.paging, s.size = PageNumber, 20 // asked for its first page only
		cfg := configured("http://service", s)
		cfg.Pagination = Default().Pagination
		for range 200 {
			s.put(time.Now())
			time.Sleep(time.Minute)
		}
		src, out := local(t, cfg, s), newSink(t)
		for range 15 {
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			mark := out.marks[len(out.marks)-1]
			for _, e := range s.records {
				if !out.known[event.ID(e.ID)] && e.At.Before(mark) {
					t.Fatalf("a watermark says %s, and %s of %s was not read", mark, e.ID, e.At)
				}
			}
			time.Sleep(10 * time.Second)
		}
		out.wantAll(s)
	})
}

// A form that fits no record is told: the cursor would stand still, and the events would have no time.
func TestACursorThatNoRecordHas(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.put(time.Now())
		cfg := configured("http://service", s)
		cfg.Cursor.Format = timeform.Forms{timeform.Unix}
		src, out := local(t, cfg, s), newSink(t)
		const want = `none of 1 records of a page has a time of the form unix at at (see cursor.field, .value and .format): ` +
			`the first has "2000-01-01T00:00:00Z"`
		if err := src.Available(t.Context()); !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("available: %v", err)
		}
		var said string
		src.opts.Report = func(_ bool, what string) { said = what }
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		if out.wantAll(s); said != want {
			t.Errorf("reported: %s", said)
		}
		src.cfg.Cursor.Format = nil
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil || said != "" {
			t.Errorf("mended: %v, %q", err, said)
		}
	})
}

// Behind the last page a marker has nothing to go by, and the token stays what it was.
func TestATokenBehindAnEmptyPage(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.paging = PageMarker
		cfg := configured("http://service", s)
		cfg.Cursor = Default().Cursor
		cfg.Cursor.Type, cfg.Cursor.Token, cfg.Cursor.Order, cfg.Cursor.Send.Name = CursorToken, "last.id", "ascending", "marker"
		src, out := local(t, cfg, s), newSink(t)
		for range 3 {
			for range 10 {
				s.put(time.Now())
			}
			for range 2 {
				if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
					t.Fatal(err)
				}
			}
		}
		out.wantAll(s)
	})
}

// Names that differ only in bytes that are no UTF-8 are two.
func TestAnswersThatAreNotInUTF8(t *testing.T) {
	for _, test := range []struct {
		name, contentType, charset, body string
		form                             records.Form
		want                             string // identities, or a part of the error
	}{
		{"json", "application/json", "", `[{"id": "B` + "\xe4" + `r"}, {"id": "B` + "\xf6" + `r"}]`, records.JSON, "2 others"},
		{"json that says so", "application/json; charset=iso-8859-1", "", `[{"id": "B` + "\xe4" + `r"}, {"id": "B` + "\xf6" + `r"}]`, records.JSON, "B\u00e4r B\u00f6r"},
		{"csv", "text/csv", "", "id;x\nB\xe4r;\nB\xf6r;\n", records.CSV, "not in UTF-8: say what it is in (request.charset)"},
		{"csv of which we say it", "text/csv", "windows-1252", "id;x\nB\xe4r;\nB\xf6r;\n", records.CSV, "B\u00e4r B\u00f6r"},
		{"an unknown one", "text/csv; charset=klingon", "", "id;x\n", records.CSV, "no charset that is known"},
	} {
		bubble(t, test.name, func(t *testing.T) {
			cfg := Default()
			cfg.Request.URL, cfg.Request.Decode, cfg.Request.Charset = "http://service/events", test.form, records.Charset(test.charset)
			if test.form == records.CSV {
				cfg.Request.Delimiter = ";"
			}
			cfg.Event.ID, cfg.Event.Type = "rec.id", `"x"`
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.contentType)
				_, _ = io.WriteString(w, test.body)
			})), newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			got := strings.Trim(fmt.Sprint(out.ids), "[]")
			if err != nil {
				got = err.Error()
			} else if len(out.ids) == 2 && len(out.ids[0]) > 20 && out.ids[0] != out.ids[1] {
				got = "2 others"
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// Where nothing says where to begin, an expression that asks from somewhere gets a time that services know: most refuse the
// year 1, and in seconds it is a number below zero.
func TestTheBeginningIsATimeThatServicesKnow(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.put(time.Now())
		cfg := configured("http://service", s)
		cfg.Request.Query = map[string][]string{"text": {"{{from}}"}, "seconds": {"{{int(from)}}"}}
		var asked []string
		src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Query().Get("text")+" "+r.URL.Query().Get("seconds"))
			s.ServeHTTP(w, r)
		})), newSink(t)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		if len(asked) == 0 || asked[0] != "1970-01-01T00:00:00Z 0" {
			t.Errorf("asked from %v", asked)
		}
	})
}
