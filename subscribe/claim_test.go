package subscribe_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/subscribe"
)

func TestOneProcessPerDurable(t *testing.T) {
	s := newStand(t)
	want := s.events("p", 3)
	l := newLog()
	first := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 3)
	second := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	mustBe(t, second.ended(), subscribe.ErrTaken)
	want = append(want, s.events("p", 3)...) // the first is not disturbed
	l.wait(t, 6)
	first.stopped()
	third := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	want = append(want, s.events("p", 3)...)
	l.wait(t, 9)
	third.stopped()
	if got := l.ids(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestOfTwoThatStartAtOnceOneReads(t *testing.T) {
	s := newStand(t)
	want := s.events("p", 20)
	l := newLog()
	programs := make([]*program, 4)
	for i := range programs {
		programs[i] = start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	}
	l.wait(t, 20)
	eventually(t, "for all but one to be refused", func() bool {
		refused := 0
		for _, p := range programs {
			select {
			case <-p.done:
				if !errors.Is(p.err, subscribe.ErrTaken) {
					t.Errorf("refused with %v", p.err)
				}
				refused++
			default:
			}
		}
		return refused == 3
	})
	if got := l.ids(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestAForeignReaderIsNoticed(t *testing.T) {
	s := newStand(t)
	s.events("p", 1)
	l := newLog()
	p := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 1)
	// Somebody with a plain client takes deliveries away: every event still comes, once and in order.
	cons, err := s.js.Consumer(within(t), event.StreamNormalized, "d")
	if err != nil {
		t.Fatal(err)
	}
	thief, err := cons.Messages(natsjs.PullMaxMessages(1))
	if err != nil {
		t.Fatal(err)
	}
	stolen := make(chan struct{})
	go func() {
		defer close(stolen)
		if _, err := thief.Next(); err == nil {
			thief.Stop()
		}
	}()
	for {
		s.events("p", 1)
		select {
		case <-stolen:
		case <-time.After(10 * time.Millisecond):
			continue
		}
		break
	}
	s.events("p", 5)
	l.wait(t, int(s.last["p"]))
	p.stopped()
	for i, e := range l.all() {
		if e.Seq != event.Seq(i+1) {
			t.Fatalf("event %d has the number %d", i, e.Seq)
		}
	}
	// One that goes on pulling keeps a Subscriber from starting.
	other, err := cons.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop()
	go func() { _, _ = other.Next() }()
	eventually(t, "for the foreign pull", func() bool {
		info, err := cons.Info(within(t))
		return err == nil && info.NumWaiting > 0
	})
	late := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d"}, l.handle)
	mustBe(t, late.ended(), subscribe.ErrTaken)
}
