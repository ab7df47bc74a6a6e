package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stackstream/event"
)

// fleet is loops under a supervisor that keep account of what runs.
type fleet struct {
	*supervisor
	tb interface {
		Errorf(format string, args ...any)
		Fatal(args ...any)
		Helper()
	}
	stop func()

	mu      sync.Mutex
	running map[part]string // the settings that each part runs with
	told    map[string]int  // how often loops with these settings were told to end
	gone    []event.Provider
	stuck   []part
}

func newFleet(tb interface {
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Helper()
}) *fleet {
	f := &fleet{tb: tb, running: map[part]string{}, told: map[string]int{}}
	f.supervisor = newSupervisor(supervisorHooks{
		Begins: func(part) {},
		Gone: func(p event.Provider) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for of := range f.running {
				if of.provider == p {
					f.tb.Errorf("%s is gone while %s of it runs", p, of.role)
				}
			}
			f.gone = append(f.gone, p)
		},
		Stuck: func(of part, _ error) { f.stuck = append(f.stuck, of) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	f.stop = func() {
		cancel()
		if err := <-ended; err != nil || len(f.running) > 0 {
			f.tb.Errorf("it ended with %v while %v runs", err, f.running)
		}
	}
	return f
}

// work is a loop that takes so long to end.
func (f *fleet) work(p part, settings string, slow time.Duration, result error) work {
	return work{settings: settings, prepare: func() (func(context.Context) error, error) {
		return func(ctx context.Context) error {
			f.mu.Lock()
			if other, both := f.running[p]; both {
				f.tb.Errorf("%v runs with %s and %s at once", p, other, settings)
			}
			f.running[p] = settings
			f.mu.Unlock()
			<-ctx.Done()
			time.Sleep(slow)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.told[fmt.Sprint(p, settings)]++
			delete(f.running, p)
			return result
		}, nil
	}}
}

func (f *fleet) now() map[part]string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	now := map[part]string{}
	for p, settings := range f.running {
		now[p] = settings
	}
	return now
}

// left are the providers that are gone.
func (f *fleet) left() []event.Provider {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.gone)
}

func collectorOf(p event.Provider) part  { return part{role: event.RoleCollector, provider: p} }
func normalizerOf(p event.Provider) part { return part{role: event.RoleNormalizer, provider: p} }

// change asks for the parts with the settings given; loops take a second to end.
func (f *fleet) change(wanted map[part]string) outcome {
	f.tb.Helper()
	works := map[part]work{}
	for p, settings := range wanted {
		works[p] = f.work(p, settings, time.Second, nil)
	}
	o, err := f.Change(context.Background(), works)
	if err != nil {
		f.tb.Fatal(err)
	}
	return o
}

func (f *fleet) wantRunning(want map[part]string) {
	f.tb.Helper()
	if diff := cmp.Diff(want, f.now(), cmp.AllowUnexported(part{})); diff != "" {
		f.tb.Errorf("what runs (-want +got):\n%s", diff)
	}
}

func TestSupervisorExchangesWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		a, b, n := collectorOf("a"), collectorOf("b"), normalizerOf("a")
		f.change(map[part]string{a: "1", b: "1", n: "1"})
		f.wantRunning(map[part]string{a: "1", b: "1", n: "1"})

		o := f.change(map[part]string{a: "2", b: "1", n: "1"})
		if !slices.Equal(o.changed, []part{a}) || len(o.added)+len(o.removed) > 0 {
			t.Errorf("one part changed, told is %+v", o)
		}
		// The one before has a second to finish; nothing takes its place before.
		time.Sleep(999 * time.Millisecond)
		f.wantRunning(map[part]string{a: "1", b: "1", n: "1"})
		time.Sleep(2 * time.Millisecond)
		f.wantRunning(map[part]string{a: "2", b: "1", n: "1"})

		o = f.change(map[part]string{b: "1"})
		if !slices.Equal(o.removed, []part{a, n}) {
			t.Errorf("a provider was removed, told is %+v", o)
		}
		if !slices.Equal(f.Providers(), []event.Provider{"b"}) {
			t.Errorf("wanted are %v", f.Providers())
		}
		f.While("a", func() { t.Error("a is not wanted") })
		if len(f.left()) > 0 {
			t.Error("it is gone before its loops have ended")
		}
		time.Sleep(2 * time.Second)
		f.wantRunning(map[part]string{b: "1"})
		if gone := f.left(); !slices.Equal(gone, []event.Provider{"a"}) {
			t.Errorf("gone are %v", gone)
		}
	})
}

// Changes that come faster than loops end leave what was wanted last, and nothing in between is begun.
func TestSupervisorUnderQuickChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		a := collectorOf("a")
		f.change(map[part]string{a: "1"})
		f.wantRunning(map[part]string{a: "1"})
		f.change(map[part]string{a: "2"})
		f.change(nil)
		f.change(map[part]string{a: "3"})
		f.change(map[part]string{a: "4"})
		time.Sleep(time.Minute)
		f.wantRunning(map[part]string{a: "4"})
		if f.told[fmt.Sprint(a, "2")]+f.told[fmt.Sprint(a, "3")] > 0 {
			t.Error("what was not wanted any more was begun")
		}
	})
}

