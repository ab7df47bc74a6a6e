package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stackstream/collectors/backfill"
	"stackstream/event"
)

func TestAddsWhatIsMissing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		there := without(all, func(i int) bool { return i%10 > 2 }) // 30 % are not
		w := newWorld(t, midnight.Add(-time.Hour), there...)
		before := w.Cursor(cloud, live)
		j := w.job("gap", second(10), second(90), &service{records: all, overlap: 3 * time.Second})
		o, err := j.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if o.Raw != 56 || o.Older != 0 || o.Before != nil {
			t.Errorf("the outlook is %+v", o)
		}
		done, err := j.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		want := idsOf(without(all, func(i int) bool { return i%10 <= 2 && i >= 10 && i < 90 }))
		if diff := cmp.Diff(want, w.added("gap")); diff != "" {
			t.Errorf("added (-want +got):\n%s", diff)
		}
		if done.Shown != 80 || done.There != 56 || done.Added != 24 || done.Done.IsZero() {
			t.Errorf("it says %+v", done)
		}
		w.once()
		if diff := cmp.Diff(before, w.Cursor(cloud, live)); diff != "" {
			t.Errorf("the live cursor was changed:\n%s", diff)
		}
		own := w.Cursor(cloud, "backfill-gap")
		if s, err := backfill.ReadState(own.Cursor); err != nil || !own.Retired || s.Done.IsZero() || s.Shown != 80 {
			t.Errorf("its cursor is %+v (%v)", own, err)
		}
		// Once more there is nothing to do.
		if o, err := w.job("gap", second(10), second(90), &service{records: all}).Look(t.Context()); err != nil || o.Before == nil ||
			o.Before.Done.IsZero() || o.Added != 24 {
			t.Errorf("a second look says %+v, %v", o, err)
		}
	})
}

// plan is a history, what of it is where, and what goes wrong.
type plan struct {
	places      []string // of the events: "missing", "there", or "dropped" by RAW
	first, last int      // of the range
	promised    int      // seconds that the live source has promised beyond it
	commits     []int    // commits that go well until one does not, as far as its process knows, which then dies
	stored      bool     // what it wrote is
	pages       []int    // pages that are shown until one is refused
	lives       []int    // seconds that each process lives at most; the last ones as long as it takes
	page        int
	overlap     int
}

func drawPlan(t *rapid.T) plan {
	p := plan{
		places:   rapid.SliceOfN(rapid.SampledFrom([]string{"missing", "there", "there", "dropped"}), 0, 120).Draw(t, "places"),
		first:    rapid.IntRange(0, 120).Draw(t, "from"),
		promised: rapid.IntRange(0, 3).Draw(t, "promised"),
		commits:  rapid.SliceOfN(rapid.IntRange(0, 8), 0, 5).Draw(t, "commits until one fails"),
		stored:   rapid.Bool().Draw(t, "and is stored all the same"),
		pages:    rapid.SliceOfN(rapid.IntRange(0, 8), 0, 5).Draw(t, "pages until one fails"),
		lives:    rapid.SliceOfN(rapid.IntRange(0, 5), 0, 5).Draw(t, "lives"),
		page:     rapid.IntRange(1, 20).Draw(t, "page"),
		overlap:  rapid.IntRange(0, 10).Draw(t, "overlap"),
	}
	p.last = p.first + rapid.IntRange(1, 130).Draw(t, "length")
	return p
}

// countdown refuses each time that one of the numbers has run down.
func countdown(numbers []int) (refuses func() bool) {
	return func() bool {
		if len(numbers) == 0 {
			return false
		}
		if numbers[0]--; numbers[0] >= 0 {
			return false
		}
		numbers = numbers[1:]
		return true
	}
}

// Whatever is missing and whenever it is killed, a job adds exactly what is missing of its range; nothing else changes.
func TestAddsExactlyWhatIsMissing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		bubble(t, func(t *testing.T) {
			if err := p.run(t); err != nil {
				rt.Error(err)
			}
		})
	})
}

