package httppoll

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"stackstream/collectors"
	"stackstream/event"
)

// past makes a source of a range of the service's past.
func past(cfg Config, handler http.Handler, p Past) (*Source, error) {
	return newSource(cfg, Options{Version: "test", Format: "http/test", Past: &p}, &http.Client{Transport: direct{handler}})
}

// Every way to ask for pages, in every order, with and without an end, shows all of a range and nothing else, wherever it is broken
// off.
func TestThePastIsReadWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newService()
		s.paging = rapid.SampledFrom([]string{
			PageNumber, PageOffset, PageToken, PageURL, PageLink, PageMarker, PageTime, PageNone,
		}).Draw(t, "paging")
		s.order = rapid.SampledFrom([]string{"ascending", "descending", "unordered"}).Draw(t, "order")
		s.strict = rapid.Bool().Draw(t, "exclusive")
		s.size = rapid.IntRange(2, 9).Draw(t, "size")
		begin := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
		n := rapid.IntRange(0, 60).Draw(t, "records")
		for range n {
			s.put(begin.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "at")) * time.Second))
		}
		from := begin.Add(time.Duration(rapid.IntRange(0, 280).Draw(t, "from")) * time.Second)
		to := from.Add(time.Duration(rapid.IntRange(1, 100_000).Draw(t, "length")) * time.Millisecond)
		cfg := configured("http://service", s)
		if rapid.Bool().Draw(t, "bounded") {
			cfg.Cursor.Send.Until = "until"
			if rapid.Bool().Draw(t, "in windows") {
				cfg.Cursor.Window = time.Minute
			}
		}
		fails := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 4).Draw(t, "requests until one fails")
		s.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			if len(fails) == 0 {
				return false
			}
			if fails[0]--; fails[0] >= 0 {
				return false
			}
			fails = fails[1:]
			http.Error(w, "no", http.StatusForbidden)
			return true
		}
		var cursor event.Cursor
		got := map[event.ID]bool{}
		for {
			src, err := past(cfg, s, Past{From: from, To: to})
			if err != nil {
				t.Fatal(err)
			}
			err = src.ReadPast(context.Background(), event.From{Cursor: cursor}, func(_ context.Context, b collectors.Batch) error {
				for _, e := range b.Events {
					if e.Time.Before(from) || !e.Time.Before(to) {
						t.Fatalf("%s of %s is not of the range", e.ID, e.Time)
					}
					got[e.ID] = true
				}
				if b.Cursor != nil {
					cursor = b.Cursor
				}
				return nil
			})
			if err == nil {
				break
			}
			if !errors.Is(err, event.Invalid) {
				t.Fatal(err)
			}
		}
		for _, r := range s.records {
			if want := !r.At.Before(from) && r.At.Before(to); want != got[event.ID(r.ID)] {
				t.Errorf("%s of %s was handed over: %v, in %s to %s: %v", r.ID, r.At, !want, from, to, want)
			}
		}
	})
}

