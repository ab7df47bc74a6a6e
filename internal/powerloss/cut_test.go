package powerloss

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/crashfs"
	"stackstream/jetstream"
)

// recording is one undisturbed run of the pipeline, of which any moment can be the last.
type recording struct {
	scene   *scene
	layout  jetstream.Layout
	history crashfs.History
	runs    *pipeline
}

// tempDir makes a directory for a store, in memory where there is a place for that.
func tempDir() (string, error) {
	in := "/dev/shm"
	if info, err := os.Stat(in); err != nil || !info.IsDir() {
		in = ""
	}
	return os.MkdirTemp(in, "powerloss")
}

// scratch is tempDir until the test ends.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func mount(t testing.TB, from string) (*crashfs.FS, string) {
	t.Helper()
	dir := scratch(t)
	fs, err := crashfs.Mount(dir, from)
	if err != nil {
		t.Fatalf("%v\nthis test needs /dev/fuse and the right to mount", err)
	}
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return fs, dir
}

// opener starts a server on a directory.
type opener func(ctx context.Context, dir string, layout jetstream.Layout, log zerolog.Logger) (*site, error)

// record runs the pipeline from nothing to its end.
func record(t testing.TB, s *scene, layout jetstream.Layout, open opener) *recording {
	t.Helper()
	return recordWith(t, s, layout, open, func(*queue) {})
}

// recordWith is record with queues that change sets up.
func recordWith(t testing.TB, s *scene, layout jetstream.Layout, open opener, change func(*queue)) *recording {
	t.Helper()
	fs, dir := mount(t, "")
	queues := map[event.Provider]*queue{}
	for i, p := range s.providers {
		queues[p] = newQueue(s.events[p], fs.Now, uint64(i))
		change(queues[p])
	}
	r := &recording{scene: s, layout: layout}
	r.run(t, fs, dir, queues, open)
	return r
}

// run runs the pipeline with the queues on a store below dir, and keeps what was done.
func (r *recording) run(t testing.TB, fs *crashfs.FS, dir string, queues map[event.Provider]*queue, open opener) {
	t.Helper()
	site, err := open(t.Context(), filepath.Join(dir, "store"), r.layout, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.close(); err != nil {
			t.Error(err)
		}
	})
	r.runs = newPipeline(site.client, queues, fs.Now)
	if err := r.runs.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.history = fs.History()
}

// again records the rest of the run after a cut: it begins with what was left, which is durable then.
func (r *recording) again(t testing.TB, c cut) *recording {
	t.Helper()
	before := scratch(t)
	if err := r.history.Image(c.moment, c.choice).WriteTo(before); err != nil {
		t.Fatal(err)
	}
	fs, dir := mount(t, before)
	next := &recording{scene: r.scene, layout: r.layout}
	next.run(t, fs, dir, r.queues(c, fs.Now), open)
	return next
}

// queues are those of the event services after a cut.
func (r *recording) queues(c cut, now func() int) map[event.Provider]*queue {
	queues := map[event.Provider]*queue{}
	for p, q := range r.runs.queues {
		queues[p] = q.at(c.moment, now, c.choice.Seed)
	}
	return queues
}

