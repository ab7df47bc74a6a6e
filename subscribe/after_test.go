package subscribe_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/event"
	"stackstream/subscribe"
)

func TestAfterMakesItExactlyOnce(t *testing.T) {
	s := newStand(t)
	want := s.events("p", 40)
	crashed := errors.New("the process is dead")
	var effect []string // with the position, in one piece
	var position event.StreamSeq
	for round := 0; len(effect) < len(want); round++ {
		nc := dial(t, s.server.URL(), nats.NoReconnect())
		crash := len(effect) + 7
		opts := subscribe.Options{Durable: "d", After: position}
		done := make(chan struct{})
		p := start(t, nc, opts, func(_ context.Context, e subscribe.Event) error {
			effect, position = append(effect, e.MessageID), e.Sequence
			switch len(effect) {
			case len(want):
				close(done)
			case crash:
				nc.Close()
				return crashed
			}
			return nil
		})
		select {
		case <-p.done:
		case <-done:
			p.stopped()
		case <-time.After(limit):
			t.Fatal("no progress")
		}
		if round > len(want) {
			t.Fatal("no progress")
		}
	}
	if !slices.Equal(effect, want) {
		t.Fatalf("effects are %v, want %v", effect, want)
	}
}

func TestAfterGoesBackBehindWhatWasAcknowledged(t *testing.T) {
	s := newStand(t)
	nc := dial(t, s.server.URL())
	ids := s.events("p", 5)
	l := newLog()
	p := start(t, nc, subscribe.Options{Durable: "d"}, l.handle)
	l.wait(t, 5)
	p.stopped()
	s.acked("d")
	restored := newLog() // the program's store was restored from a copy
	start(t, nc, subscribe.Options{Durable: "d", After: l.all()[1].Sequence}, restored.handle)
	restored.wait(t, 3)
	if got := restored.ids(); !slices.Equal(got, ids[2:]) {
		t.Fatalf("got %v, want %v", got, ids[2:])
	}
}

func TestAfterBeyondTheStreamIsRefused(t *testing.T) {
	t.Parallel() // it is believed after half a minute
	s := newStand(t)
	s.events("p", 2)
	p := start(t, dial(t, s.server.URL()), subscribe.Options{Durable: "d", After: 4711}, newLog().handle)
	mustBe(t, p.ended(), event.Regressed)
}

func TestAStreamThatOnlySeemsShortIsWaitedFor(t *testing.T) {
	s := newStand(t)
	ids := s.events("p", 2)
	tried := make(chan error, 100)
	l := newLog()
	start(t, dial(t, s.server.URL()), subscribe.Options{
		Durable: "d", After: 4, OnRetry: func(err error, _ time.Duration) { tried <- err },
	}, l.handle)
	if err := <-tried; event.KindOf(err) != event.Regressed {
		t.Fatalf("tries again because of %v", err)
	}
	ids = append(ids, s.events("p", 4)...)
	l.wait(t, 2)
	if got := l.ids(); !slices.Equal(got, ids[4:]) {
		t.Errorf("handled %v, want %v", got, ids[4:])
	}
}
