package httppoll

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// regions is a service that lists its parts.
type regions struct {
	names  []string
	parts  map[string]*service
	listed int
	// list answers in place of the list, if it returns true, and part in place of a part.
	list func(w http.ResponseWriter, r *http.Request) bool
	part func(w http.ResponseWriter, r *http.Request, name string) bool
}

func newRegions(names ...string) *regions {
	r := &regions{names: names, parts: map[string]*service{}}
	for _, name := range names {
		r.parts[name] = newService()
	}
	return r
}

func (s *regions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/regions" {
		s.listed++
		if s.list != nil && s.list(w, r) {
			return
		}
		items := []string{`{"id": "off", "on": false}`, `{"id": "odd", "on": null}`}
		for _, name := range s.names {
			items = append(items, fmt.Sprintf(`{"id": %q, "on": true}`, name))
		}
		if after := r.URL.Query().Get("after"); after != "" {
			i := slices.IndexFunc(items, func(e string) bool { return strings.Contains(e, `"`+after+`"`) })
			items = items[i+1:]
		}
		_, _ = fmt.Fprintf(w, `{"regions": [%s]}`, strings.Join(items[:min(len(items), 3)], ","))
		return
	}
	name := strings.Split(r.URL.Path, "/")[1]
	if s.part != nil && s.part(w, r, name) {
		return
	}
	if s.parts[name] == nil {
		_, _ = w.Write([]byte(`{"events": []}`))
		return
	}
	s.parts[name].ServeHTTP(w, r)
}

func (s *regions) configured() Config {
	cfg := configured("http://service", newService())
	cfg.Request.URL = "http://service/{{partition.region}}/events"
	p := &cfg.Partitions
	p.As, p.Request.URL, p.Path, p.Value, p.Where = "region", "http://service/regions", "regions", "rec.id", "rec.on"
	p.Pagination.Type, p.Pagination.Send.Name, p.Pagination.From = PageMarker, "after", "last.id"
	return cfg
}

// wantParts fails the test unless everything came that the parts have.
func (s *sink) wantParts(r *regions) {
	s.t.Helper()
	total := 0
	for name, part := range r.parts {
		for _, e := range part.records {
			total++
			if id := event.ID(name + "/" + e.ID); !s.known[id] {
				s.t.Errorf("%s is missing", id)
			}
		}
	}
	if len(s.ids) != total {
		s.t.Errorf("%d came, of %d", len(s.ids), total)
	}
}

// Partitions are read as they are listed: one that comes begins at the start, one that goes keeps its place, and nothing comes
// twice or is lost, however many are read at once.
func TestListedPartitions(t *testing.T) {
	for _, concurrency := range []int{1, 3} {
		bubble(t, fmt.Sprint(concurrency), func(t *testing.T) {
			s := newRegions("a", "b", "c", "d", "e")
			cfg := s.configured()
			cfg.Partitions.Concurrency, cfg.Partitions.Every = concurrency, time.Hour
			out := newSink(t)
			out.fresh = true
			var mu sync.Mutex
			emitting := false
			emit := func(ctx context.Context, b collectors.Batch) error {
				mu.Lock()
				if emitting {
					t.Error("two batches at once")
				}
				emitting = true
				mu.Unlock()
				time.Sleep(time.Millisecond)
				defer func() { mu.Lock(); emitting = false; mu.Unlock() }()
				return out.emit(ctx, b)
			}
			src := local(t, cfg, s)
			for round := range 30 {
				for name, part := range s.parts {
					for range 1 + len(name) {
						part.put(time.Now())
					}
				}
				switch round {
				case 10:
					s.names = []string{"a", "c", "d", "e"}
				case 13:
					s.names = []string{"a", "b", "c", "d", "e", "f"}
					s.parts["f"] = newService()
					for range 20 {
						s.parts["f"].put(time.Now().Add(-time.Hour))
					}
				case 20:
					src = local(t, cfg, s) // as after a restart
				}
				if err := src.fetch(t.Context(), out.from, emit); err != nil {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Minute)
			}
			time.Sleep(time.Hour)
			if err := src.fetch(t.Context(), out.from, emit); err != nil {
				t.Fatal(err)
			}
			out.wantParts(s)
			if s.listed < 48 || s.listed > 64 { // three pages each
				t.Errorf("the list was read %d pages of", s.listed)
			}
			last := map[string]event.ID{}
			for _, id := range out.ids {
				name, _, _ := strings.Cut(string(id), "/")
				if id < last[name] {
					t.Errorf("%s came behind %s", id, last[name])
				}
				last[name] = id
			}
		})
	}
}

