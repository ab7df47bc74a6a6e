package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/publisher"
)

// A writer that waits says so once for each kind of reason, and when that is over.
func TestWaitingIsShown(t *testing.T) {
	var log bytes.Buffer
	var states []string
	counted := 0
	hooks := showWaiting(publisher.Hooks{Waiting: func(error) { counted++ }, Resumed: func() { counted++ }},
		event.Status{Role: event.RoleCollector, Provider: "prod", Source: "panko"},
		func(s event.Status) {
			if s.Role != event.RoleCollector || s.Provider != "prod" || s.Source != "panko" {
				t.Errorf("reported for %+v", s)
			}
			states = append(states, strings.TrimSpace(string(s.State)+" "+s.Reason))
		}, zerolog.New(&log))

	full := &event.Error{Kind: event.Full, Op: "append to EVENTS_RAW", Err: errors.New("maximum bytes exceeded")}
	for range 3 {
		hooks.Waiting(full)
	}
	hooks.Waiting(errors.New("no answer"))
	hooks.Resumed()
	hooks.Waiting(full)

	want := []string{
		"backoff writing waits: " + full.Error(), "backoff writing waits: no answer", "live", "backoff writing waits: " + full.Error(),
	}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
	if lines := strings.Count(log.String(), "\n"); lines != len(want) {
		t.Errorf("%d lines are logged, want %d:\n%s", lines, len(want), log.String())
	}
	if counted != 6 {
		t.Errorf("the other hooks are called %d times, want 6", counted)
	}
}
