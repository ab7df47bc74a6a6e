package app

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/metrics"
	"stackstream/jetstream"
)

// streamsEvery is how often the streams and their subscribers are looked at for the metrics.
const streamsEvery = 15 * time.Second

// streamLooks shows what the streams hold, and how far their subscribers are. What can't be asked now is asked the next
// time; what NATS does not permit is not asked again, so that it is counted as refused once.
type streamLooks struct {
	refused map[string]bool
	log     zerolog.Logger
	metrics *metrics.Metrics
	stream  func(ctx context.Context, name string) (jetstream.StreamState, error)
	// subscribers is nil where others look at them.
	subscribers func(context.Context) ([]jetstream.Subscriber, error)
}

func newStreamLooks(p *Pipeline, c *jetstream.Client, m *metrics.Metrics) *streamLooks {
	l := &streamLooks{refused: map[string]bool{}, log: p.Log, metrics: m, stream: c.StreamState}
	if p.Normalize {
		l.subscribers = c.Subscribers
	}
	return l
}

func (l *streamLooks) watch(ctx context.Context) error {
	tick := time.NewTicker(streamsEvery)
	defer tick.Stop()
	for {
		l.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *streamLooks) look(ctx context.Context) {
	for _, name := range jetstream.StreamNames() {
		l.ask(ctx, name, func() error {
			state, err := l.stream(ctx, name)
			if err == nil {
				l.metrics.Stream(state)
			}
			return err
		})
	}
	if l.subscribers == nil {
		return
	}
	l.ask(ctx, "subscribers", func() error {
		list, err := l.subscribers(ctx)
		if err == nil {
			l.metrics.Subscribers(list)
		}
		return err
	})
}

func (l *streamLooks) ask(ctx context.Context, what string, ask func() error) {
	if l.refused[what] || ctx.Err() != nil {
		return
	}
	err := ask()
	if err == nil {
		return
	}
	l.refused[what] = event.KindOf(err) == event.Invalid
	l.log.Debug().Err(err).Str("what", what).Msg("not asked for the metrics")
}