// A long list that goes on before and behind the range is not read to its ends, where its order is known.
func TestThePastDoesNotReadAllThereIs(t *testing.T) {
	for _, order := range []string{"ascending", "descending"} {
		bubble(t, order, func(t *testing.T) {
			s := newService()
			s.order = order
			begin := time.Now()
			for i := range 2000 {
				s.put(begin.Add(time.Duration(i) * time.Second))
			}
			// In a list that is asked for from a time on, only what is newer than the range is in the way.
			from := begin.Add(1900 * time.Second)
			if order == "ascending" {
				from = begin.Add(100 * time.Second)
			}
			src, err := past(configured("http://service", s), s, Past{From: from, To: from.Add(20 * time.Second)})
			if err != nil {
				t.Fatal(err)
			}
			out := newSink(t)
			if err := src.ReadPast(t.Context(), event.From{}, out.emit); err != nil {
				t.Fatal(err)
			}
			if len(out.ids) != 20 {
				t.Errorf("%d came, want 20", len(out.ids))
			}
			if n := len(s.seen); n > 20 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// One record with a time that can't be does not end the list before its end.
func TestThePastBehindAWrongTime(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.order = "as it came"
		begin := time.Now()
		for i := range 50 {
			at := begin.Add(time.Duration(i) * time.Second)
			if i == 20 {
				at = begin.Add(365 * 24 * time.Hour)
			}
			s.put(at)
		}
		cfg := configured("http://service", s)
		cfg.Cursor.Order = "ascending"
		src, err := past(cfg, s, Past{From: begin, To: begin.Add(40 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		out := newSink(t)
		if err := src.ReadPast(t.Context(), event.From{}, out.emit); err != nil {
			t.Fatal(err)
		}
		if len(out.ids) != 39 {
			t.Errorf("%d came, want 39", len(out.ids))
		}
	})
}

// A quota that is used up for longer than a run may take is waited for.
func TestThePastWaitsForAQuota(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.order = "unordered"
		begin := time.Now()
		for i := range 60 {
			s.put(begin.Add(time.Duration(i) * time.Second))
		}
		time.Sleep(time.Hour)
		asked := 0
		s.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			if asked++; asked%3 != 0 {
				return false
			}
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		src, err := past(configured("http://service", s), s, Past{From: begin, To: begin.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		out, start := newSink(t), time.Now()
		for err = errors.New("not begun"); err != nil; {
			if err = src.ReadPast(t.Context(), out.from, out.emit); err != nil {
				var asked *collectors.RetryAfter
				if !errors.As(err, &asked) {
					t.Fatal(err)
				}
				time.Sleep(asked.After)
			}
		}
		out.wantAll(s)
		if took := time.Since(start); took < 10*time.Minute || asked > 30 {
			t.Errorf("%d requests in %s", asked, took)
		}
	})
}

func TestThePastOfSomePartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]bool{}
		s := newService()
		begin := time.Now()
		s.put(begin)
		cfg := configured("http://service", s)
		cfg.Partitions.Values = []string{"a", "b", "c"}
		cfg.Request.Query = map[string][]string{"part": {"{{partition.partition}}"}}
		var left []string
		src, err := past(cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked[r.URL.Query().Get("part")] = true
			s.ServeHTTP(w, r)
		}), Past{
			From: begin, To: begin.Add(time.Second), Parts: []string{"a", "c"}, Left: func(part string) { left = append(left, part) },
		})
		if err != nil {
			t.Fatal(err)
		}
		out := newSink(t)
		if err := src.ReadPast(t.Context(), event.From{}, out.emit); err != nil {
			t.Fatal(err)
		}
		if !asked["a"] || asked["b"] || !asked["c"] || !slices.Equal(left, []string{"b"}) || len(out.ids) != 2 {
			t.Errorf("asked %v, left out %v, %d came", asked, left, len(out.ids))
		}
		parts, err := Parts(out.from.Cursor)
		if err != nil || !slices.Equal(parts, []string{"a", "c"}) {
			t.Errorf("the cursor knows %v (%v)", parts, err)
		}
	})
}

// A service that no longer takes the time that is asked for does not have the past: that is not passed over.
func TestThePastThatIsGone(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService()
		s.put(time.Now())
		s.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "too old", http.StatusGone)
			return true
		}
		cfg := configured("http://service", s)
		cfg.Retry.On = map[string]string{"410": "reset_cursor"}
		src, err := past(cfg, s, Past{From: time.Now(), To: time.Now().Add(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		err = src.ReadPast(t.Context(), event.From{}, newSink(t).emit)
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "410") {
			t.Errorf("error %v", err)
		}
	})
}

func TestWhatCanBeAskedForThePast(t *testing.T) {
	for kind, want := range map[string]string{
		CursorTime: "", CursorNone: "reads all that the service shows", CursorInteger: "no number or token", CursorToken: "no number or token",
	} {
		err := Config{Cursor: Cursor{Type: kind}}.CheckPast()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
