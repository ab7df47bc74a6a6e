package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stackstream/collectors/backfill"
	"stackstream/event"
)

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