func (p plan) run(t *testing.T) error {
	all := history(0, len(p.places)-1)
	in := func(place string) []event.Raw { return without(all, func(i int) bool { return p.places[i] == place }) }
	from, to := second(p.first), second(p.last)
	w := newWorld(t, to.Add(time.Duration(p.promised)*time.Second), in("there")...)
	for _, e := range in("dropped") {
		w.archive.older = append(w.archive.older, event.Seen{ID: e.ID, Time: e.Time, Source: live})
	}
	before := w.Cursor(cloud, live)
	dies, refuses := countdown(p.commits), countdown(p.pages)
	w.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
		if dies() {
			return p.stored, errBoom
		}
		return true, nil
	}
	var done backfill.Progress
	for life := 0; ; life++ {
		ctx, cancel := context.WithCancel(t.Context())
		if life < len(p.lives) {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(p.lives[life])*time.Second)
		}
		s := &service{records: all, page: p.page, overlap: time.Duration(p.overlap) * time.Second}
		s.fail = func() error {
			if refuses() {
				return &event.Error{Kind: event.Unavailable, Op: "ask", Err: errBoom}
			}
			return nil
		}
		var err error
		done, err = run(ctx, w.job("gap", from, to, s))
		ended := ctx.Err() != nil
		cancel()
		if err == nil {
			break
		}
		if !ended && !errors.Is(err, errBoom) {
			return err
		}
	}
	var want []event.ID
	for _, e := range in("missing") {
		if !e.Time.Before(from) && e.Time.Before(to) {
			want = append(want, e.ID)
		}
	}
	got := w.added("gap")
	slices.Sort(got)
	if !slices.Equal(want, got) {
		return fmt.Errorf("added %v, want %v", got, want)
	}
	if done.Added != uint64(len(want)) && done.Done.IsZero() {
		return fmt.Errorf("it says that it added %d of %d", done.Added, len(want))
	}
	w.once()
	if diff := cmp.Diff(before, w.Cursor(cloud, live)); diff != "" {
		return fmt.Errorf("the live cursor was changed:\n%s", diff)
	}
	return nil
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(w *world, j *backfill.Job)
		want    string
		allowed bool // with AllowDuplicates
	}{
		"what the live source reads itself": {
			change:  func(_ *world, j *backfill.Job) { j.To = midnight.Add(-30 * time.Minute) },
			want:    "the live source panko will read what is later than 1999-12-31T23:00:00Z itself: that is the latest end",
			allowed: true,
		},
		"a live source that promises nothing": {
			change: func(w *world, _ *backfill.Job) {
				w.choose("http")
				w.live = []event.Source{"http"}
				w.collect("http", event.Progress{})
			},
			want: "the live source http has not promised", allowed: true,
		},
		"a shard that has not begun": {
			change: func(w *world, _ *backfill.Job) { w.live = append(w.live, "panko-new") },
			want:   "the live source panko-new has not promised", allowed: true,
		},
		"what may still show": {
			change: func(_ *world, j *backfill.Job) { j.To, j.Settles = midnight, time.Minute },
			want:   "the latest end is 1999-12-31T23:59:00Z",
		},
		"from before what the streams know": {
			change: func(w *world, _ *backfill.Job) { w.archive.since = second(50) },
			want:   "the streams know all that was collected from 1999-12-31T00:10:50Z on only", allowed: true,
		},
		"a range that ends before it begins": {
			change: func(_ *world, j *backfill.Job) { j.To = j.From }, want: "which is not after its beginning",
		},
		"a name that is none": {
			change: func(_ *world, j *backfill.Job) { j.Name = "No Name" }, want: "only a-z",
		},
		"a name that is too long": {
			change: func(_ *world, j *backfill.Job) { j.Name = strings.Repeat("x", 55) }, want: "is longer than 54 characters",
		},
		"another job on part of the range": {
			change: func(w *world, _ *backfill.Job) {
				s := &service{records: history(0, 99), fail: func() error { return &event.Error{Kind: event.Invalid, Err: errBoom} }}
				if _, err := run(w.t.Context(), w.job("other", second(60), second(70), s)); !errors.Is(err, errBoom) {
					w.t.Fatal(err)
				}
			},
			want: "job other, which asks panko for 1999-12-31T00:01:00Z to 1999-12-31T00:01:10Z, is not done",
		},
		"another range under the name": {
			change: func(w *world, _ *backfill.Job) {
				if _, err := run(w.t.Context(), w.job("gap", second(60), second(70), &service{})); err != nil {
					w.t.Fatal(err)
				}
			},
			want: "there is a job of this name that asks panko for",
		},
		"a paused provider": {
			change: func(w *world, _ *backfill.Job) {
				choice, err := w.ReadChoice(w.t.Context(), cloud)
				choice.Paused = &event.Pause{By: "somebody", Why: "a fire"}
				if err == nil {
					_, err = w.WriteChoice(w.t.Context(), cloud, choice)
				}
				if err != nil {
					w.t.Fatal(err)
				}
			},
			want: "collecting for cloud is paused: paused: since 0001-01-01T00:00:00Z by somebody: a fire",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				all := history(0, 99)
				w := newWorld(t, midnight.Add(-time.Hour), all[:50]...)
				j := w.job("gap", second(0), second(90), &service{records: all})
				test.change(w, j)
				commits := w.Commits()
				_, err := j.Look(t.Context())
				if err == nil || !strings.Contains(err.Error(), test.want) || event.KindOf(err) == 0 {
					t.Errorf("error is %v, want %q", err, test.want)
				}
				if w.Commits() != commits {
					t.Error("something was written")
				}
				j.AllowDuplicates = true
				if o, err := j.Look(t.Context()); (err == nil) != test.allowed || err == nil && len(o.Doubts) != 1 {
					t.Errorf("with duplicates allowed: %v, doubts %v", err, o.Doubts)
				}
			})
		})
	}
}