// cuts are the moments right before and behind each fsync, and as many others.
func (r *recording) cuts(random *rand.Rand) []int {
	var all []int
	first := 0 // what comes before was there when the run began
	for i := range r.history {
		switch r.history[i].Kind {
		case crashfs.Settle:
			first = i + 1
		case crashfs.Fsync:
			all = append(all, i, i+1, first+random.IntN(len(r.history)+1-first))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// promises are the moments at which something was known to be durable.
func (r *recording) promises() []int {
	var all []int
	for p, q := range r.runs.queues {
		all = append(all, q.acked...)
		for _, c := range r.runs.committed[p] {
			all = append(all, c.moment)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(m int) bool { return m == 0 || m == never }) // 0: before this run
}

// cut is one end of the run.
type cut struct {
	moment int
	choice crashfs.Choice
	goOn   bool // let the pipeline go on from there
}

func (c cut) String() string { return fmt.Sprintf("cut at %d, %s", c.moment, c.choice) }

// debts is what is owed at a moment.
func (r *recording) debts(moment int) map[event.Provider]owed {
	all := map[event.Provider]owed{}
	for p, q := range r.runs.queues {
		all[p] = owed{raw: q.acknowledged(moment), normalized: r.runs.normalized(p, moment)}
	}
	return all
}

// try makes the image of a cut and tests it.
func (r *recording) try(ctx context.Context, c cut, im *crashfs.Image) error {
	dir, err := tempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := im.WriteTo(dir); err != nil {
		return err
	}
	return r.test(ctx, c, filepath.Join(dir, "store"))
}

// test starts a server on what is left after a cut, checks what it has, and lets the pipeline go on to its end.
func (r *recording) test(ctx context.Context, c cut, dir string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	log := &bytes.Buffer{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, log)
		}
	}()
	site, err := open(ctx, dir, r.layout, zerolog.New(zerolog.SyncWriter(log)).Level(zerolog.WarnLevel))
	if err != nil {
		return fmt.Errorf("no server starts on it: %w", err)
	}
	defer func() { err = errors.Join(err, site.close()) }()
	l := &ledger{client: site.client}
	if err := l.check(ctx, r.scene, r.debts(c.moment)); err != nil || !c.goOn {
		return err
	}
	now := func() int { return 0 }
	if err := newPipeline(site.client, r.queues(c, now), now).run(ctx); err != nil {
		return err
	}
	if err := l.check(ctx, r.scene, r.debts(never-1)); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return l.waitForDead(ctx, r.scene)
}

// tally counts what was tried.
type tally struct {
	mu     sync.Mutex
	seen   map[[sha256.Size]byte]int // the latest moment of each image
	tried  map[string]int
	same   int
	holes  int // see errHole
	failed []error
}

// survey tries cuts, several at once, latest first: an image that was tried with what was owed later needs no second try.
func (r *recording) survey(ctx context.Context, cuts []cut) *tally {
	slices.SortStableFunc(cuts, func(a, b cut) int { return b.moment - a.moment })
	var done sync.WaitGroup
	sum := &tally{seen: map[[sha256.Size]byte]int{}, tried: map[string]int{}}
	next := make(chan cut)
	for range 3 {
		done.Go(func() {
			for c := range next {
				im := r.history.Image(c.moment, c.choice)
				if !sum.first(c, im) {
					continue
				}
				if err := r.try(ctx, c, im); err != nil {
					sum.fail(c, err)
				}
			}
		})
	}
	for _, c := range cuts {
		next <- c
	}
	close(next)
	done.Wait()
	return sum
}

// first tells whether the image was not tried yet with as much owed.
func (s *tally) first(c cut, im *crashfs.Image) bool {
	sum := im.Sum()
	s.mu.Lock()
	defer s.mu.Unlock()
	if moment, known := s.seen[sum]; known && moment >= c.moment {
		s.same++
		return false
	}
	s.seen[sum] = c.moment
	s.tried[c.choice.Take.String()]++
	return true
}

// fail counts a failure. Only where pages are on disk without those that were written before can there be a hole.
func (s *tally) fail(c cut, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, errHole) && c.choice.Take == crashfs.Subset {
		s.holes++
		return
	}
	s.failed = append(s.failed, fmt.Errorf("%s: %w", c, err))
}

func (s *tally) String() string {
	return fmt.Sprintf("images by what was left: %v; the same as others: %d; unacknowledged batches without their beginning: %d; "+
		"failed: %d", s.tried, s.same, s.holes, len(s.failed))
}

// err is the first few failures.
func (s *tally) err() error {
	if len(s.failed) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d images: %w", len(s.failed), len(s.seen), errors.Join(s.failed[:min(5, len(s.failed))]...))
}