// A loop that leaves something running is told, and nothing takes its place.
func TestSupervisorDoesNotReplaceWhatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		a, b := collectorOf("a"), collectorOf("b")
		wanted := map[part]work{a: f.work(a, "1", time.Second, errors.New("a source does not return")), b: f.work(b, "1", 0, nil)}
		if _, err := f.Change(t.Context(), wanted); err != nil {
			t.Fatal(err)
		}
		f.now()
		f.change(map[part]string{a: "2", b: "1"})
		time.Sleep(time.Minute)
		f.wantRunning(map[part]string{b: "1"})
		if f.now(); !slices.Equal(f.stuck, []part{a}) {
			t.Errorf("stuck are %v", f.stuck)
		}
		f.change(map[part]string{b: "1"})
		time.Sleep(time.Minute)
		if len(f.left()) > 0 {
			t.Error("what is stuck is forgotten")
		}
	})
}

// Work that is not wanted any more finishes first; other work that takes its place does not wait for that.
func TestSupervisorLetsWorkFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		a := normalizerOf("a")
		finishing := f.work(a, "1", 0, nil)
		finishing.finish = func(ctx context.Context) {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
			}
		}
		change := func(wanted map[part]work) {
			t.Helper()
			if _, err := f.Change(t.Context(), wanted); err != nil {
				t.Fatal(err)
			}
		}
		change(map[part]work{a: finishing})
		change(nil)
		time.Sleep(9 * time.Second)
		f.wantRunning(map[part]string{a: "1"})
		time.Sleep(2 * time.Second)
		f.wantRunning(map[part]string{})
		change(map[part]work{a: finishing})
		change(nil)
		time.Sleep(time.Second)
		change(map[part]work{a: f.work(a, "2", 0, nil)})
		f.wantRunning(map[part]string{a: "2"})
		if gone := f.left(); len(gone) != 1 {
			t.Errorf("gone are %v", gone)
		}
	})
}

// A provider that was removed is let go when all that was collected is normalized, also what came a little later.
func TestRemovedProviderIsNormalizedToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		caughtUp(t.Context(), "prod", func(context.Context, event.Provider) ([]event.Watermark, error) {
			switch since := time.Since(began); {
			case since < 3*time.Second:
				return nil, errors.New("not now")
			case since < 20*time.Second && since > 10*time.Second:
				return []event.Watermark{{LagEvents: 1}}, nil
			}
			return []event.Watermark{{}, {}}, nil
		})
		if took := time.Since(began); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("it was let go after %v", took)
		}
		began = time.Now()
		caughtUp(t.Context(), "prod", func(context.Context, event.Provider) ([]event.Watermark, error) {
			return []event.Watermark{{LagEvents: 1}}, nil
		})
		if took := time.Since(began); took != finishLimit {
			t.Errorf("it was waited for %v", took)
		}
	})
}

// What can't be made leaves everything as it is.
func TestSupervisorChangesAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		a, b, c := collectorOf("a"), collectorOf("b"), collectorOf("c")
		f.change(map[part]string{a: "1", b: "1"})
		bad := errors.New("a wrong mapping")
		_, err := f.Change(t.Context(), map[part]work{
			a: f.work(a, "2", 0, nil),
			c: {settings: "1", prepare: func() (func(context.Context) error, error) { return nil, bad }},
		})
		if !errors.Is(err, bad) {
			t.Errorf("the error is %v", err)
		}
		time.Sleep(time.Minute)
		f.wantRunning(map[part]string{a: "1", b: "1"})
	})
}

// Whatever changes and whenever: no part runs twice at once, what does not change is never told to end, what is wanted last
// runs at last, and a provider is gone only when nothing of it runs.
func TestSupervisorProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type step struct {
			wanted map[part]string
			slow   map[part]time.Duration
			wait   time.Duration
		}
		parts := []part{collectorOf("a"), normalizerOf("a"), collectorOf("b"), collectorOf("c")}
		var steps []step
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			s := step{map[part]string{}, map[part]time.Duration{}, time.Duration(rapid.IntRange(0, 3000).Draw(rt, "ms")) * time.Millisecond}
			for _, p := range parts {
				if settings := rapid.SampledFrom([]string{"", "1", "2"}).Draw(rt, "settings"); settings != "" {
					s.wanted[p] = settings
					s.slow[p] = time.Duration(rapid.IntRange(0, 2000).Draw(rt, "slow")) * time.Millisecond
				}
			}
			steps = append(steps, s)
		}
		synctest.Test(t, func(*testing.T) {
			f := newFleet(rt)
			defer f.stop()
			ends := map[string]int{}
			var before map[part]string
			for _, s := range steps {
				for p, settings := range before {
					if s.wanted[p] != settings {
						ends[fmt.Sprint(p, settings)]++
					}
				}
				works := map[part]work{}
				for p, settings := range s.wanted {
					works[p] = f.work(p, settings, s.slow[p], nil)
				}
				if _, err := f.Change(context.Background(), works); err != nil {
					rt.Fatal(err)
				}
				before = s.wanted
				time.Sleep(s.wait)
			}
			time.Sleep(time.Minute)
			f.wantRunning(before)
			for of, n := range f.told {
				if n > ends[of] {
					rt.Errorf("%s was told to end %d times, and was not wanted %d times", of, n, ends[of])
				}
			}
		})
	})
}