// Sources of kinds that do not collect, retired ones and other jobs hold nothing up.
func TestWhoDoesNotMatter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour), all[:50]...)
		w.collect("ceilometer", event.Progress{Floor: second(0)})
		w.collect("panko-old", event.Progress{Retired: true})
		w.collect("backfill-past", event.Progress{Retired: true})
		w.collect("redrive", event.Progress{})
		if done, err := run(t.Context(), w.job("gap", second(0), second(90), &service{records: all})); err != nil || done.Added != 40 {
			t.Errorf("%+v, %v", done, err)
		}
	})
}

func TestTheLaterOfTwoProcessesTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		wait := make(chan struct{})
		slow := &service{records: all, page: 5}
		slow.behind = func() {
			if slow.pages == 3 {
				<-wait
			}
		}
		first := make(chan error, 1)
		go func() {
			_, err := run(t.Context(), w.job("gap", second(0), second(90), slow))
			first <- err
		}()
		synctest.Wait()
		done, err := run(t.Context(), w.job("gap", second(0), second(90), &service{records: all}))
		if err != nil || done.Added != 90 {
			t.Errorf("the later one: %+v, %v", done, err)
		}
		close(wait)
		if err := <-first; !errors.Is(err, event.Fenced) || !strings.Contains(err.Error(), "another process has taken over the job") {
			t.Errorf("the earlier one ends with %v", err)
		}
		if got := w.added("gap"); len(got) != 90 {
			t.Errorf("%d were added", len(got))
		}
		w.once()
	})
}

func TestAnotherChoiceEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		s := &service{records: all, page: 5}
		s.behind = func() {
			if s.pages == 3 {
				w.choose("ceilometer")
			}
		}
		_, err := run(t.Context(), w.job("gap", second(0), second(90), s))
		if !errors.Is(err, event.Fenced) || !strings.Contains(err.Error(), "choice of source was changed meanwhile (ceilometer: ") {
			t.Errorf("error %v", err)
		}
		w.live = nil
		if done, err := run(t.Context(), w.job("gap", second(0), second(90), &service{records: all})); err != nil || done.Added != 90 {
			t.Errorf("going on: %+v, %v", done, err)
		}
		w.once()
	})
}

func TestALiveSourceThatIsSetBackEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		s := &service{records: all, page: 5}
		s.behind = func() {
			if s.pages == 3 {
				w.collect(live, event.Progress{Floor: second(20)})
				time.Sleep(6 * time.Second)
			}
		}
		_, err := run(t.Context(), w.job("gap", second(0), second(90), s))
		if !errors.Is(err, event.Invalid) || !strings.Contains(err.Error(), "the live source panko will read what is later than") {
			t.Errorf("error %v", err)
		}
		if s.pages > 4 {
			t.Errorf("it read %d pages", s.pages)
		}
	})
}

// Two jobs that begin at once do not both go on: neither would know what the other adds.
func TestTwoJobsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		one, other := w.job("one", second(0), second(90), &service{records: all}), w.job("other", second(50), second(95), &service{records: all})
		looks := map[*backfill.Job]backfill.Outlook{}
		for _, j := range []*backfill.Job{one, other} {
			o, err := j.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			looks[j] = o
		}
		w.Fault = func(context.Context, []event.Raw, event.Progress) (bool, error) {
			time.Sleep(time.Second) // so that both are under way
			return true, nil
		}
		ended := make(chan error, 2)
		for j, o := range looks {
			go func() { _, err := j.Run(t.Context(), o); ended <- err }()
		}
		failed := 0
		for range looks {
			if err := <-ended; err != nil {
				failed++
				if !strings.Contains(err.Error(), "the ranges overlap") {
					t.Error(err)
				}
			}
		}
		w.once()
		if failed == 0 {
			t.Error("both went on")
		}
		// Who stepped back is in nobody's way.
		for _, j := range []*backfill.Job{
			w.job("one", second(0), second(90), &service{records: all}), w.job("other", second(50), second(95), &service{records: all}),
		} {
			o, err := j.Look(t.Context())
			if err == nil && o.Before == nil {
				_, err = j.Run(t.Context(), o)
			}
			if err != nil {
				t.Error(err)
			}
		}
		w.once()
		if n := len(w.IDs(cloud)); n != 95 {
			t.Errorf("%d are there", n)
		}
	})
}

// A job that ran between the look and the beginning is noticed.
func TestAJobThatCameBetween(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		j := w.job("gap", second(0), second(90), &service{records: all})
		o, err := j.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(t.Context(), w.job("other", second(20), second(60), &service{records: all})); err != nil {
			t.Fatal(err)
		}
		if done, err := j.Run(t.Context(), o); err != nil || done.Added != 50 || done.There != 40 {
			t.Errorf("%+v, %v", done, err)
		}
		w.once()
	})
}

// An event without a time belongs to no range, unless the service's records have none at all.
func TestEventsWithoutATime(t *testing.T) {
	for _, timeless := range []bool{false, true} {
		t.Run(fmt.Sprint(timeless), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				all := history(0, 99)
				for i := 0; i < len(all); i += 10 {
					all[i].Time = time.Time{}
				}
				w := newWorld(t, midnight.Add(-time.Hour), all[0], all[1])
				j := w.job("gap", second(0), second(90), &service{records: all})
				j.Timeless = timeless
				done, err := run(t.Context(), j)
				if err != nil {
					t.Fatal(err)
				}
				added, left := uint64(80), uint64(9)
				if timeless {
					added, left = 89, 0
				}
				if done.Added != added || done.Timeless != left {
					t.Errorf("%d added, %d left out; want %d and %d", done.Added, done.Timeless, added, left)
				}
				w.once()
			})
		})
	}
}

