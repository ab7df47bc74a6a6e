package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/subscribe"
)

// durable is a downstream program that uses package subscribe and keeps what it was given.
type durable struct {
	mu      sync.Mutex
	all     []entry
	retries []string // what went wrong meanwhile, and was waited out
}

const durableName = "e2e"

// durableSubscriber runs one until the test ends.
func durableSubscriber(t *testing.T, nc *nats.Conn) *durable {
	t.Helper()
	d := &durable{}
	s, err := subscribe.New(nc, subscribe.Options{Durable: durableName, OnRetry: d.retried})
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

func (d *durable) retried(err error, _ time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retries = append(d.retries, time.Now().Format("15:04:05.000 ")+err.Error())
}

// String says what it was given and what went wrong last.
func (d *durable) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("was handed %d events, tried again %d times, at last because of %q", len(d.all), len(d.retries),
		d.retries[max(0, len(d.retries)-3):])
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
