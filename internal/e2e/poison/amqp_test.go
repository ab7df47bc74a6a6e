package poison

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/amqp"
	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
	"stackstream/normalizer/oslo"
)

// Through a real broker and the source of the product it is the same: every message that the broker confirmed is in RAW
// with its bytes, and comes out.
func TestEveryMessageComesOut(t *testing.T) {
	n := min(*hostile/5, 20_000)
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	cfg := amqp.Default()
	cfg.Hosts, cfg.VHost, cfg.User, cfg.Password = []string{broker.Addr()}, vhost, "guest", "guest"
	cfg.Exchanges, cfg.CreateExchanges, cfg.Probe = []string{"nova"}, "durable", time.Second
	client := openServer(t, 256<<20)
	memory := client.Memory()
	cursors := func(ctx context.Context) (map[event.Source]event.RawCursor, error) {
		return memory.Cursors(ctx, provider)
	}
	candidate := amqp.Candidate(cfg, func(_ event.Source, report collectors.Report) amqp.Options {
		return amqp.Options{Provider: provider, Version: "test", Host: "here", Report: report, Log: zerolog.Nop(), Cursors: cursors}
	})
	stop := pipeline(t, client, candidate, converters(t))
	eventually(t, "the exchange to be bound", func() bool {
		all, err := cursors(t.Context())
		return err == nil && strings.Contains(string(all["amqp"].Cursor), `"nova":{"bound":true`)
	})

	m := newMutator(t, *seed)
	m.only = oslo.Format
	publisher := broker.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()), rabbitmqtest.Window(100))
	var window []rabbitmqtest.Message
	for m.made < n {
		mu := m.next()
		message := rabbitmqtest.Message{Exchange: "nova", Key: "notifications.info", Publishing: rabbitmqtest.JSON(mu.body)}
		if mu.compression != "" {
			message.Publishing.Headers = map[string]any{"compression": mu.compression}
		}
		if window = append(window, message); len(window) < 100 && m.made < n {
			continue
		}
		if err := publisher.Publish(t.Context(), window...); err != nil {
			t.Fatal(err)
		}
		window = window[:0]
	}
	awaitNormalized(t, client, func() int { return len(m.want) })
	stop()
	newLedger(t, client, m).check()
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(50*time.Millisecond), time.NewTimer(2*time.Minute)
	defer tick.Stop()
	defer limit.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
