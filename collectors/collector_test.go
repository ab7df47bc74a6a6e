package collectors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/collectors/none"
	"stackstream/event"
)

// fleet is what several collectors of one provider share.
type fleet struct {
	log    *collectorstest.Log
	leases collectorstest.Leases
	states trace // "source: state reason"
	fails  trace
}

func newFleet() *fleet { return &fleet{log: collectorstest.NewLog()} }

func (f *fleet) collector(owner, want string, candidates ...collectors.Candidate) *collectors.Collector {
	return &collectors.Collector{
		Provider: cloud, Want: want, Candidates: candidates,
		Deps: collectors.Deps{
			NewWriter: f.log.NewWriter, Memory: f.log, Choices: f.log, Lease: f.leases.For(owner), Log: zerolog.Nop(),
			Owner: owner,
			Hooks: collectors.Hooks{
				Status: func(s event.Status) {
					f.states.add(strings.TrimSpace(fmt.Sprintf("%s/%s: %s %s", owner, s.Source, s.State, s.Reason)))
				},
				Failed: func(_ event.Provider, s event.Source, err error) { f.fails.add(err.Error()) },
			},
		},
	}
}

// run starts a collector and returns what ends it.
func run(t *testing.T, c *collectors.Collector) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	synctest.Wait()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returns %v", err)
		}
	}
}

