package httppoll

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/timeform"
)

// timedConfig asks a service by the time of the last record.
func timedConfig(s *service) Config {
	s.paging = PageTime
	return configured("http://service", s)
}

// Whatever moments there are, in whatever steps the service tells them apart and in whatever order it shows them, everything comes.
func TestPagesByTimeGetEverything(t *testing.T) {
	made := map[string]*Source{} // compiling the expressions is what takes long
	rapid.Check(t, func(rt *rapid.T) {
		s := newService()
		s.order = rapid.SampledFrom([]string{"ascending", "descending", "unordered"}).Draw(rt, "order")
		s.form = rapid.SampledFrom([]timeform.Form{timeform.RFC3339, timeform.UnixMS, timeform.Unix}).Draw(rt, "form")
		s.strict = rapid.Bool().Draw(rt, "strict")
		cfg := timedConfig(s)
		cfg.Cursor.Format = timeform.Forms{timeform.RFC3339} // records are exact, whatever is sent
		cfg.Cursor.Send.Format = s.form
		moment := rapid.Custom(func(rt *rapid.T) moment {
			return moment{
				records: rapid.SampledFrom([]int{1, 2, 6, 7, 8, 20}).Draw(rt, "records"),
				late:    time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "late")) * time.Millisecond,
				pause:   rapid.SampledFrom([]time.Duration{time.Microsecond, time.Millisecond, time.Second, time.Minute}).Draw(rt, "pause"),
			}
		})
		runs := rapid.SliceOfN(rapid.SliceOfN(moment, 0, 4), 1, 3).Draw(rt, "runs")
		var failed error
		synctest.Test(t, func(t *testing.T) {
			name := fmt.Sprint(s.order, s.form, s.strict)
			if made[name] == nil {
				made[name] = local(t, cfg, exact{s})
			}
			src, out := made[name], newSink(t)
			src.client = &http.Client{Transport: direct{exact{s}}}
			src.forget()
			for _, moments := range runs {
				for _, m := range moments {
					at := time.Now()
					for range m.records {
						s.put(at)
					}
					s.put(at.Add(-m.late))
					time.Sleep(m.pause)
				}
				time.Sleep(2 * time.Second) // what was put in the same second as the end of a run comes with the next
				if failed = src.fetch(t.Context(), out.from, out.emit); failed != nil {
					return
				}
			}
			for _, e := range s.records {
				if !out.known[event.ID(e.ID)] {
					failed = fmt.Errorf("%s of %s is missing", e.ID, e.At)
				}
			}
			if len(s.seen) > 60+6*len(s.records) {
				failed = fmt.Errorf("%d requests for %d records", len(s.seen), len(s.records))
			}
		})
		if failed != nil {
			rt.Fatal(failed)
		}
	})
}

// moment is a time at which records come to be there, with one that is late, and a pause behind it.
type moment struct {
	records     int
	late, pause time.Duration
}

// exact is a service whose records have exact times, whatever the form in which it is asked.
type exact struct{ *service }

func (e exact) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := e.service
	form := s.form
	asked := *r
	query := r.URL.Query()
	for _, name := range []string{"from", "until"} {
		if text := query.Get(name); text != "" {
			at, err := form.Parse(text)
			if err != nil {
				panic(err)
			}
			query.Set(name, timeform.RFC3339.Format(at))
		}
	}
	address := *r.URL
	address.RawQuery = query.Encode()
	asked.URL = &address
	s.form = timeform.RFC3339
	defer func() { s.form = form }()
	s.ServeHTTP(w, &asked)
}

// What the service does not show is never passed: it is an error, and the cursor stays.
func TestPagesByTimeThatHideRecords(t *testing.T) {
	for name, test := range map[string]struct {
		records int // of one moment
		more    int // times the size, the most that the service shows
		max     int // that is asked for
		behind  bool
		want    string
	}{
		"as many as may be asked for": {records: 28, more: 20, max: 28, behind: true, want: "(see pagination.max_size)"},
		"fewer":                       {records: 27, more: 20, max: 28, behind: true},
		"as many as the service shows, and there are more":       {records: 40, more: 2, max: 140, behind: true, want: "it shows no more at once"},
		"exactly as many as the service shows, and more behind":  {records: 14, more: 2, max: 140, behind: true, want: "it shows no more at once"},
		"exactly as many as the service shows, and nothing else": {records: 14, more: 2, max: 140},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService()
			s.more = test.more
			cfg := timedConfig(s)
			cfg.Pagination.MaxSize = test.max
			first := s.put(time.Now())
			time.Sleep(time.Minute)
			moment := time.Now()
			for range test.records {
				s.put(moment)
			}
			if test.behind {
				s.put(moment.Add(time.Second))
			}
			time.Sleep(time.Hour)
			src, out := local(t, cfg, s), newSink(t)
			for range 3 {
				err := src.fetch(t.Context(), out.from, out.emit)
				if test.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), shown(moment)) {
					t.Fatalf("the error is %v, want %q", err, test.want)
				}
			}
			if test.want == "" {
				out.wantAll(s)
				return
			}
			if len(out.marks) > 0 || !out.known[event.ID(first.ID)] || out.from.Floor.After(moment) {
				t.Errorf("%d came, the floor is %s and the watermarks are %v", len(out.ids), out.from.Floor, out.marks)
			}
		})
	}
}

