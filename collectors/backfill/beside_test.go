package backfill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"stackstream/collectors"
	"stackstream/collectors/backfill"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/timeform"
)

// late is an event of a service, and when it begins to show.
type late struct {
	id        string
	at, shows time.Time
}

// slowService is an HTTP service that shows events some time after what they say, some of them much later, and that now and then
// answers with an error, breaks off, or has had enough.
type slowService struct {
	described  described
	mu         sync.Mutex
	events     []late
	descending bool
	asked      int
	fails      func(asked int) int // the status to answer with, 0 for an answer
}

func (s *slowService) put(e late) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *slowService) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	s.answer(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (s *slowService) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked++; s.fails != nil {
		if status := s.fails(s.asked); status != 0 {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			return
		}
	}
	q := r.URL.Query()
	from, _ := time.Parse(time.RFC3339Nano, q.Get("from"))
	until, bounded := time.Parse(time.RFC3339Nano, q.Get("until"))
	var shown []late
	for _, e := range s.events {
		if !e.shows.After(time.Now()) && !e.at.Before(from) && (bounded != nil || e.at.Before(until)) {
			shown = append(shown, e)
		}
	}
	slices.SortStableFunc(shown, func(a, b late) int {
		if s.descending {
			return b.at.Compare(a.at)
		}
		return a.at.Compare(b.at)
	})
	page, _ := strconv.Atoi(q.Get("page"))
	const size = 7
	shown = shown[min((page-1)*size, len(shown)):]
	shown = shown[:min(size, len(shown))]
	list := []map[string]string{}
	for _, e := range shown {
		list = append(list, map[string]string{"id": e.id, "at": e.at.Format(time.RFC3339Nano)})
	}
	_ = json.NewEncoder(w).Encode(list)
}

// source makes the source of the service, of its past if that is given.
func (s *slowService) source(t testing.TB, past *httppoll.Past) *httppoll.Source {
	source, err := s.described.Anew(httppoll.Options{
		Format: "http/cloud", Past: past, Transport: func(http.RoundTripper) http.RoundTripper { return s },
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// described is what all sources of the service are made of: expressions are compiled once.
type described struct {
	*httppoll.Source
	cfg httppoll.Config
}

func describe(t testing.TB, descending bool) described {
	cfg := httppoll.Default()
	cfg.Schedule.Every, cfg.Schedule.Jitter = 4*time.Second, 0
	cfg.Request.URL = "http://service/events"
	cfg.Cursor = httppoll.Cursor{
		Type: httppoll.CursorTime, Field: "at", Format: timeform.Forms{timeform.RFC3339}, Boundary: "inclusive", Order: "ascending",
		Overlap: 10 * time.Second, Send: httppoll.Send{In: "query", Name: "from"},
	}
	if descending {
		cfg.Cursor.Order, cfg.Cursor.Send.Until = "descending", "until"
	}
	cfg.Pagination.Type, cfg.Pagination.Send.Name = httppoll.PageNumber, "page"
	cfg.Event.ID, cfg.Event.Type = "rec.id", "'thing.done'"
	source, err := httppoll.New(cfg, httppoll.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return described{source, cfg}
}

// A live source polls a service whose events show late, and is started anew now and then, or set back; jobs ask for what it has
// passed, as close behind it as they may, while it goes on. Nothing comes twice, and in the end nothing is missing.
func TestBesideALiveSource(t *testing.T) {
	described := map[bool]described{false: describe(t, false), true: describe(t, true)}
	added := 0
	rapid.Check(t, func(rt *rapid.T) {
		descending := rapid.Bool().Draw(rt, "newest first")
		delays := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 3, 15, 40}), 20, 20).Draw(rt, "delays")
		jobs := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 3).Draw(rt, "seconds between jobs")
		restarts := rapid.SliceOfN(rapid.IntRange(5, 60), 0, 3).Draw(rt, "seconds between restarts")
		rewinds := rapid.SliceOfN(rapid.IntRange(1, 40), 0, 4).Draw(rt, "seconds between rewinds")
		statuses := rapid.SliceOfN(rapid.SampledFrom([]int{0, 0, 0, 0, 429, 500, 503}), 11, 11).Draw(rt, "statuses")
		statuses[0] = 0 // sometimes it answers
		bubble(t, func(t *testing.T) {
			s := &slowService{
				described: described[descending], descending: descending,
				fails: func(asked int) int { return statuses[asked%len(statuses)] },
			}
			n, err := besideALiveSource(t, s, delays, jobs, restarts, rewinds)
			if added += n; err != nil {
				rt.Error(err)
			}
		})
	})
	if added == 0 {
		t.Error("no job had anything to add")
	}
}

