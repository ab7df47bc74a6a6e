package app

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/internal/app/metrics"
	"stackstream/jetstream"
)

// What NATS does not permit is asked once: each time would be counted as a refusal, and somebody alerted.
func TestStreamsAreNotAskedForAgainWithoutTheRight(t *testing.T) {
	asked := map[string]int{}
	l := &streamLooks{
		refused: map[string]bool{}, log: zerolog.Nop(), metrics: metrics.New(admin.NewBoard(), "v1"),
		stream: func(_ context.Context, name string) (jetstream.StreamState, error) {
			asked[name]++
			switch name {
			case event.StreamDead:
				return jetstream.StreamState{}, &event.Error{Kind: event.Invalid, Op: "ask"}
			case event.StreamRaw:
				return jetstream.StreamState{}, &event.Error{Kind: event.Unavailable, Op: "ask"}
			}
			return jetstream.StreamState{Name: name}, nil
		},
		subscribers: func(context.Context) ([]jetstream.Subscriber, error) {
			asked["subscribers"]++
			return nil, &event.Error{Kind: event.Invalid, Op: "ask"}
		},
	}
	for range 3 {
		l.look(t.Context())
	}
	for name, want := range map[string]int{event.StreamDead: 1, "subscribers": 1, event.StreamRaw: 3, event.StreamNormalized: 3} {
		if asked[name] != want {
			t.Errorf("%s was asked for %d times, want %d", name, asked[name], want)
		}
	}
}
