package collectorstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// service is an event service in memory that shows its events by time, a few per page, and reads back an overlap.
type service struct {
	mu     sync.Mutex
	now    time.Time
	number int
	events []event.Raw // by time
	fails  int
	down   bool
	faults faults
	quit   context.Context // ends a source that is deaf to its own
}

// faults make the source break the contract.
type faults struct {
	alwaysAvailable bool // Available does not look
	skipsPage       bool // the cursor is moved beyond a page that failed
	eagerCursor     bool // the cursor is moved before the events behind it are handed over
	newestFirst     bool // a page is handed over backwards
	noOverlap       bool // what comes late is not read back
	lyingFloor      bool // the floor lies above what is read back
	lyingMark       bool // the watermark lies above what comes late
	deaf            bool // ctx is ignored
	impatient       bool // an error of emit is ignored
	mute            bool // nothing is handed over after the first few events
	parallel        bool // emit is called from two goroutines
	bare            bool // events have no format
	endsWithError   bool // ctx's error is returned
	swallows        bool // errors of the service are ignored, and the page with them
}

const (
	step    = time.Second
	overlap = 5 * step
)

var start0 = time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)

func (s *service) put(n int) []event.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []event.ID
	for range n {
		s.now = s.now.Add(step)
		ids = append(ids, s.insert(s.now))
	}
	return ids
}

func (s *service) late() event.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.insert(s.now.Add(-2*step - step/2))
}

func (s *service) insert(at time.Time) event.ID {
	s.number++
	e := event.Raw{ID: event.ID(fmt.Sprintf("e%03d", s.number)), Time: at, Format: "fake", Body: []byte(`{"n":1}`)}
	if s.faults.bare {
		e.Format = ""
	}
	i, _ := slices.BinarySearchFunc(s.events, at, func(e event.Raw, t time.Time) int {
		if e.Time.After(t) {
			return 1
		}
		return -1
	})
	s.events = slices.Insert(s.events, i, e)
	return e.ID
}

// page answers as a service would: the next few events from a time on.
func (s *service) page(from time.Time, skip int) ([]event.Raw, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return nil, &event.Error{Kind: event.Invalid, Op: "list events", Err: errors.New("connection refused")}
	case s.fails > 0:
		s.fails--
		return nil, &event.Error{Kind: event.Invalid, Op: "list events", Err: errors.New("500")}
	}
	var page []event.Raw
	for _, e := range s.events {
		if e.Time.Before(from) {
			continue
		}
		if skip--; skip < 0 && len(page) < 7 {
			page = append(page, e)
		}
	}
	return page, nil
}

type pollingSource struct {
	*service
	poller collectors.Poller
}

type position struct {
	At time.Time `json:"at"`
}

func (s *service) source() (collectors.Source, error) {
	src := &pollingSource{service: s}
	src.poller = collectors.Poller{Every: 5 * time.Millisecond, MaxRun: time.Minute, Fetch: src.fetch}
	return src, nil
}

func (s *pollingSource) Available(context.Context) error {
	if s.faults.alwaysAvailable {
		return nil
	}
	_, err := s.page(start0, 0)
	return err
}

