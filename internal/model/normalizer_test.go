package model_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/normalizer"
	"stackstream/publisher"
)

// normalizes makes the main function of a process that normalizes.
func (w *world) normalizes(parts parts) func(context.Context, *process) {
	return func(ctx context.Context, p *process) {
		p.works(ctx, func(ctx context.Context) error {
			service, err := normalizer.New(normalizer.Config{
				Converters: map[string]normalizer.Converter{"test": converter{}},
				Committer: func(event.Provider) normalizer.Committer {
					return parts.committer(publisher.NewNormalized(parts.log(log{p, w.norm}), bodies{p}, cloud,
						publisher.Options{Owner: p.name, Limits: limits}), w)
				},
				Feed: parts.feed(feed{p, w.raw}), Bodies: bodies{p}, Log: zerolog.Nop(),
				Hooks: normalizer.Hooks{Status: func(s event.Status) {
					w.mu.Lock()
					defer w.mu.Unlock()
					switch s.State {
					case event.StateStopped:
						w.stopped = s.Reason
					case event.StateLive:
						w.stopped = ""
					}
				}},
			})
			if err != nil {
				return err
			}
			return service.RunProvider(ctx, cloud)
		})
	}
}

// converter does what the body says.
type converter struct{}

func (converter) Name() string { return "test/1" }

func (converter) Convert(raw event.Raw) (normalizer.Converted, error) {
	ids := outputs(raw.ID, string(raw.Body))
	if len(ids) == 0 {
		return normalizer.Converted{}, errors.New("bad")
	}
	var c normalizer.Converted
	for _, id := range ids {
		c.Events = append(c.Events, event.Event{MessageID: id, EventType: "a.b", Timestamp: event.NewTimestamp(raw.Time)})
	}
	return c, nil
}

// outputs are the ids of the events that become of a raw event; none if it is to be a dead letter.
func outputs(id event.ID, body string) []string {
	switch body {
	case "bad":
		return nil
	case "two":
		return []string{fmt.Sprintf("%s/1", id), fmt.Sprintf("%s/2", id)}
	}
	return []string{string(id)}
}
