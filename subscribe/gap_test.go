package subscribe_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/subscribe"
)

func TestDeletedMessagesAreAGap(t *testing.T) {
	s := newStand(t)
	s.events("p", 2)
	third := s.publish("p", message("p", "t", 3))
	fourth := s.publish("p", message("p", "t", 4))
	fifth := s.publish("p", message("p", "t", 5))
	s.events("q", 1)
	for _, seq := range []event.StreamSeq{third, fourth} {
		if err := s.stream().DeleteMsg(within(t), uint64(seq)); err != nil {
			t.Fatal(err)
		}
	}
	want := subscribe.Gap{Provider: "p", From: 3, To: 4, Before: fifth}

	l := newLog()
	p := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "strict"}, l.handle)
	err := p.ended()
	var gap *subscribe.GapError
	if !errors.As(err, &gap) || !errors.Is(err, event.Expired) {
		t.Fatalf("error is %v, want a GapError", err)
	}
	if diff := cmp.Diff(want, gap.Gap); diff != "" {
		t.Errorf("gap differs (-want +got):\n%s", diff)
	}
	if got := l.ids(); !slices.Equal(got, []string{"p-1", "p-2"}) {
		t.Errorf("handled %v before the gap", got)
	}

	var gaps []subscribe.Gap
	l = newLog()
	start(t, dial(t, s.server.URL()), subscribe.Options{
		Durable: "lenient", OnGap: func(g subscribe.Gap) { gaps = append(gaps, g) },
	}, l.handle)
	l.wait(t, 4)
	if diff := cmp.Diff([]subscribe.Gap{want}, gaps); diff != "" {
		t.Errorf("gaps differ (-want +got):\n%s", diff)
	}
	if got := l.ids(); !slices.Equal(got, []string{"p-1", "p-2", "p-5", "q-1"}) {
		t.Errorf("handled %v", got)
	}
}

func TestWhatTheStreamDroppedWhileNobodyReadIsAGap(t *testing.T) {
	s := newStand(t)
	s.events("p", 3)
	nc := dial(t, s.server.URL())
	l := newLog()
	p := start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 3)
	s.acked("d")
	p.stopped()
	s.events("p", 3)
	seventh := s.publish("p", message("p", "t", 7))
	if err := s.stream().Purge(within(t), natsjs.WithPurgeSequence(uint64(seventh))); err != nil {
		t.Fatal(err)
	}

	p = start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	var gap *subscribe.GapError
	if err := p.ended(); !errors.As(err, &gap) {
		t.Fatalf("error is %v, want a GapError", err)
	}
	if diff := cmp.Diff(subscribe.Gap{Provider: "p", To: 6, Before: seventh}, gap.Gap); diff != "" {
		t.Errorf("gap differs (-want +got):\n%s", diff)
	}
	// It says so again, until it is told to go on.
	if err := start(t, nc, subscribe.Options{Durable: "d"}, l.handle).ended(); !errors.As(err, &gap) {
		t.Fatalf("error of the next run is %v, want a GapError", err)
	}
	told := 0
	start(t, nc, subscribe.Options{Durable: "d", OnGap: func(subscribe.Gap) { told++ }}, l.handle)
	l.wait(t, 4)
	if got := l.ids(); told != 1 || got[3] != "p-7" {
		t.Errorf("told of %d gaps, handled %v", told, got)
	}
}

func TestANewDurableOnAnOldStreamHasNoGap(t *testing.T) {
	s := newStand(t)
	s.events("p", 3)
	fourth := s.publish("p", message("p", "t", 4))
	if err := s.stream().Purge(within(t), natsjs.WithPurgeSequence(uint64(fourth))); err != nil {
		t.Fatal(err)
	}
	l := newLog()
	start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 1)
	if got := l.ids(); !slices.Equal(got, []string{"p-4"}) {
		t.Errorf("handled %v", got)
	}
}

