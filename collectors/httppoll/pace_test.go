package httppoll

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// collected runs sources as a Collector does, a new one after each failure and not before the pause that was asked for, until all
// that the service has came or the time is over.
func collected(t *testing.T, out *sink, want func() int, within time.Duration, source func() *Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for len(out.ids) < want() && ctx.Err() == nil {
		runCtx, end := context.WithCancel(ctx)
		err := source().Run(runCtx, out.from, func(ctx context.Context, b collectors.Batch) error {
			defer func() {
				if len(out.ids) >= want() && !b.Watermark.IsZero() {
					end()
				}
			}()
			return out.emit(ctx, b)
		})
		end()
		pause := time.Second
		var asked *collectors.RetryAfter
		if errors.As(err, &asked) {
			pause = asked.After
		} else if err != nil {
			t.Logf("a run ends: %v", err)
		}
		time.Sleep(pause)
	}
}

// quota is a service that serves so many requests in a period.
type quota struct {
	service  http.Handler
	limit    int
	period   time.Duration
	reserve  int
	as       string
	status   int
	left     int
	reset    time.Time
	requests int
	poached  int // requests that took what is left to others
}

func (q *quota) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if !now.Before(q.reset) {
		q.left, q.reset = q.limit, now.Add(q.period)
	}
	q.requests++
	if q.left <= q.reserve {
		q.poached++
	}
	h := w.Header()
	h.Set("Date", now.UTC().Format(http.TimeFormat))
	h.Set("X-RateLimit-Limit", strconv.Itoa(q.limit))
	switch q.as {
	case "seconds":
		h.Set("X-RateLimit-Reset", strconv.Itoa(int(q.reset.Sub(now).Seconds())+1))
	case "unix":
		h.Set("X-RateLimit-Reset", strconv.FormatInt(q.reset.Unix()+1, 10))
	}
	if q.left == 0 {
		h.Set("X-RateLimit-Remaining", "0")
		w.WriteHeader(q.status)
		return
	}
	q.left--
	h.Set("X-RateLimit-Remaining", strconv.Itoa(q.left))
	q.service.ServeHTTP(w, r)
}

// A quota that is far smaller than what there is to read, in whatever order, ends in everything being read, with nothing taken
// of what is left to others.
func TestQuotas(t *testing.T) {
	for _, order := range []string{"ascending", "descending", "unordered"} {
		for name, reserve := range map[string]Reserve{"none": {}, "a number": {Number: 1}, "a part": {Percent: 25}} {
			for _, told := range []bool{true, false} {
				if !told && name != "none" {
					continue
				}
				bubble(t, fmt.Sprint(order, " ", name, " ", told), func(t *testing.T) {
					s := newService()
					s.order = order
					for range 12 * s.size {
						s.put(time.Now().Add(-time.Hour))
						time.Sleep(time.Second)
					}
					q := &quota{service: s, limit: 4, period: time.Hour, as: "unix", status: http.StatusForbidden}
					if name != "none" {
						q.reserve = 1
					}
					cfg := configured("http://service", s)
					if order != "ascending" {
						cfg.Cursor.Send.Until = "until"
					}
					cfg.Retry.Max = 2 * time.Hour
					cfg.RateLimit = RateLimit{Limit: "X-RateLimit-Limit", Reset: Reset{Header: "X-RateLimit-Reset", As: "auto"}, Reserve: reserve}
					cfg.RateLimit.Remaining = "X-RateLimit-Remaining"
					if !told {
						q.status = http.StatusTooManyRequests // what is left is not looked at
						cfg.RateLimit.Remaining = ""
					}
					out := newSink(t)
					collected(t, out, func() int { return len(s.records) }, 12*time.Hour, func() *Source { return local(t, cfg, q) })
					out.wantAll(s)
					if told && q.poached > 0 {
						t.Errorf("%d of %d requests were not ours to make", q.poached, q.requests)
					}
					if q.requests > 40 {
						t.Errorf("%d requests for 12 pages", q.requests)
					}
				})
			}
		}
	}
}

