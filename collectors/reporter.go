package collectors

import (
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"stackstream/event"
)

// reporter passes on changes of state, each once, to Hooks and log.
type reporter struct {
	provider event.Provider
	hooks    Hooks
	log      zerolog.Logger

	mu   sync.Mutex
	last []event.Status // of each source one: there are few
}

func (r *reporter) state(s event.Source, state event.State, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(event.Status{Provider: r.provider, Source: s, Role: event.RoleCollector, State: state, Reason: reason})
}

// working says that a source is being started, unless it was and failed: that stays the news until it is live.
func (r *reporter) working(s event.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := event.State("")
	if i := r.index(s); i >= 0 {
		last = r.last[i].State
	}
	if last != event.StateBackoff && last != event.StatePaused {
		r.set(event.Status{Provider: r.provider, Source: s, Role: event.RoleCollector, State: event.StateStarting})
	}
}

// forget ends the states of all sources: another kind was chosen.
func (r *reporter) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, was := range slices.Clone(r.last) {
		if was.Source != "" {
			r.set(event.Status{
				Provider: r.provider, Source: was.Source, Role: event.RoleCollector, State: event.StateIdle,
				Reason: "another choice of source was made",
			})
		}
	}
	r.last = slices.DeleteFunc(r.last, func(s event.Status) bool { return s.Source != "" })
}

// index is where the last status of a source is, -1 if there is none.
func (r *reporter) index(s event.Source) int {
	return slices.IndexFunc(r.last, func(last event.Status) bool { return last.Source == s })
}

func (r *reporter) set(status event.Status) {
	switch i := r.index(status.Source); {
	case i < 0:
		r.last = append(r.last, status)
	case r.last[i] == status:
		return
	default:
		r.last[i] = status
	}
	level := zerolog.InfoLevel
	if status.State == event.StateBackoff || status.State == event.StateDegraded {
		level = zerolog.WarnLevel
	}
	line := r.log.WithLevel(level).Str("provider", string(r.provider)).Str("state", string(status.State))
	if status.Source != "" {
		line.Str("source", string(status.Source))
	}
	if status.Reason != "" {
		line.Str("reason", status.Reason)
	}
	line.Msg("collector state changed")
	r.hooks.status(status)
}
