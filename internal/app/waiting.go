package app

import (
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/publisher"
)

// showWaiting makes a writer that waits (the stream is full, or can't be reached) the state of the part that writes, and
// puts one line into the log for each kind of reason. The loops themselves do not know of it: to them a commit takes
// long. hooks are called as well.
func showWaiting(
	hooks publisher.Hooks, part event.Status, report func(event.Status), log zerolog.Logger,
) publisher.Hooks {
	log = log.With().Str("role", string(part.Role)).Str("provider", string(part.Provider)).Logger()
	said := event.Kind(0) // why it waits, as reported; 0 while it does not
	waiting, resumed := hooks.Waiting, hooks.Resumed
	hooks.Waiting = func(err error) {
		if waiting != nil {
			waiting(err)
		}
		kind := event.KindOf(err)
		if kind == 0 {
			kind = event.Unknown
		}
		if kind == said {
			return
		}
		said = kind
		part.State, part.Reason = event.StateBackoff, "writing waits: "+err.Error()
		log.Warn().Err(err).Msg("writing waits")
		report(part)
	}
	hooks.Resumed = func() {
		if resumed != nil {
			resumed()
		}
		said = 0
		part.State, part.Reason = event.StateLive, ""
		log.Info().Msg("writing waits no more")
		report(part)
	}
	return hooks
}
