package app

import (
	"errors"
	"maps"
	"sync"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// statuses joins what a loop says of itself and what its writer says while it waits (the stream is full, or can't be
// reached). The loops do not know of that: to them a commit takes long. While a writer waits, that is the state of the
// part that works; afterwards it is again what its loop said last. It is safe for concurrent use.
type statuses struct {
	report func(event.Status)

	mu    sync.Mutex
	said  map[part]event.Status // by the loops
	waits map[part]string       // why the writer waits
}

// part is what a status is about.
type part struct {
	role     event.Role
	provider event.Provider
	source   event.Source
}

func newStatuses(report func(event.Status)) *statuses {
	return &statuses{report: report, said: map[part]event.Status{}, waits: map[part]string{}}
}

// set is what the loops report to.
func (s *statuses) set(status event.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := part{status.Role, status.Provider, status.Source}
	s.said[p] = status
	switch status.State {
	case event.StateStarting, event.StateLive, event.StateDegraded:
	default:
		delete(s.waits, p) // nothing is being written any more
	}
	s.show(p)
}

// forget drops what was said of a provider in one role by those who have ended.
func (s *statuses) forget(role event.Role, p event.Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.said, func(of part, _ event.Status) bool { return of.role == role && of.provider == p })
	maps.DeleteFunc(s.waits, func(of part, _ string) bool { return of.role == role && of.provider == p })
}

// wait says why the writer of a part waits; "": it does not.
func (s *statuses) wait(p part, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why == s.waits[p] {
		return
	}
	if s.waits[p] = why; why == "" {
		delete(s.waits, p)
	}
	s.show(p)
}

func (s *statuses) show(p part) {
	status, known := s.said[p]
	if !known {
		status = event.Status{Role: p.role, Provider: p.provider, Source: p.source, State: event.StateLive}
	}
	if why, waiting := s.waits[p]; waiting {
		status.State, status.Reason = event.StateBackoff, why
	}
	s.report(status)
}

// writer makes the hooks of a new writer of the part. It puts one line into the log for each kind of reason to wait.
// hooks are called as well.
func (s *statuses) writer(p part, hooks publisher.Hooks, log zerolog.Logger) publisher.Hooks {
	// A logger with these would take more than all else that a writer which never waits has.
	about := func(line *zerolog.Event) *zerolog.Event {
		line.Str("role", string(p.role)).Str("provider", string(p.provider))
		if p.source != "" {
			line.Str("source", string(p.source))
		}
		return line
	}
	s.wait(p, "") // the one before is gone
	type why struct {
		kind      event.Kind
		notStored bool
	}
	var said why // why it waits, as reported; zero while it does not
	waiting, resumed := hooks.Waiting, hooks.Resumed
	hooks.Waiting = func(err error) {
		if waiting != nil {
			waiting(err)
		}
		kind := event.KindOf(err)
		if kind == 0 {
			kind = event.Unknown
		}
		now := why{kind, errors.Is(err, jetstream.ErrNotStored)}
		if now == said || said.notStored && kind == event.Unknown {
			return // what is suspected holds until something else is known
		}
		said = now
		about(log.Warn()).Err(err).Msg("writing waits")
		s.wait(p, "writing waits: "+err.Error())
	}
	hooks.Resumed = func() {
		if resumed != nil {
			resumed()
		}
		said = why{}
		about(log.Info()).Msg("writing waits no more")
		s.wait(p, "")
	}
	return hooks
}
