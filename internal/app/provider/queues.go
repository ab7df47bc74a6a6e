package provider

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"stackstream/collectors/amqp"
	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/jetstream"
)

// Queues are those that a provider's sources have on a message broker, as their cursors say.
func Queues(h *jetstream.Holding) ([]amqp.Leftover, error) {
	var found []amqp.Leftover
	for _, s := range sources(h) {
		l, ok, err := amqp.LeftBy(s, h.Sources[s])
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, l)
		}
	}
	return found, nil
}

// RemoveQueue deletes a queue of a provider by the settings that it is, or was, configured with, and returns how many
// notifications are lost with it.
func RemoveQueue(
	ctx context.Context, p event.Provider, settings *config.Provider, l amqp.Leftover, version, host string, log zerolog.Logger,
) (int, error) {
	cfg, ok := settings.Sources[amqp.Kind].(*amqp.Config)
	if !ok {
		return 0, &Problem{fmt.Sprintf("%s has no settings of %s there", p, amqp.Kind), "give the configuration from before it was removed"}
	}
	return l.Remove(ctx, *cfg, amqp.Options{Provider: p, Version: version, Host: host, Log: log})
}
