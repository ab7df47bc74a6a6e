package collectors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// discard takes every batch.
func discard(context.Context, collectors.Batch) error { return nil }

// transient is an error that a poller tries again after.
func transient(text string) error {
	return &event.Error{Kind: event.Unavailable, Op: "list", Err: errors.New(text)}
}

func number(i int) event.Cursor { return event.Cursor(fmt.Sprint(i)) }

func TestPollerKeepsItsCadence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 65*time.Second)
		defer cancel()
		var at []time.Duration
		p := collectors.Poller{Every: 10 * time.Second, MaxRun: time.Minute}
		p.Fetch = func(context.Context, event.From, collectors.Emit) error {
			at = append(at, time.Since(start))
			if len(at) == 2 {
				<-time.After(24 * time.Second) // a slow run makes two others fall out, and delays none
			}
			return nil
		}
		if err := p.Run(ctx, event.From{}, discard); err != nil {
			t.Fatal(err)
		}
		var want []time.Duration
		for _, s := range []int{0, 10, 40, 50, 60} {
			want = append(want, time.Duration(s)*time.Second)
		}
		if !slices.Equal(at, want) {
			t.Errorf("runs at %v; want %v", at, want)
		}
	})
}

func TestPollerJitterStaysWithinTheCadence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Second)
		defer cancel()
		runs, jittered := 0, false
		p := collectors.Poller{Every: 10 * time.Second, Jitter: 4 * time.Second, MaxRun: time.Minute}
		p.Fetch = func(context.Context, event.From, collectors.Emit) error {
			late := time.Since(start) - time.Duration(runs)*p.Every
			if late < 0 || late >= p.Jitter {
				t.Errorf("run %d is %s late", runs, late)
			}
			jittered = jittered || late > 0
			runs++
			return nil
		}
		if err := p.Run(ctx, event.From{}, discard); err != nil {
			t.Fatal(err)
		}
		if runs < 99 || !jittered {
			t.Errorf("%d runs in 1000 s, jittered: %t", runs, jittered)
		}
	})
}

func TestPollerGoesOnFromWhatItHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var froms []string
		p := collectors.Poller{Every: time.Second, MaxRun: time.Minute}
		p.Fetch = func(ctx context.Context, from event.From, emit collectors.Emit) error {
			froms = append(froms, string(from.Cursor))
			switch len(froms) {
			case 1: // hands over two pages, and fails at the third
				_ = emit(ctx, collectors.Batch{Cursor: number(1)})
				_ = emit(ctx, collectors.Batch{Cursor: number(2), Floor: time.Unix(2, 0)})
				return transient("502")
			case 2:
				if !from.Floor.Equal(time.Unix(2, 0)) {
					t.Errorf("the floor is %s", from.Floor)
				}
				return emit(ctx, collectors.Batch{}) // leaves the cursor where it was
			case 3:
				return nil
			default:
				cancel()
				return ctx.Err()
			}
		}
		batches := 0
		err := p.Run(ctx, event.From{Cursor: number(0)}, func(context.Context, collectors.Batch) error {
			batches++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"0", "2", "2", "2"}; !slices.Equal(froms, want) {
			t.Errorf("runs from %v; want %v", froms, want)
		}
		if batches != 4 {
			t.Errorf("%d batches; want 4, the empty run's own among them", batches)
		}
	})
}

func TestPollerGivesUp(t *testing.T) {
	invalid := &event.Error{Kind: event.Invalid, Op: "list", Err: errors.New("401")}
	for _, c := range []struct {
		name     string
		errs     []error // of the runs, nil after them
		emits    bool    // each run hands over something before it fails
		progress bool    // and its cursor moves
		fails    bool
		runs     int
		within   time.Duration
	}{
		{name: "once is a hiccup", errs: []error{transient("502")}, runs: 2, within: 2 * time.Second},
		{
			name: "three times in a row is not", errs: []error{transient("a"), transient("b"), transient("c")},
			fails: true, runs: 3, within: 6 * time.Second,
		},
		{
			name: "unless it gets on", errs: []error{transient("a"), transient("b"), transient("c"), transient("d")},
			emits: true, progress: true, runs: 5, within: 10 * time.Second,
		},
		{
			name: "handing over the same again is not getting on", emits: true,
			errs: []error{transient("a"), transient("b"), transient("c")}, fails: true, runs: 3, within: 6 * time.Second,
		},
		{name: "what waiting does not mend", errs: []error{invalid}, fails: true, runs: 1},
		{
			name: "a short pause asked for is kept",
			errs: []error{&collectors.RetryAfter{After: 20 * time.Second, Err: errors.New("429")}},
			runs: 2, within: 20 * time.Second,
		},
		{
			name: "a long one is left to the collector",
			errs: []error{&collectors.RetryAfter{After: 5 * time.Minute, Err: errors.New("429")}}, fails: true, runs: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start, runs := time.Now(), 0
				p := collectors.Poller{Every: time.Hour, MaxRun: time.Minute}
				p.Fetch = func(ctx context.Context, _ event.From, emit collectors.Emit) error {
					runs++
					if runs > len(c.errs) {
						cancel()
						return nil
					}
					switch {
					case c.progress:
						_ = emit(ctx, collectors.Batch{Cursor: number(runs)})
					case c.emits:
						_ = emit(ctx, collectors.Batch{Cursor: number(0)})
					}
					return c.errs[runs-1]
				}
				err := p.Run(ctx, event.From{Cursor: number(0)}, discard)
				if c.fails && !errors.Is(err, c.errs[len(c.errs)-1]) || !c.fails && err != nil {
					t.Errorf("Run returns %v", err)
				}
				if runs != c.runs {
					t.Errorf("%d runs; want %d", runs, c.runs)
				}
				if took := time.Since(start); took > c.within {
					t.Errorf("took %s; want at most %s", took, c.within)
				}
			})
		})
	}
}

func TestPollerEndsARunThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := collectors.Poller{Every: time.Minute, MaxRun: 10 * time.Second}
		p.Fetch = func(ctx context.Context, _ event.From, _ collectors.Emit) error {
			<-ctx.Done()
			return fmt.Errorf("list: %w", ctx.Err())
		}
		err := p.Run(t.Context(), event.From{}, discard)
		if err == nil || !strings.Contains(err.Error(), "took longer than 10s") {
			t.Errorf("Run returns %v", err)
		}
	})
}

func TestPollerDoesNotCountTheTimeInEmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := collectors.Poller{Every: time.Minute, MaxRun: 10 * time.Second}
		p.Fetch = func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			for i := range 3 {
				<-time.After(3 * time.Second) // a page
				if err := emit(ctx, collectors.Batch{Cursor: number(i)}); err != nil {
					return err
				}
			}
			cancel()
			return nil
		}
		var got []string
		err := p.Run(ctx, event.From{}, func(ctx context.Context, b collectors.Batch) error {
			<-time.After(time.Hour) // the queue is full
			got = append(got, string(b.Cursor))
			return ctx.Err()
		})
		if err != nil || len(got) != 3 {
			t.Errorf("Run returns %v after %v", err, got)
		}
	})
}

func TestPollerQuiet(t *testing.T) {
	p := collectors.Poller{Every: 30 * time.Second, Jitter: time.Second, MaxRun: 5 * time.Minute}
	if got, want := p.Quiet(), 31*time.Second+5*time.Minute+30*time.Second; got != want {
		t.Errorf("Quiet is %s; want %s", got, want)
	}
}
