package amqp

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	collectorstest.TestSource(t, func(t *testing.T) collectorstest.Harness {
		vhost := broker.VHost(t)
		wire := newWire(t, broker.Addr())
		nova := newService(t, broker, vhost, "nova", true)
		cfg := newRig(t, broker, vhost, func(c *Config) {
			c.Hosts, c.Exchanges, c.Prefetch = []string{wire.addr()}, []string{"nova"}, 7
		}).cfg
		cfg.Probe = 300 * time.Millisecond
		build := func() (collectors.Source, error) {
			return New(cfg, Kind, Options{
				Provider: cloud, Version: "test", Host: "here", Log: zerolog.Nop(),
				Cursors: func(context.Context) (map[event.Source]event.RawCursor, error) { return nil, nil },
			})
		}
		// The broker keeps nothing for a source that never ran.
		declareOurs(t, build, broker, vhost)
		return collectorstest.Harness{
			Source: build, Spec: cfg.Spec(), Forgets: true,
			Put: func(n int) []event.ID {
				var ids []event.ID
				for _, id := range nova.notify(n) {
					ids = append(ids, event.ID(id))
				}
				return ids
			},
			Fail: func(n int) { wire.fail(n) },
			Down: func(down bool) { wire.refuse(down) },
		}
	})
}

// declareOurs runs a source until its queue is bound.
func declareOurs(t *testing.T, build func() (collectors.Source, error), broker *rabbitmqtest.Broker, vhost string) {
	t.Helper()
	s, err := build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bound := make(chan struct{})
	err = s.Run(ctx, event.From{}, func(ctx context.Context, b collectors.Batch) error {
		if b.Done != nil {
			b.Done()
		}
		if b.Cursor == nil {
			return nil
		}
		if st, err := readState(b.Cursor); err == nil && st.Claims["nova"].Bound {
			close(bound)
			cancel()
		}
		return nil
	})
	select {
	case <-bound:
	default:
		t.Fatalf("the queue was not bound: %v", err)
	}
	if len(bindingsOf(t, broker, vhost, ourQueue)) == 0 {
		t.Fatal("the queue has no bindings")
	}
}
