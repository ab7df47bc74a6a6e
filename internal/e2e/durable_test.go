package e2e

import (
	"context"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"stackstream/subscribe"
)

// durable is a downstream program that uses package subscribe and keeps what it was given.
type durable struct {
	mu  sync.Mutex
	all []entry
}

// durableSubscriber runs one until the test ends.
func durableSubscriber(t *testing.T, nc *nats.Conn) *durable {
	t.Helper()
	d := &durable{}
	s, err := subscribe.New(nc, subscribe.Options{Durable: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(_ context.Context, e subscribe.Event) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.all = append(d.all, entry{id: e.MessageID, seq: uint64(e.Seq), stream: uint64(e.Sequence), body: e.Body})
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("durable subscriber: %v", err)
		}
	})
	return d
}

func (d *durable) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

func (d *durable) seen() []entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]entry(nil), d.all...)
}