// A list that can't be had, or that is empty, is never taken for nothing to do.
func TestListsThatFail(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		change func(*Config)
		want   string
	}{
		"empty": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"regions": []}`)) }, nil, "the list is empty"},
		"none on": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"regions": [{"id": "off", "on": false}]}`))
		}, func(c *Config) { c.Partitions.Pagination = Default().Partitions.Pagination }, "the list is empty"},
		"allowed": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"regions": []}`)) },
			func(c *Config) { c.Partitions.AllowEmpty = true }, ""},
		"nothing":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, nil, "answered 204"},
		"not there":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, func(c *Config) { c.Retry.On = map[string]string{"404": "empty"} }, "answered 404"},
		"an error":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"error": "x"}`)) }, nil, "has no regions"},
		"HTML":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) }, nil, "is no JSON but begins with"},
		"out of order": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, nil, "answered 502"},
		"no value":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"regions": [{"on": true}]}`)) }, nil, "partitions.value"},
		"more pages": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `</regions?page=2>; rel="next"`)
			_, _ = w.Write([]byte(`{"regions": [{"id": "a", "on": true}]}`))
		}, func(c *Config) { c.Partitions.Pagination = Default().Partitions.Pagination }, "it has more pages"},
		"too many": {func(w http.ResponseWriter, _ *http.Request) {
			var all []string
			for i := range maxPartitions + 1 {
				all = append(all, fmt.Sprintf(`{"id": "%d", "on": true}`, i))
			}
			_, _ = fmt.Fprintf(w, `{"regions": [%s]}`, strings.Join(all, ","))
		}, func(c *Config) { c.Partitions.Pagination = Default().Partitions.Pagination }, "more than 2000"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newRegions("a")
			s.list = func(w http.ResponseWriter, r *http.Request) bool { test.answer(w, r); return true }
			cfg := s.configured()
			if test.change != nil {
				test.change(&cfg)
			}
			src, out := local(t, cfg, s), newSink(t)
			err := src.fetch(t.Context(), out.from, out.emit)
			if test.want == "" {
				if err != nil || len(out.marks) != 1 {
					t.Errorf("%v, %d marks", err, len(out.marks))
				}
				return
			}
			if event.KindOf(err) == 0 || !strings.Contains(fmt.Sprint(err), test.want) || len(out.marks) > 0 {
				t.Errorf("the error is %v, want %q; %d marks", err, test.want, len(out.marks))
			}
		})
	}
}

// Partitions that fail, in whatever way, keep no other one from being read; where none can be reached not all of them are tried.
func TestPartitionsThatFail(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusBadGateway} {
		bubble(t, fmt.Sprint(status), func(t *testing.T) {
			s := newRegions("a", "b", "c", "d", "e", "f")
			bad := []string{"a", "b", "c"}
			tried := map[string]bool{}
			s.part = func(w http.ResponseWriter, _ *http.Request, name string) bool {
				tried[name] = true
				if slices.Contains(bad, name) {
					w.WriteHeader(status)
				}
				return slices.Contains(bad, name)
			}
			for _, part := range s.parts {
				part.put(time.Now())
			}
			src, out := local(t, s.configured(), s), newSink(t)
			for range 3 {
				err := src.fetch(t.Context(), out.from, out.emit)
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("region a: ask for events: %s", event.KindOf(err))) &&
					!strings.Contains(err.Error(), "region b") {
					t.Errorf("the error is %v", err)
				}
			}
			if len(out.ids) != 3 || len(out.marks) > 0 {
				t.Errorf("%d came, of d, e and f; %d marks", len(out.ids), len(out.marks))
			}
			bad = nil
			if err := src.fetch(t.Context(), out.from, out.emit); err != nil {
				t.Fatal(err)
			}
			out.wantParts(s)
			bad, tried = []string{"a", "b", "c", "d", "e", "f", "odd"}, map[string]bool{}
			if err := src.fetch(t.Context(), out.from, out.emit); err == nil || status == http.StatusBadGateway && len(tried) != outage {
				t.Errorf("%v after %d were tried", err, len(tried))
			}
		})
	}
}

// A quota that ends a run in the middle of the partitions has the others come first in the next one, also after a restart.
func TestPartitionsTakeTurns(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newRegions("a", "b", "c", "d", "e", "f", "g", "h")
		for _, part := range s.parts {
			for range 12 {
				part.put(time.Now())
			}
		}
		cfg := s.configured()
		cfg.Retry.Max = 2 * time.Hour
		cfg.RateLimit.Remaining, cfg.RateLimit.Reset.Header = "X-RateLimit-Remaining", "X-RateLimit-Reset"
		q := &quota{service: s, limit: 9, period: time.Hour, as: "seconds", status: http.StatusTooManyRequests}
		out := newSink(t)
		total := 0
		for range 12 {
			src := local(t, cfg, q)
			err := src.fetch(t.Context(), out.from, out.emit)
			var asked *collectors.RetryAfter
			if errors.As(err, &asked) {
				time.Sleep(asked.After)
			} else {
				time.Sleep(time.Hour)
			}
			total++
			if len(out.ids) == 96 {
				break
			}
		}
		out.wantParts(s)
		if total > 8 {
			t.Errorf("it took %d runs", total)
		}
	})
}

// What thousands of partitions leave behind is bounded: those that are gone for long are forgotten, and too many are an error.
func TestPartitionsThatAreGone(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newRegions("a")
		cfg := s.configured()
		cfg.Partitions.Where, cfg.Partitions.Pagination = `rec.id.startsWith("n")`, Default().Partitions.Pagination
		round := 0
		s.list = func(w http.ResponseWriter, _ *http.Request) bool {
			var all []string
			for i := range 300 {
				all = append(all, fmt.Sprintf(`{"id": "n%d-%d"}`, round, i))
			}
			_, _ = fmt.Fprintf(w, `{"regions": [%s]}`, strings.Join(all, ","))
			return true
		}
		cfg.Cursor.Start = startAt(time.Now())
		cfg.Partitions.Concurrency = 8
		cfg.Partitions.Forget = 48 * time.Hour
		src, out := local(t, cfg, s), newSink(t)
		out.fresh = true
		s.part = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
			_, _ = w.Write([]byte(`{"events": []}`))
			return true
		}
		quiet := func(_ context.Context, b collectors.Batch) error { out.from.Cursor = b.Cursor; return nil }
		for round = range 4 {
			if err := src.fetch(t.Context(), out.from, quiet); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Hour)
		}
		at, err := decodeState(out.from.Cursor)
		if err != nil || len(at.Parts) != 600+300 {
			t.Errorf("%d partitions are kept, %v", len(at.Parts), err)
		}
		src.cfg.Partitions.Forget = 1000 * time.Hour
		for round = range 10 {
			round += 10
			if err = src.fetch(t.Context(), out.from, quiet); err != nil {
				break
			}
			time.Sleep(time.Hour)
		}
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "are too many (see partitions.where and .forget)") {
			t.Errorf("with no end of them it is %v", err)
		}
	})
}