// A durable that began with a time can't be moved before the first message from then on, which is another one once the stream
// has dropped some.
func TestADurableThatBeganWithATimeGoesOnBehindAGap(t *testing.T) {
	s := newStand(t)
	if _, err := s.js.Publish(within(t), "ingest.cursor.normalized.quiet", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	s.events("p", 1)
	opts := subscribe.Options{Durable: "d", StartTime: time.Now()} // after what was stored
	s.events("p", 2)
	nc := dial(t, s.server.URL())
	l := newLog()
	p := start(t, nc, opts, l.handle)
	l.wait(t, 2)
	s.acked("d")
	p.stopped()
	s.events("p", 3)
	seventh := s.publish("p", message("p", "t", 7))
	err := s.stream().Purge(within(t), natsjs.WithPurgeSubject("events.normalized.p"), natsjs.WithPurgeSequence(uint64(seventh)))
	if err != nil {
		t.Fatal(err)
	}
	var gap *subscribe.GapError
	if err := start(t, nc, opts, l.handle).ended(); !errors.As(err, &gap) {
		t.Fatalf("error is %v, want a GapError", err)
	}
	var gaps []subscribe.Gap
	opts.OnGap = func(g subscribe.Gap) { gaps = append(gaps, g) }
	start(t, nc, opts, l.handle)
	l.wait(t, 3)
	if diff := cmp.Diff([]subscribe.Gap{{Provider: "p", To: 6, Before: seventh}}, gaps); diff != "" {
		t.Errorf("gaps differ (-want +got):\n%s", diff)
	}
	if got := l.ids(); !slices.Equal(got, []string{"p-2", "p-3", "p-7"}) {
		t.Errorf("handled %v", got)
	}
}

// Nothing is missing where nothing was handled yet, however old the stream.
func TestANewDurableThatHandledNothingHasNoGap(t *testing.T) {
	s := newStand(t)
	s.events("p", 3)
	fourth := s.publish("p", message("p", "t", 4))
	if err := s.stream().Purge(within(t), natsjs.WithPurgeSequence(uint64(fourth))); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the database is down")
	for range 2 {
		p := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, func(context.Context, subscribe.Event) error { return broken })
		mustBe(t, p.ended(), broken)
	}
	l := newLog()
	start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 1)
	if got := l.ids(); !slices.Equal(got, []string{"p-4"}) {
		t.Errorf("handled %v", got)
	}
}

func TestNumbersThatGoBackStopTheReader(t *testing.T) {
	s := newStand(t)
	s.events("p", 3)
	s.last["p"] = 1
	s.events("p", 1)
	p := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, newLog().handle)
	mustBe(t, p.ended(), event.Regressed)
}

func TestAForeignMessageStopsTheReader(t *testing.T) {
	s := newStand(t)
	s.events("p", 1)
	if _, err := s.js.Publish(within(t), "ingest.normalized.p", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	p := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, newLog().handle)
	mustBe(t, p.ended(), event.Invalid)
}

// An event that a newer version wrote ends both ways of reading, once all before it was handed over.
func TestANewerEventStopsTheReader(t *testing.T) {
	s := newStand(t)
	s.events("p", 2)
	newer := message("p", "image.create", 3)
	newer.Header.Set(event.HeaderMessageFormat, "99")
	s.publish("p", newer)
	s.events("p", 1)
	for name, begin := range map[string]func(subscribe.Handler) *program{
		"a durable": func(h subscribe.Handler) *program {
			return start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, h)
		},
		"tail": func(h subscribe.Handler) *program { return startTail(t, s, subscribe.TailOptions{}, h) },
	} {
		l := newLog()
		err := begin(l.handle).ended()
		var is *event.NewerError
		if !errors.As(err, &is) || event.KindOf(err) != event.Invalid || len(l.ids()) != 2 {
			t.Errorf("%s ends with %v after %v", name, err, l.ids())
		}
	}
}

// The cursor of a cloud where nothing happens never expires and stays the first message of the stream, whatever is dropped
// behind it.
func TestWhatTheStreamDroppedBehindAnOldCursorIsAGap(t *testing.T) {
	for name, again := range map[string]func(last event.StreamSeq) subscribe.Options{
		"the durable knows its position": func(event.StreamSeq) subscribe.Options { return subscribe.Options{Durable: "d"} },
		"the program knows it":           func(last event.StreamSeq) subscribe.Options { return subscribe.Options{Durable: "d", After: last} },
		"the durable is new":             func(last event.StreamSeq) subscribe.Options { return subscribe.Options{Durable: "e", After: last} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			if _, err := s.js.Publish(within(t), "ingest.cursor.normalized.quiet", []byte("{}")); err != nil {
				t.Fatal(err)
			}
			s.events("p", 3)
			nc := dial(t, s.server.URL())
			l := newLog()
			p := start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
			l.wait(t, 3)
			s.acked("d")
			p.stopped()
			s.events("p", 3)
			seventh := s.publish("p", message("p", "t", 7))
			err := s.stream().Purge(within(t), natsjs.WithPurgeSubject("events.normalized.p"), natsjs.WithPurgeSequence(uint64(seventh)))
			if err != nil {
				t.Fatal(err)
			}
			p = start(t, nc, again(l.all()[2].Sequence), l.handle)
			var gap *subscribe.GapError
			if err := p.ended(); !errors.As(err, &gap) {
				t.Fatalf("error is %v, want a GapError", err)
			}
			if diff := cmp.Diff(subscribe.Gap{Provider: "p", To: 6, Before: seventh}, gap.Gap); diff != "" {
				t.Errorf("gap differs (-want +got):\n%s", diff)
			}
		})
	}
}
