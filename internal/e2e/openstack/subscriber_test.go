//go:build openstack

package openstack

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"stackstream/event"
	"stackstream/subscribe"
)

// subscriber is a program downstream that keeps what it was given.
type subscriber struct {
	kind string // of source that its events come through

	mu   sync.Mutex
	all  []event.Event
	seqs []event.Seq
	dead []subscribe.Dead
}

func runSubscriber(t *testing.T, url, kind string) *subscriber {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	s := &subscriber{kind: kind}
	reader, err := subscribe.New(nc, subscribe.Options{Durable: "e2e", OnDead: func(_ context.Context, d subscribe.Dead) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dead = append(s.dead, d)
		s.seqs = append(s.seqs, d.Seq)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- reader.Run(ctx, func(_ context.Context, e subscribe.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.all = append(s.all, e.Event)
			s.seqs = append(s.seqs, e.Seq)
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("subscriber: %v", err)
		}
	})
	return s
}

// events are those given so far, in order.
func (s *subscriber) events() []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]event.Event(nil), s.all...)
}

// check finds fault with what can be said without knowing what was done: a gap in the numbers, a dead letter, an event
// of another provider or kind of source, or one without what every event has.
func (s *subscriber) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, seq := range s.seqs {
		if seq != event.Seq(i+1) {
			return fmt.Errorf("event %d has the number %d", i+1, seq)
		}
	}
	for _, d := range s.dead {
		return fmt.Errorf("%d dead letters, the first because of %s: %s in %.500s", len(s.dead), d.Reason, d.Detail, d.Body)
	}
	for _, e := range s.all {
		if e.Provider != provider || e.Source.Kind() != s.kind || e.Timestamp.IsZero() || len(e.Payload) == 0 || e.PublisherID == "" ||
			e.Group == "" {
			return fmt.Errorf("not as it should be: %+v", e)
		}
	}
	return nil
}
