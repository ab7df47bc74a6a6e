package backfill_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/backfill"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

const (
	cloud event.Provider = "cloud"
	live  event.Source   = "panko"
)

var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a bubble begins

func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// service is one that shows what it has in pages, oldest first, and reads back a little when it goes on.
type service struct {
	records  []event.Raw
	page     int
	overlap  time.Duration
	from, to time.Time

	// fail, if set, may refuse a page.
	fail func() error
	// behind, if set, is called after each page that was taken.
	behind func()
	pages  int
}

func (s *service) Available(context.Context) error { return nil }

func (s *service) ReadPast(ctx context.Context, from event.From, emit collectors.Emit) error {
	at := s.from
	if from.Cursor != nil {
		if err := json.Unmarshal(from.Cursor, &at); err != nil {
			return err
		}
	}
	all := slices.Clone(s.records)
	slices.SortStableFunc(all, func(a, b event.Raw) int { return a.Time.Compare(b.Time) })
	all = slices.DeleteFunc(all, func(e event.Raw) bool {
		return !e.Time.IsZero() && e.Time.Before(later(at.Add(-s.overlap), s.from))
	})
	for page := range slices.Chunk(all, cmp.Or(s.page, 10)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.pages++; s.fail != nil {
			if err := s.fail(); err != nil {
				return err
			}
		}
		at = later(at, page[len(page)-1].Time)
		cursor, err := json.Marshal(at)
		if err != nil {
			return err
		}
		if err := emit(ctx, collectors.Batch{Events: page, Cursor: cursor, Floor: at.Add(-s.overlap)}); err != nil {
			return err
		}
		if s.behind != nil {
			s.behind()
		}
		if !at.Before(s.to) {
			return nil
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// archive is what NORMALIZED and the dead letters know.
type archive struct {
	older []event.Seen
	since time.Time
	given event.GivenUp
	stops error // RAW drops what is not normalized
}

func (a *archive) Identities(_ context.Context, _ event.Provider, _ time.Time, yield func(event.Seen)) error {
	for _, e := range a.older {
		yield(e)
	}
	return nil
}

func (a *archive) GivenUp(context.Context, event.Provider) (event.GivenUp, error) {
	return a.given, a.stops
}

func (a *archive) Since(context.Context, event.Provider) (time.Time, error) { return a.since, nil }

// world is the streams, and a live source that has promised something.
type world struct {
	*collectorstest.Log
	t       testing.TB
	archive archive
	live    []event.Source
	waits   []string
}

// newWorld has a live source that collected events up to a time, and hands over nothing before it again.
func newWorld(t testing.TB, promised time.Time, events ...event.Raw) *world {
	w := &world{Log: collectorstest.NewLog(), t: t, live: []event.Source{live}}
	w.choose("panko")
	w.collect(live, event.Progress{Floor: promised, Watermark: promised, Newest: promised, Cursor: event.Cursor(`{"at":"live"}`)},
		events...)
	return w
}

func (w *world) choose(kind string) {
	w.t.Helper()
	choice, err := w.ReadChoice(w.t.Context(), cloud)
	if err == nil {
		choice.Kind, choice.Why = kind, "the test wants it"
		_, err = w.WriteChoice(w.t.Context(), cloud, choice)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// collect has a source commit events.
func (w *world) collect(s event.Source, p event.Progress, events ...event.Raw) {
	w.t.Helper()
	writer := w.NewWriter(cloud, s, event.Fence{})
	_, err := writer.Open(w.t.Context())
	if err == nil {
		_, err = writer.Commit(w.t.Context(), events, p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// job is a job as a process makes it.
func (w *world) job(name string, from, to time.Time, s *service) *backfill.Job {
	s.from, s.to = from, to
	return &backfill.Job{
		Provider: cloud, Name: name, Kind: "panko", From: from, To: to, Service: s,
		Deps: backfill.Deps{
			NewWriter: w.NewWriter, Memory: w.Log, Choices: w.Log, Archive: &w.archive, Log: zerolog.Nop(),
			Promised: func(_ event.Source, c event.RawCursor) time.Time { return c.Floor },
			Live:     func(string) []event.Source { return w.live },
			Waits:    func(why string) { w.waits = append(w.waits, why) },
		},
	}
}

// run looks and runs, as a process does.
func run(ctx context.Context, j *backfill.Job) (backfill.Progress, error) {
	o, err := j.Look(ctx)
	if err != nil {
		return backfill.Progress{}, err
	}
	return j.Run(ctx, o)
}

// added are the events that a job has added, in order.
func (w *world) added(job string) (ids []event.ID) {
	w.t.Helper()
	next := event.Seq(0)
	for _, e := range w.Events(cloud) {
		if e.Source.Backfill() != job {
			continue
		}
		if next++; e.Seq != next {
			w.t.Errorf("%s has number %d, want %d", e.ID, e.Seq, next)
		}
		if e.Backfill != job {
			w.t.Errorf("%s is marked %q", e.ID, e.Backfill)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// once fails the test if an event is in RAW twice.
func (w *world) once() {
	w.t.Helper()
	seen := map[event.ID]bool{}
	for _, id := range w.IDs(cloud) {
		if seen[id] {
			w.t.Errorf("%s is there twice", id)
		}
		seen[id] = true
	}
}

// history makes events a second apart, from one number to another.
func history(first, last int) (events []event.Raw) {
	for i := first; i <= last; i++ {
		events = append(events, event.Raw{
			ID: event.ID(fmt.Sprintf("e%04d", i)), Time: second(i), Format: "ceilometer", Body: []byte(fmt.Sprintf(`{"n":%d}`, i)),
		})
	}
	return events
}

// second is a time of the day before.
func second(n int) time.Time { return midnight.Add(-24*time.Hour + time.Duration(n)*time.Second) }

// without are those that do not have the numbers.
func without(events []event.Raw, keep func(i int) bool) (left []event.Raw) {
	for i, e := range events {
		if keep(i) {
			left = append(left, e)
		}
	}
	return left
}

func idsOf(events []event.Raw) (ids []event.ID) {
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

var errBoom = errors.New("boom")