func (f *fleet) choice(t *testing.T) event.Choice {
	t.Helper()
	c, err := f.log.ReadChoice(t.Context(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fleet) wantStates(t *testing.T, want ...string) {
	t.Helper()
	if got := f.states.all(); !slices.Equal(got, want) {
		t.Errorf("states:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// kind is a candidate with one source of the same name.
func kind(name string, source collectors.Source) collectors.Candidate {
	return collectors.Candidate{Kind: name, Shards: []collectors.Shard{{
		Name: event.Source(name), Spec: collectors.Spec{Repeats: 100},
		New: func(collectors.Report) (collectors.Source, error) { return source, nil },
	}}}
}

func refusing(text string) *script {
	s := emits()
	s.available = func(context.Context) error { return errors.New(text) }
	return s
}

func TestAutoChooses(t *testing.T) {
	for _, c := range []struct {
		name       string
		was        string
		candidates []collectors.Candidate
		want, why  string
	}{
		{"the first that answers", "", []collectors.Candidate{
			kind("amqp", refusing("connection refused")), kind("panko", emits()), kind("ceilometer", emits()),
		}, "panko", "panko answers; amqp: connection refused"},
		{"what was chosen before, without asking", "ceilometer", []collectors.Candidate{
			kind("amqp", emits()), kind("ceilometer", refusing("not asked")),
		}, "ceilometer", "before"},
		{"again when that is not configured any more", "http", []collectors.Candidate{
			kind("amqp", refusing("refused")), kind("panko", emits()),
		}, "panko", "http is no longer configured; panko answers; amqp: refused"},
		{"none only where there is nothing else", "", []collectors.Candidate{none.Candidate()}, "none",
			"nothing else is configured"},
		{"a source that can't be made does not answer, nor one that panics", "", []collectors.Candidate{
			{Kind: "amqp", Shards: []collectors.Shard{{
				Name: "amqp", New: func(collectors.Report) (collectors.Source, error) { return nil, errors.New("no such file") },
			}}},
			kind("panko", &script{available: func(context.Context) error { panic("nil map") }}),
			kind("http", emits()),
		}, "http", "http answers; amqp: no such file; panko: panic: nil map"},
		{"a kind that answers with all of its sources", "", []collectors.Candidate{
			{Kind: "amqp", Shards: []collectors.Shard{
				kind("amqp-nova", emits()).Shards[0], kind("amqp-cinder", refusing("no such vhost")).Shards[0],
			}},
			kind("panko", emits()),
		}, "panko", "panko answers; amqp: amqp-cinder: no such vhost"},
		{"a source that does not answer in time does not answer", "", []collectors.Candidate{
			kind("amqp", &script{available: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}),
			kind("panko", emits()),
		}, "panko", "panko answers; amqp: context deadline exceeded"},
	} {
		bubble(t, c.name, func(t *testing.T) {
			f := newFleet()
			if c.was != "" {
				_, err := f.log.WriteChoice(t.Context(), cloud, event.Choice{Kind: c.was, Why: "before"})
				if err != nil {
					t.Fatal(err)
				}
			}
			stop := run(t, f.collector("a", collectors.Auto, c.candidates...))
			after(time.Minute)
			if got := f.choice(t); got.Kind != c.want || got.Why != c.why {
				t.Errorf("chosen is %s, because %q; want %s, because %q", got.Kind, got.Why, c.want, c.why)
			}
			stop()
		})
	}
}

func TestAutoNeverFallsBackOnNone(t *testing.T) {
	bubble(t, "it asks again until something answers", func(t *testing.T) {
		f := newFleet()
		up := time.Now().Add(10 * time.Minute)
		var asked atomic.Int64
		panko := emits(collectors.Batch{Events: raws(1, 3)})
		panko.available = func(context.Context) error {
			asked.Add(1)
			if time.Now().Before(up) {
				return errors.New("503")
			}
			return nil
		}
		stop := run(t, f.collector("a", collectors.Auto,
			kind("amqp", refusing("refused")), kind("panko", panko), none.Candidate()))
		after(9 * time.Minute)
		if c := f.choice(t); c.Kind != "" {
			t.Errorf("chosen is %+v while nothing answers", c)
		}
		if n := asked.Load(); n < 5 || n > 20 {
			t.Errorf("asked %d times in 9 minutes", n)
		}
		f.wantStates(t, "a/: starting",
			"a/: backoff choose a source: unavailable: no event service answers: amqp: refused; panko: 503")
		after(5 * time.Minute)
		if got := f.log.IDs(cloud); !slices.Equal(got, ids(1, 3)) {
			t.Errorf("RAW has %v", got)
		}
		stop()
	})

	bubble(t, "without any candidate it says so", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", collectors.Auto))
		stop()
		f.wantStates(t, "a/: starting", "a/: backoff choose a source: invalid: none is configured for cloud")
	})
}

func TestAvailableThatHangsIsNoticed(t *testing.T) {
	bubble(t, "by the beat that it owes", func(t *testing.T) {
		f := newFleet()
		release := make(chan struct{})
		deaf := emits()
		deaf.available = func(context.Context) error { <-release; return nil }
		c := f.collector("a", collectors.Auto, kind("panko", deaf))
		var beats trace
		c.Deps.Hooks.Beat = func(_ event.Provider, s event.Source, within time.Duration) {
			beats.add(fmt.Sprintf("%q %s", s, within))
		}
		stop := run(t, c)
		after(10 * time.Minute)
		if got, want := beats.all(), []string{`"" 30s`}; !slices.Equal(got, want) {
			t.Errorf("beats: %q; want %q", got, want)
		}
		close(release)
		after(time.Second)
		if got, want := beats.all(), []string{`"" 30s`, `"" 0s`, `"panko" 10s`}; !slices.Equal(got, want) {
			t.Errorf("beats: %q; want %q", got, want)
		}
		stop()
	})
}

func TestConfiguredKind(t *testing.T) {
	bubble(t, "is recorded and run", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", "panko",
			kind("amqp", emits()), kind("panko", emits(collectors.Batch{Events: raws(1, 2)}))))
		if c := f.choice(t); c.Kind != "panko" || c.Why != "configured" || c.By != "a" || !c.At.Equal(midnight) {
			t.Errorf("the choice is %+v", c)
		}
		if got := f.leases.Held(); !slices.Equal(got, []string{collectors.LeaseKey(cloud, "panko")}) {
			t.Errorf("held: %v", got)
		}
		f.wantStates(t, "a/: starting", "a/: live configured", "a/panko: starting", "a/panko: live")
		stop()
		if got := f.leases.Held(); len(got) > 0 {
			t.Errorf("still held: %v", got)
		}
	})

	bubble(t, "none collects nothing and holds no lease", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", none.Kind, kind("panko", emits()), none.Candidate()))
		after(time.Hour)
		f.wantStates(t, "a/: starting", "a/: idle configured")
		if got := f.leases.Held(); len(got) > 0 {
			t.Errorf("held: %v", got)
		}
		stop()
	})

	bubble(t, "must be a candidate", func(t *testing.T) {
		f := newFleet()
		stop := run(t, f.collector("a", "amqp", kind("panko", emits())))
		stop()
		f.wantStates(t, "a/: starting", "a/: backoff choose a source: invalid: amqp is not configured for cloud")
	})

	bubble(t, "fences the other kind, and is not taken back", func(t *testing.T) {
		f := newFleet()
		n := 0
		endless := func(ctx context.Context, _ event.From, emit collectors.Emit) error {
			for ctx.Err() == nil {
				n++
				if err := emit(ctx, collectors.Batch{Events: raws(n, n)}); err != nil {
					return err
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
			return nil
		}
		old := f.collector("a", "amqp", kind("amqp", &script{run: endless}), kind("panko", emits()))
		stopOld := run(t, old)
		after(10 * time.Second)
		stopNew := run(t, f.collector("b", "panko",
			kind("amqp", emits()), kind("panko", emits(collectors.Batch{Events: raws(1, 1000)}))))
		after(time.Hour)
		for _, e := range f.log.Events(cloud)[11:] {
			if e.Source != "panko" {
				t.Fatalf("event %s came through %s after panko was chosen", e.ID, e.Source)
			}
		}
		if got := f.log.IDs(cloud); len(got) != 1000 {
			t.Errorf("RAW has %d events; want 1000, each once", len(got))
		}
		states := f.states.all()
		want := "a/: standby configured is amqp, but panko was chosen since: configured"
		if !slices.Contains(states, want) || !slices.Contains(states, "a/amqp: idle another choice of source was made") {
			t.Errorf("states:\n%s", strings.Join(states, "\n"))
		}
		stopNew()
		stopOld()
	})

	bubble(t, "two processes that choose at once agree", func(t *testing.T) {
		f := newFleet()
		stopA := run(t, f.collector("a", collectors.Auto, kind("amqp", emits()), kind("panko", emits())))
		stopB := run(t, f.collector("b", collectors.Auto, kind("panko", emits()), kind("amqp", emits())))
		after(time.Minute)
		if c := f.choice(t); c.Kind != "amqp" || c.By != "a" {
			t.Errorf("the choice is %+v", c)
		}
		if got := f.leases.Held(); !slices.Equal(got, []string{"collector.cloud.amqp"}) {
			t.Errorf("held: %v", got)
		}
		stopA()
		stopB()
	})
}

func TestTwoConfigurationsWithNothingInCommon(t *testing.T) {
	bubble(t, "do not take the provider from each other for ever", func(t *testing.T) {
		f := newFleet()
		stopA := run(t, f.collector("a", collectors.Auto, kind("amqp", emits())))
		stopB := run(t, f.collector("b", collectors.Auto, kind("panko", emits())))
		after(time.Minute)
		first := f.choice(t)
		after(time.Hour)
		if now := f.choice(t); now != first || now.Kind != "panko" || now.By != "b" {
			t.Errorf("the choice was %+v after a minute and is %+v after an hour", first, now)
		}
		want := "a/: standby configured is auto, but panko was chosen since: amqp is no longer configured; panko answers"
		if states := f.states.all(); !slices.Contains(states, want) {
			t.Errorf("states:\n%s", strings.Join(states, "\n"))
		}
		stopA()
		stopB()
	})
}

func TestAStreamThatWasMadeAnewHasNoChoice(t *testing.T) {
	for _, want := range []string{collectors.Auto, "panko"} {
		bubble(t, want+" chooses again", func(t *testing.T) {
			old, anew := newFleet(), newFleet()
			var now atomic.Pointer[collectorstest.Log]
			now.Store(old.log)
			c := old.collector("a", want, kind("panko", emits(collectors.Batch{Events: raws(1, 5)})))
			c.Deps.NewWriter = func(p event.Provider, s event.Source, fence event.Fence) collectors.Writer {
				return now.Load().NewWriter(p, s, fence)
			}
			c.Deps.Choices = choicesOf{&now}
			stop := run(t, c)
			after(time.Minute)
			now.Store(anew.log)
			after(5 * time.Minute)
			if got := anew.choice(t); got.Kind != "panko" {
				t.Errorf("the choice in the new stream is %+v; states:\n%s", got, strings.Join(old.states.all(), "\n"))
			}
			stop()
		})
	}
}

// choicesOf are the choices in whichever log there is now.
type choicesOf struct {
	log *atomic.Pointer[collectorstest.Log]
}

func (c choicesOf) ReadChoice(ctx context.Context, p event.Provider) (event.Choice, error) {
	return c.log.Load().ReadChoice(ctx, p)
}

func (c choicesOf) WriteChoice(ctx context.Context, p event.Provider, choice event.Choice) (event.Choice, error) {
	return c.log.Load().WriteChoice(ctx, p, choice)
}

func TestOnly(t *testing.T) {
	bubble(t, "stands by until its kind is chosen", func(t *testing.T) {
		f := newFleet()
		c := f.collector("a", collectors.Auto, kind("amqp", emits()), kind("panko", emits()))
		c.Only = "panko"
		stop := run(t, c)
		after(time.Minute)
		if got := f.leases.Held(); len(got) > 0 {
			t.Errorf("held: %v", got)
		}
		chosen := f.choice(t)
		chosen.Kind, chosen.Why = "panko", "an operator said so"
		if _, err := f.log.WriteChoice(t.Context(), cloud, chosen); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		f.wantStates(t, "a/: starting", "a/: standby chosen is amqp, this process is for panko",
			"a/: live an operator said so", "a/panko: starting")
		stop()
	})
}

func TestChoiceCannotBeRead(t *testing.T) {
	bubble(t, "it waits and says so", func(t *testing.T) {
		f := newFleet()
		f.log.ChoiceFault = func() error { return errors.New("no responders") }
		stop := run(t, f.collector("a", "panko", kind("panko", emits())))
		after(time.Hour)
		f.wantStates(t, "a/: starting", "a/: backoff read the choice of source: no responders")
		if n := len(f.fails.all()); n < 50 || n > 150 {
			t.Errorf("tried %d times in an hour", n)
		}
		stop()
	})
}

// A choice that a newer version made ends what was begun under the one before: nobody here knows what it says.
func TestAChoiceOfANewerVersionStopsCollecting(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f := newFleet()
		var newer atomic.Bool
		f.log.ChoiceFault = func() error {
			if newer.Load() {
				return &event.Error{Kind: event.Invalid, Op: "read record", Err: &event.NewerError{Found: 99, Reads: 1}}
			}
			return nil
		}
		source := emits(collectors.Batch{Events: raws(1, 3)})
		stop := run(t, f.collector("a", "panko", kind("panko", source)))
		after(time.Second)
		newer.Store(true)
		after(time.Minute)
		last := func() string { all := f.states.all(); return strings.Join(all[max(0, len(all)-2):], "\n") }
		if !strings.Contains(last(), "a/: backoff read the choice of source") || !strings.Contains(last(), "newer stackstream (format 99") {
			t.Errorf("it says at last %s", last())
		}
		newer.Store(false)
		after(5 * time.Minute)
		if !strings.Contains(last(), "a/panko: live") {
			t.Errorf("after that it says %s", last())
		}
		stop()
	})
}
