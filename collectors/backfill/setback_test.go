package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/backfill"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

// reader is a live source that is read by time: from its floor on it shows all there is, a page now and then.
type reader struct {
	records []event.Raw
	every   time.Duration
}

func (r *reader) Available(context.Context) error { return nil }

func (r *reader) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	left := slices.DeleteFunc(slices.Clone(r.records), func(e event.Raw) bool { return e.Time.Before(from.Floor) })
	for page := range slices.Chunk(left, 7) {
		wait(ctx, r.every)
		if err := emit(ctx, collectors.Batch{Events: page, Cursor: event.Cursor(`{"at":"live"}`)}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// goLive has a process collect through the live source until the test ends.
func (w *world) goLive(ctx context.Context, r *reader) {
	var leases collectorstest.Leases
	c := &collectors.Collector{
		Provider: cloud, Want: "panko",
		Candidates: []collectors.Candidate{{Kind: "panko", Shards: []collectors.Shard{{
			Name: live, New: func(collectors.Report) (collectors.Source, error) { return r, nil },
		}}}},
		Deps: collectors.Deps{
			NewWriter: w.NewWriter, Memory: w.Log, Choices: w.Log, Lease: leases.For("a"), Log: zerolog.Nop(), Owner: "a",
		},
	}
	_ = c.Run(ctx)
}

// setBack has a live source read again from a time on, as the command does. move moves its cursor.
func (w *world) setBack(s event.Source, to time.Time, move func(*event.RawCursor) error) {
	recalled := event.StreamSeq(0)
	for _, e := range w.Events(cloud) {
		if recalled == 0 && !e.Time.Before(to) {
			recalled = e.Sequence
		}
	}
	if recalled == 0 {
		recalled = w.Cursor(cloud, s).Sequence + 1
	}
	w.SetBack(cloud, s, func(c *event.RawCursor) {
		if before := *c; move(c) == nil {
			c.Rewind(to, recalled, 0)
		} else {
			*c = before
		}
	})
}

// byFloor is how a source is moved that reads from its floor on.
func byFloor(*event.RawCursor) error { return nil }

// An operator has the live source read again what a job asks for. Whenever he does, and however fast each of the two is, nothing
// comes twice, and what the live source is to read is there in the end.
func TestALiveSourceThatIsSetBackWhileAJobRuns(t *testing.T) {
	const pages = 18
	for moment := -2; moment <= pages; moment++ {
		for _, lag := range []time.Duration{0, time.Second, 4 * time.Second} {
			for _, every := range []time.Duration{0, 300 * time.Millisecond} {
				bubble(t, func(t *testing.T) { checkSetBack(t, moment, lag, every) })
			}
		}
	}
}

// checkSetBack sets the live source back after a page of the job, or before it has looked (-2) or begun (-1), and lets it read for
// a while until the job goes on.
func checkSetBack(t *testing.T, moment int, lag, every time.Duration) {
	fail := func(format string, args ...any) {
		t.Errorf("set back after page %d, %v before the next, a live page every %v: %s", moment, lag, every, fmt.Sprintf(format, args...))
	}
	all := history(0, 99)
	w := newWorld(t, midnight.Add(-time.Hour), without(all, func(i int) bool { return i%3 == 0 && i < 50 })...)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	setBack := func() {
		w.setBack(live, second(30), byFloor)
		go func() { defer close(ended); w.goLive(ctx, &reader{records: all, every: every}) }()
		time.Sleep(lag)
	}
	s := &service{records: all, page: 5}
	s.behind = func() {
		if s.pages == moment {
			setBack()
		}
	}
	if moment == -2 {
		setBack()
	}
	j := w.job("gap", second(0), second(90), s)
	o, err := j.Look(t.Context())
	if moment == -1 {
		setBack()
	}
	if err == nil {
		_, err = j.Run(t.Context(), o)
	}
	if moment == 0 {
		setBack()
	}
	switch refused := errors.Is(err, event.Invalid) && strings.Contains(err.Error(), "the live source panko will read what is later than"); {
	case refused && moment == 0, err != nil && !refused:
		fail("the job ends with %v", err)
	case !refused && moment < 0:
		fail("the job is not refused")
	}
	time.Sleep(time.Minute)
	stop()
	<-ended
	w.once()
	ids := w.IDs(cloud)
	for _, e := range all[30:] {
		if !slices.Contains(ids, e.ID) {
			fail("%s is missing", e.ID)
		}
	}
	if t.Failed() {
		fail("it went wrong")
	}
}

// A source that is set back to behind the range is none of the job's business: it looks again, and goes on.
func TestALiveSourceThatIsSetBackBehindTheRange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour), all[:10]...)
		s := &service{records: all, page: 5}
		s.behind = func() {
			if s.pages == 3 || s.pages == 9 {
				w.setBack(live, second(95), byFloor)
			}
		}
		done, err := run(t.Context(), w.job("gap", second(0), second(90), s))
		if err != nil || done.Added != 80 || len(w.added("gap")) != 80 {
			t.Errorf("%+v, %v", done, err)
		}
		w.once()
		if len(w.waits) == 0 || !strings.Contains(w.waits[0], "an operator may have set a live source back; looking again") {
			t.Errorf("it said %q", w.waits)
		}
	})
}

// A provider that is paused while a job runs ends it.
func TestAPauseEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		s := &service{records: all, page: 5}
		s.behind = func() {
			if s.pages != 3 {
				return
			}
			choice, err := w.ReadChoice(t.Context(), cloud)
			choice.Paused = &event.Pause{By: "ada", Why: "a fire"}
			if _, werr := w.WriteChoice(t.Context(), cloud, choice); err != nil || werr != nil {
				t.Fatal(err, werr)
			}
		}
		_, err := run(t.Context(), w.job("gap", second(0), second(90), s))
		if event.KindOf(err) != event.Paused || !strings.Contains(err.Error(), "collecting for cloud is paused") {
			t.Errorf("error %v", err)
		}
	})
}

var _ backfill.Memory = (*collectorstest.Log)(nil)