// An answer that is too large is asked for in smaller parts, where the service is told how many.
func TestSizesThatFit(t *testing.T) {
	for _, paging := range []string{PageMarker, PageTime, PageOffset} {
		bubble(t, paging, func(t *testing.T) {
			s := newService()
			s.paging = paging
			cfg := configured("http://service", s)
			cfg.Pagination.Size, cfg.Pagination.SendSize, cfg.Pagination.MaxSize = 100, "limit", 100
			cfg.Cursor.Order = "ascending"
			for range 150 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			most := 20 // records that fit
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var limit int
				_, _ = fmt.Sscan(r.URL.Query().Get("limit"), &limit)
				s.size = limit
				if limit > most {
					w.Header().Set("Content-Length", "1000000000")
					return
				}
				s.ServeHTTP(w, r)
			})), newSink(t)
			src.client.Transport = declared{src.client.Transport}
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
			most = 0
			s.put(time.Now())
			if err := src.fetch(t.Context(), out.from, out.emit); !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "larger than max_body") {
				t.Errorf("a record that is too large alone: %v", err)
			}
		})
	}
}

// declared tells the length that a header declares, as a real transport does.
type declared struct{ next http.RoundTripper }

func (d declared) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(r)
	if err == nil && resp.Header.Get("Content-Length") != "" {
		_, _ = fmt.Sscan(resp.Header.Get("Content-Length"), &resp.ContentLength)
	}
	return resp, err
}

// A page that the service forgot is read again from the cursor on, not for ever.
func TestForgottenPages(t *testing.T) {
	for _, order := range []string{"ascending", "unordered"} {
		bubble(t, order, func(t *testing.T) {
			s := newService()
			s.order = order
			cfg := configured("http://service", s)
			cfg.Retry.On = map[string]string{"410": "restart"}
			for range 40 {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			forgets := 3
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("at") == "14" && forgets > 0 {
					forgets--
					w.WriteHeader(http.StatusGone)
					return
				}
				s.ServeHTTP(w, r)
			})), newSink(t)
			restarted := 0
			src.opts.Hooks.Retry = func(why string) {
				if why == "marker" {
					restarted++
				}
			}
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil || restarted != 3 {
				t.Fatalf("%v after %d restarts", err, restarted)
			}
			out.wantAll(s)
			forgets, out = 1000, newSink(t)
			if err := src.fetch(t.Context(), out.from, out.emit); !errors.Is(err, event.Unavailable) || len(out.marks) > 0 {
				t.Errorf("a service that always forgets: %v", err)
			}
		})
	}
}

func TestValidatePagesByTime(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":     {func(*Config) {}, "[]"},
		"no time":  {func(c *Config) { c.Cursor = Default().Cursor }, "pagination.type: time asks for the next page by the time of the last record, and needs cursor.type: time"},
		"no order": {func(c *Config) { c.Cursor.Order = "unordered" }, "cursor.send.until: is missing: where records come in no order"},
		"no size":  {func(c *Config) { c.Pagination.Size = 0 }, "pagination.size: is missing: the number that send_size sends"},
		"no name":  {func(c *Config) { c.Pagination.SendSize = "" }, "pagination.send_size: is missing: the name that takes the size of a page"},
		"in a text": {func(c *Config) {
			c.Pagination.SendSize, c.Request.Query = "", map[string][]string{"limit": {"{{page_size}}"}}
		}, "[]"},
		"too few": {func(c *Config) { c.Pagination.MaxSize = 1 }, "pagination.max_size: must be at least size, 7"},
		"a list": {func(c *Config) {
			c.Partitions.Request.URL, c.Partitions.Value, c.Partitions.Pagination.Type = c.Request.URL, "rec.id", PageTime
		}, `partitions.pagination.type: is time, which a list of partitions does not have`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := timedConfig(newService())
			test.change(&cfg)
			if got := fmt.Sprint(cfg.Validate()); !strings.Contains(got, test.want) {
				t.Errorf("found %s, want %s", got, test.want)
			}
		})
	}
}