// A service that answers with errors that may pass is asked again; one that refuses ends the job.
func TestErrorsOfTheService(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		s := &service{records: all}
		s.fail = func() error {
			if s.pages%2 == 0 {
				return &event.Error{Kind: event.Unavailable, Op: "ask", Err: errBoom}
			}
			return nil
		}
		if done, err := run(t.Context(), w.job("gap", second(0), second(90), s)); err != nil || done.Added != 90 {
			t.Errorf("%+v, %v", done, err)
		}
		if !slices.Contains(w.waits, "ask: unavailable: boom") || w.waits[len(w.waits)-1] != "" {
			t.Errorf("it said %q", w.waits)
		}
		s.fail = func() error { return &event.Error{Kind: event.Invalid, Op: "ask", Err: errBoom} }
		if _, err := run(t.Context(), w.job("again", second(0), second(90), s)); !errors.Is(err, errBoom) {
			t.Errorf("error %v", err)
		}
	})
}

// A job that was removed leaves its number: an event of another job of the name must not get one that was given.
func TestRemovedJobsKeepTheirNumber(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour))
		if _, err := run(t.Context(), w.job("gap", second(0), second(50), &service{records: all})); err != nil {
			t.Fatal(err)
		}
		writer := w.NewWriter(cloud, "backfill-gap", event.Fence{})
		c, err := writer.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before, err := backfill.Remove(&c, time.Now())
		if err != nil || before.Shown != 50 || !c.Retired {
			t.Fatalf("%+v, %v", before, err)
		}
		if _, err := backfill.Remove(&c, time.Now()); err == nil {
			t.Error("it can be removed twice")
		}
		if _, err := writer.Commit(t.Context(), nil, c.Progress); err != nil {
			t.Fatal(err)
		}
		done, err := run(t.Context(), w.job("gap", second(0), second(90), &service{records: all}))
		if err != nil || done.Added != 40 || done.There != 50 || done.Shown != 90 {
			t.Errorf("%+v, %v", done, err)
		}
		if got := w.added("gap"); len(got) != 90 {
			t.Errorf("%d were added in all", len(got))
		}
		w.once()
	})
}

func TestTryWritesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := history(0, 99)
		w := newWorld(t, midnight.Add(-time.Hour), all[:30]...)
		commits := w.Commits()
		s := &service{records: all, overlap: 5 * time.Second}
		s.fail = func() error {
			if s.pages == 2 {
				return &event.Error{Kind: event.Unavailable, Op: "ask", Err: errBoom}
			}
			return nil
		}
		j := w.job("gap", second(0), second(90), s)
		o, err := j.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var missing []event.ID
		done, err := j.Try(t.Context(), o, func(e event.Raw) { missing = append(missing, e.ID) })
		if err != nil || done.Shown != 90 || done.There != 30 || !slices.Equal(missing, idsOf(all[30:90])) {
			t.Errorf("%+v, %v, missing %v", done, err, missing)
		}
		if w.Commits() != commits {
			t.Error("something was written")
		}
	})
}

// What is held takes little for each event of the range, and nothing for others.
func TestHeldIsSmall(t *testing.T) {
	const n = 50_000
	if took := heldBytes(n); took > 64*n {
		t.Errorf("%d bytes for each", took/n)
	}
}

func heldBytes(n int) uint64 {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	held := backfill.NewHeld(second(0), second(n))
	for i := range n {
		held.Take(event.Seen{ID: event.ID(fmt.Sprintf("0f4e1b9e-4b1c-4d0e-9c1e-%012d", i)), Time: second(i)})
		held.Take(event.Seen{ID: event.ID(fmt.Sprintf("ffffffff-4b1c-4d0e-9c1e-%012d", i)), Time: second(n + i + 100_000)})
	}
	took := heap() - before
	runtime.KeepAlive(held)
	return took
}

func BenchmarkAMillionHeld(b *testing.B) {
	for range b.N {
		b.ReportMetric(float64(heldBytes(1_000_000))/(1<<20), "MiB")
	}
}