// A walk that can't begin again without reading again what it read goes on where it was, if it takes longer than a run may.
func TestAWalkThatTakesLongerThanARun(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.order = "descending"
		for range 12 * s.size {
			s.put(time.Now())
			time.Sleep(time.Second)
		}
		s.behind = func() { time.Sleep(time.Minute) }
		cfg := configured("http://service", s)
		cfg.Cursor.Send.Until = "until"
		out, said := newSink(t), ""
		collected(t, out, func() int { return len(s.records) }, 2*time.Hour, func() *Source {
			src := local(t, cfg, s)
			src.opts.Report = func(_ bool, what string) {
				if what != "" {
					said = what
				}
			}
			return src
		})
		out.wantAll(s)
		if len(s.seen) != 12 || !strings.Contains(said, "not all was read yet: there is more to read than fits into 5m0s") {
			t.Errorf("%d requests for 12 pages, and it says %q", len(s.seen), said)
		}
		first := s.seen[0].URL.Query()
		for _, r := range s.seen {
			if q := r.URL.Query(); q.Get("until") != first.Get("until") {
				t.Errorf("the bounds moved from %s to %s", first.Get("until"), q.Get("until"))
			}
		}
	})
}

// A pause in the middle of a walk is made there if it fits, and asks for no page twice.
func TestAPauseInTheMiddle(t *testing.T) {
	for _, order := range []string{"ascending", "descending"} {
		bubble(t, order, func(t *testing.T) {
			s := newService()
			s.order = order
			for range 10 * s.size {
				s.put(time.Now())
				time.Sleep(time.Second)
			}
			n, until := 0, time.Time{}
			cfg := configured("http://service", s)
			cfg.Cursor.Overlap = 0
			src, out := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n++; n == 4 {
					until = time.Now().Add(time.Minute)
				}
				if time.Now().Before(until) {
					w.Header().Set("Retry-After", "60")
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				s.ServeHTTP(w, r)
			})), newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			var asked *collectors.RetryAfter
			if order == "ascending" {
				// It begins again from where it is, and nobody waits within a run.
				if !errors.As(err, &asked) || asked.After != time.Minute || len(out.ids) != 3*s.size {
					t.Fatalf("%v after %d events", err, len(out.ids))
				}
				time.Sleep(asked.After)
				err = src.fetch(t.Context(), out.from, out.emit)
			}
			if err != nil {
				t.Fatal(err)
			}
			out.wantAll(s)
			if order == "descending" && len(s.seen) != 10 {
				t.Errorf("%d pages were asked for", len(s.seen))
			}
		})
	}
}

// Our own pace holds for logins as well, and what waits for its turn is not taken for a service that does not answer.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		for range 5 * s.size {
			s.put(time.Now())
		}
		var at []time.Duration
		began := time.Now()
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at = append(at, time.Since(began))
			if r.URL.Path == "/token" {
				_, _ = w.Write([]byte(`{"access_token": "x"}`))
				return
			}
			s.ServeHTTP(w, r)
		})
		cfg := configured("http://service", s)
		cfg.Auth.OAuth2 = &OAuth2{TokenURL: "http://service/token", ClientID: "a", ClientSecret: "b"}
		cfg.RateLimit.Rate, cfg.RateLimit.Burst = Rate{Requests: 12, Per: time.Minute}, 2
		src, err := newSource(cfg, Options{}, &http.Client{Transport: direct{handler}, Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		out := newSink(t)
		if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
			t.Fatal(err)
		}
		out.wantAll(s)
		for i, d := range at {
			if want := time.Duration(max(i-1, 0)) * 5 * time.Second; (d - want).Abs() > 10*time.Millisecond {
				t.Errorf("request %d came after %s, want %s", i+1, d, want)
			}
		}
		if len(at) != 6 {
			t.Errorf("%d requests", len(at))
		}
	})
}