// besideALiveSource returns how many events jobs have added.
func besideALiveSource(t *testing.T, s *slowService, delays, jobs, restarts, rewinds []int) (added int, err error) {
	w := newWorld(t, time.Time{})
	w.choose("http")
	w.live = []event.Source{"http"}
	begin := time.Now()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var working sync.WaitGroup
	working.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			now := time.Now()
			s.put(late{fmt.Sprintf("e%04d", i), now, now.Add(time.Duration(delays[i%len(delays)]) * time.Second)})
			wait(ctx, 3*time.Second)
		}
	})
	working.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			life, cancel := context.WithCancel(ctx)
			if i < len(restarts) {
				life, cancel = context.WithTimeout(ctx, time.Duration(restarts[i])*time.Second)
			}
			choice, _ := w.ReadChoice(ctx, cloud)
			fence := event.Fence{Subject: event.ChoiceSubject(cloud), Sequence: choice.Sequence}
			loop := &collectors.Loop{
				Provider: cloud, Name: "http", Source: s.source(t, nil), Spec: httppoll.Default().Spec(),
				Writer: w.NewWriter(cloud, "http", fence), Memory: w.Log, Log: zerolog.Nop(),
			}
			_ = loop.Run(life) // what the service refuses it is asked for again
			cancel()
			wait(ctx, time.Second)
		}
	})
	working.Go(func() {
		for _, pause := range rewinds {
			wait(ctx, time.Duration(pause)*time.Second)
			to := later(begin, time.Now().Add(-time.Duration(2*pause)*time.Second))
			w.setBack("http", to, func(c *event.RawCursor) error {
				moved, _, err := s.described.cfg.Manual().Rewind(c.Cursor, to, time.Now())
				c.Cursor = moved
				return err
			})
		}
	})
	var refused bool
	job := func(name string) (to time.Time, err error) {
		refused = false
		if to = w.Cursor(cloud, "http").Floor; !to.After(begin) {
			return to, nil
		}
		if settled := time.Now().Add(-10 * time.Second); settled.Before(to) {
			to = settled
		}
		if !to.After(begin) {
			return to, nil
		}
		j := w.job(name, begin, to, &service{})
		j.Kind, j.Service, j.Settles = "http", s.source(t, &httppoll.Past{From: begin, To: to}), 10*time.Second
		_, err = run(ctx, j)
		if refused = errors.Is(err, event.Invalid) && strings.Contains(err.Error(), "will read what is later"); refused && len(rewinds) > 0 {
			if len(w.Cursor(cloud, j.Source()).Cursor) > 0 { // it may have been refused before it wrote anything
				w.Change(cloud, j.Source(), func(c *event.RawCursor) { _, _ = backfill.Remove(c, time.Now()) })
			}
			return to, nil
		}
		return to, err
	}
	for i, pause := range jobs {
		wait(ctx, time.Duration(pause)*time.Second)
		if _, err := job(fmt.Sprint("job", i)); err != nil {
			return 0, err
		}
	}
	const settled = time.Minute
	wait(ctx, settled)
	to, err := job("last")
	for err == nil && refused {
		wait(ctx, time.Second)
		to, err = job("last")
	}
	if err != nil {
		return 0, err
	}
	stop()
	working.Wait()
	synctest.Wait()
	there := map[event.ID]bool{}
	for _, id := range w.IDs(cloud) {
		if there[id] {
			return 0, fmt.Errorf("%s is there twice", id)
		}
		there[id] = true
	}
	for _, e := range s.events {
		if e.at.Before(to) && e.shows.Before(begin.Add(settled)) && !there[event.ID(e.id)] {
			return 0, fmt.Errorf("%s is missing", e.id)
		}
	}
	for _, e := range w.Events(cloud) {
		if e.Source.Backfill() != "" {
			added++
		}
	}
	return added, nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

var _ backfill.Service = (*httppoll.Source)(nil)