func (s *pollingSource) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	if s.faults.deaf {
		ctx = s.quit
	}
	if s.faults.impatient {
		strict := emit
		emit = func(ctx context.Context, b collectors.Batch) error {
			if strict(ctx, b) != nil {
				_ = strict(ctx, b)
			}
			return nil
		}
	}
	if s.faults.mute {
		loud, said := emit, 0
		emit = func(ctx context.Context, b collectors.Batch) error {
			if said += len(b.Events); said > 4 {
				return nil
			}
			return loud(ctx, b)
		}
	}
	if s.faults.parallel {
		single := emit
		emit = func(ctx context.Context, b collectors.Batch) error {
			var group sync.WaitGroup
			for range 2 {
				group.Go(func() { _ = single(ctx, b) })
			}
			group.Wait()
			return nil
		}
	}
	err := s.poller.Run(ctx, from, emit)
	if s.faults.endsWithError && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *pollingSource) fetch(ctx context.Context, from event.From, emit collectors.Emit) error {
	at := position{start0}
	if from.Cursor != nil {
		if err := json.Unmarshal(from.Cursor, &at); err != nil {
			return err
		}
	}
	newest := at.At
	floor := newest.Add(-overlap)
	if s.faults.noOverlap {
		floor = newest.Add(time.Nanosecond)
	}
	seen := 0
	for {
		page, err := s.page(floor, seen)
		switch {
		case err != nil && s.faults.skipsPage:
			s.mu.Lock()
			newest = s.now
			s.mu.Unlock()
			page = nil
		case err != nil && s.faults.swallows:
			return nil
		case err != nil:
			return err
		}
		seen += len(page)
		if len(page) > 0 && page[len(page)-1].Time.After(newest) {
			newest = page[len(page)-1].Time
		}
		promised := newest.Add(-overlap)
		if s.faults.lyingFloor {
			promised = newest.Add(time.Second)
		}
		b := collectors.Batch{Events: page, Cursor: mustEncode(position{newest}), Floor: promised}
		if len(page) == 0 {
			b.Watermark = newest.Add(-overlap)
		}
		if s.faults.lyingMark {
			b.Watermark = newest
		}
		if s.faults.newestFirst {
			slices.Reverse(b.Events)
		}
		if s.faults.eagerCursor {
			s.mu.Lock()
			b.Cursor = mustEncode(position{s.now.Add(overlap)})
			s.mu.Unlock()
		}
		if err := emit(ctx, b); err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
	}
}

func mustEncode(v any) event.Cursor {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func newFake(quit context.Context, f faults) Harness {
	s := &service{now: start0, faults: f, quit: quit}
	return Harness{
		Source: s.source,
		Spec:   collectors.Spec{Quiet: time.Minute},
		Put:    s.put,
		Late:   s.late,
		Fail: func(n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.fails = n
		},
		Down: func(down bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.down = down
		},
	}
}

func TestGoodSourcePasses(t *testing.T) {
	TestSource(t, func(t *testing.T) Harness { return newFake(t.Context(), faults{}) })
}

func TestBadSourcesFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults faults
		check  func(context.Context, Harness) error
		says   string
	}{
		{"Available does not look", faults{alwaysAvailable: true}, checkAvailable, "does not say why"},
		{"a failed page is skipped", faults{skipsPage: true}, checkErrors, "missing"},
		{"errors are swallowed", faults{swallows: true}, checkErrors, "does not fail"},
		{"the cursor runs ahead", faults{eagerCursor: true}, checkResume, "missing"},
		{"the cursor runs ahead of a kill", faults{eagerCursor: true}, checkKilled, "missing"},
		{"newest first", faults{newestFirst: true}, checkOrder, "out of order"},
		{"late events are not read back", faults{noOverlap: true}, checkLate, "missing"},
		{"the floor lies", faults{lyingFloor: true}, checkResume, "below the floor"},
		{"the watermark lies", faults{lyingMark: true}, checkPromises, "watermark"},
		{"ctx is ignored", faults{deaf: true}, checkEnd, "does not return"},
		{"ctx's error is returned", faults{endsWithError: true}, checkEnd, "returns an error"},
		{"emit's error is ignored", faults{impatient: true}, checkBackpressure, "called it again"},
		{"emit is called in parallel", faults{parallel: true}, checkBackpressure, "two goroutines"},
		{"no sign of life", faults{mute: true}, checkQuiet, "not even an empty batch"},
		{"no format", faults{bare: true}, checkOrder, "no format"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				quit, cancel := context.WithCancel(t.Context())
				defer cancel()
				err := c.check(t.Context(), newFake(quit, c.faults))
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the check says %v; want %q", err, c.says)
				}
			})
		})
	}
}