// What a service answers when it wants a pause: each way to say it.
func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		headers map[string]string
		wait    time.Duration
		kind    event.Kind
	}{
		"403, nothing left":          {403, map[string]string{"Left": "0", "Reset": "946684920"}, 2 * time.Minute, event.Unavailable},
		"403, nothing left, a clock": {403, map[string]string{"Left": "0", "Reset": "946684920", "Date": "Sat, 01 Jan 2000 00:01:00 GMT"}, time.Minute, event.Unavailable},
		"403, something left":        {403, map[string]string{"Left": "7", "Reset": "946684920"}, 0, event.Invalid},
		"403, Retry-After":           {403, map[string]string{"Retry-After": "30"}, 30 * time.Second, event.Unavailable},
		"403 alone":                  {403, nil, 0, event.Invalid},
		"429, both":                  {429, map[string]string{"Retry-After": "30", "Reset": "60"}, 30 * time.Second, event.Unavailable},
		"429, a reset":               {429, map[string]string{"Reset": "60"}, time.Minute, event.Unavailable},
		"429, a reset that is over":  {429, map[string]string{"Reset": "946684000"}, 0, event.Unavailable},
		"429 alone":                  {429, nil, 0, event.Unavailable},
		"503, a date":                {503, map[string]string{"Retry-After": "Sat, 01 Jan 2000 00:02:00 GMT"}, 2 * time.Minute, event.Unavailable},
		"503, a reset":               {503, map[string]string{"Reset": "60"}, 0, event.Unavailable},
		"too long":                   {429, map[string]string{"Reset": "86400"}, 15 * time.Minute, event.Unavailable},
		"nonsense":                   {429, map[string]string{"Retry-After": "soon", "Reset": "later", "Left": "few"}, 0, event.Unavailable},
	} {
		bubble(t, name, func(t *testing.T) {
			cfg := configured("http://service", newService())
			cfg.RateLimit = RateLimit{Remaining: "Left", Reset: Reset{Header: "Reset", As: "auto"}}
			src := local(t, cfg, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, v := range test.headers {
					w.Header().Set(name, v)
				}
				w.WriteHeader(test.status)
			}))
			out := newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			var asked *collectors.RetryAfter
			if event.KindOf(err) != test.kind || errors.As(err, &asked) != (test.wait > 0) || asked != nil && asked.After != test.wait {
				t.Errorf("the error is %v, want the kind %v and a pause of %s", err, test.kind, test.wait)
			}
		})
	}
}

func TestResets(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	for _, test := range []struct {
		as, value string
		want      time.Duration
		wrong     bool
	}{
		{"auto", "90", 90 * time.Second, false}, {"auto", "0.5", 500 * time.Millisecond, false}, {"auto", in(time.Hour), time.Hour, false},
		{"auto", in(time.Hour) + "000", time.Hour, false}, {"auto", "Fri, 02 Jan 2026 03:05:05 GMT", time.Minute, false},
		{"auto", "2026-01-02T03:05:05Z", time.Minute, false}, {"auto", "6m0s", 6 * time.Minute, false}, {"seconds", in(0), 1e8 * time.Second, false},
		{"unix", in(-time.Hour), -time.Hour, false}, {"unix_ms", in(time.Minute) + "000", time.Minute, false},
		{"http", "Fri, 02 Jan 2026 03:05:05 GMT", time.Minute, false}, {"unix", "soon", 0, true}, {"auto", "", 0, true}, {"auto", "NaN", 0, true},
		{"seconds", "-5", 0, true}, {"auto", "1e300", 0, true},
	} {
		got, err := Reset{As: test.as}.parse(test.value, now)
		if (err != nil) != test.wrong || !test.wrong && got != test.want {
			t.Errorf("%s as %s is %s, %v; want %s", test.value, test.as, got, err, test.want)
		}
	}
}

func TestRatesAndReserves(t *testing.T) {
	for text, want := range map[string]Rate{"5/s": {5, time.Second}, "0.5/m": {0.5, time.Minute}, "5000 / h": {5000, time.Hour}} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s is %v, %v", text, r, err)
		}
		if back, _ := r.MarshalText(); string(back) != strings.ReplaceAll(text, " ", "") {
			t.Errorf("%s is written %s", text, back)
		}
	}
	for _, text := range []string{"", "5", "5/d", "0/s", "-1/s", "NaN/s", "Inf/s", "x/s", "5/s/s"} {
		if err := new(Rate).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a rate", text)
		}
	}
	for text, want := range map[string]Reserve{"100": {Number: 100}, "10%": {Percent: 10}, "0": {}} {
		var r Reserve
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s is %v, %v", text, r, err)
		}
		if back, _ := r.MarshalText(); string(back) != text {
			t.Errorf("%s is written %s", text, back)
		}
	}
	for _, text := range []string{"", "-1", "100%", "x%", "NaN%", "1.5"} {
		if err := new(Reserve).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a reserve", text)
		}
	}
}
