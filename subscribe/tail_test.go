package subscribe_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/subscribe"
)

func startTail(t *testing.T, s *stand, opts subscribe.TailOptions, handle subscribe.Handler) *program {
	t.Helper()
	nc := dial(t, s.server.URL())
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t: t, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = subscribe.Tail(ctx, nc, opts, handle)
	}()
	t.Cleanup(func() { cancel(); <-p.done })
	return p
}

func TestTail(t *testing.T) {
	s := newStand(t)
	s.events("p", 2)
	third := s.publish("p", message("p", "image.create", 3))
	s.publish("q", message("q", "image.create", 1))
	s.events("p", 1)
	stored, err := s.stream().GetMsg(within(t), uint64(third))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		opts subscribe.TailOptions
		want []string
	}{
		{"everything", subscribe.TailOptions{}, []string{"p-1", "p-2", "p-3", "q-1", "p-4"}},
		{"from a sequence", subscribe.TailOptions{StartSeq: third}, []string{"p-3", "q-1", "p-4"}},
		{"from a time", subscribe.TailOptions{StartTime: stored.Time}, []string{"p-3", "q-1", "p-4"}},
		{"a provider", subscribe.TailOptions{Providers: []event.Provider{"q"}}, []string{"q-1"}},
		{"a type", subscribe.TailOptions{Types: []string{"image.*"}}, []string{"p-3", "q-1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLog()
			p := startTail(t, s, test.opts, l.handle)
			l.wait(t, len(test.want))
			p.stopped()
			if got := l.ids(); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestTailGoesOnOverARestartAndTellsGaps(t *testing.T) {
	s := newStand(t)
	s.events("p", 1)
	var gaps []subscribe.Gap
	l := newLog()
	startTail(t, s, subscribe.TailOptions{OnGap: func(g subscribe.Gap) { gaps = append(gaps, g) }}, l.handle)
	l.wait(t, 1)
	s.server.Restart(t)
	s.events("p", 2)
	l.wait(t, 3)
	s.last["p"]++ // number 4 is never stored
	fifth := s.publish("p", message("p", "t", 5))
	l.wait(t, 4)
	if got, want := l.ids(), []string{"p-1", "p-2", "p-3", "p-5"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if diff := cmp.Diff([]subscribe.Gap{{Provider: "p", From: 4, To: 4, Before: fifth}}, gaps); diff != "" {
		t.Errorf("gaps differ (-want +got):\n%s", diff)
	}
}

// What a job has made is read as what is normalized is: its dead letters have numbers too, and other jobs are not seen.
func TestTailOfAReplay(t *testing.T) {
	s := newStand(t)
	s.events("p", 2)
	put := func(p event.Provider, subject string, n int) {
		m := message(p, "image.create", n)
		m.Subject = "ingest.replay." + subject
		s.publish(p, m)
	}
	put("r", "fix.r", 1)
	put("r", "fix.r.dead", 2)
	put("q", "fix.q", 1)
	put("x", "other.x", 1)
	put("r", "fix.r", 3)
	for _, test := range []struct {
		name string
		opts subscribe.TailOptions
		want []string
	}{
		{"all of a job", subscribe.TailOptions{Replay: "fix"}, []string{"r-1", "q-1", "r-3"}},
		{"a provider of it", subscribe.TailOptions{Replay: "fix", Providers: []event.Provider{"r"}}, []string{"r-1", "r-3"}},
		{"another job", subscribe.TailOptions{Replay: "other"}, []string{"x-1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, dead := newLog(), 0
			test.opts.OnGap = func(g subscribe.Gap) { t.Errorf("missing: %s", g) }
			test.opts.OnDead = func(_ context.Context, d subscribe.Dead) error {
				if dead++; d.Provider != "r" || d.Seq != 2 {
					t.Errorf("the dead letter is number %d of %s", d.Seq, d.Provider)
				}
				return nil
			}
			p := startTail(t, s, test.opts, l.handle)
			l.wait(t, len(test.want))
			p.stopped()
			if got := l.ids(); !slices.Equal(got, test.want) || dead > 0 != (test.opts.Replay == "fix") {
				t.Errorf("got %v and %d dead letters, want %v", got, dead, test.want)
			}
		})
	}
	err := subscribe.Tail(t.Context(), dial(t, s.server.URL()), subscribe.TailOptions{Replay: "a.b"}, newLog().handle)
	if event.KindOf(err) != event.Invalid {
		t.Errorf("a name that is none: %v", err)
	}
}
