package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// shown is a statuses for the part "collector prod panko", with the states that it reported.
type shown struct {
	*statuses
	states []string
}

var testPart = part{event.RoleCollector, "prod", "panko"}

func newShown(t *testing.T) *shown {
	var s shown
	s.statuses = newStatuses(func(status event.Status) {
		if (part{status.Role, status.Provider, status.Source}) != testPart {
			t.Errorf("reported for %+v", status)
		}
		s.states = append(s.states, strings.TrimSpace(string(status.State)+" "+status.Reason))
	})
	return &s
}

// say is the loop's status.
func (s *shown) say(state event.State, reason string) {
	s.set(event.Status{
		Role: testPart.role, Provider: testPart.provider, Source: testPart.source, State: state, Reason: reason,
	})
}

func (s *shown) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.states); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}

var errFull = &event.Error{Kind: event.Full, Op: "append to EVENTS_RAW", Err: errors.New("maximum bytes exceeded")}

// A writer that waits says so once for each kind of reason, and when that is over.
func TestWaitingIsShown(t *testing.T) {
	var log bytes.Buffer
	s := newShown(t)
	counted := 0
	hooks := s.writer(testPart,
		publisher.Hooks{Waiting: func(error) { counted++ }, Resumed: func() { counted++ }}, zerolog.New(&log))
	s.say(event.StateLive, "")
	for range 3 {
		hooks.Waiting(errFull)
	}
	hooks.Waiting(errors.New("no answer"))
	hooks.Resumed()
	hooks.Waiting(errFull)

	s.want(t, "live", "backoff writing waits: "+errFull.Error(), "backoff writing waits: no answer", "live",
		"backoff writing waits: "+errFull.Error())
	if lines := strings.Count(log.String(), "\n"); lines != 4 {
		t.Errorf("%d lines are logged, want 4:\n%s", lines, log.String())
	}
	if counted != 6 {
		t.Errorf("the other hooks are called %d times, want 6", counted)
	}
}

// What is suspected of a server's disk is said once, and not taken back by an answer that is merely missing.
func TestWaitingForADiskIsShown(t *testing.T) {
	var log bytes.Buffer
	s := newShown(t)
	hooks := s.writer(testPart, publisher.Hooks{}, zerolog.New(&log))
	timeout := &event.Error{Kind: event.Unknown, Err: errors.New("timeout")}
	suspected := &event.Error{Kind: event.Unknown, Err: jetstream.ErrNotStored}
	s.say(event.StateLive, "")
	for _, err := range []error{timeout, timeout, suspected, timeout, suspected} {
		hooks.Waiting(err)
	}
	hooks.Resumed()
	s.want(t, "live", "backoff writing waits: "+timeout.Error(), "backoff writing waits: "+suspected.Error(), "live")
	if lines := strings.Count(log.String(), "\n"); lines != 3 {
		t.Errorf("%d lines are logged, want 3:\n%s", lines, log.String())
	}
}

// What a loop says meanwhile neither hides that writing waits nor is forgotten.
func TestWaitingComesBeforeWhatTheLoopSays(t *testing.T) {
	s := newShown(t)
	hooks := s.writer(testPart, publisher.Hooks{}, zerolog.Nop())
	s.say(event.StateLive, "")
	hooks.Waiting(errFull)
	s.say(event.StateDegraded, "the broker has an alarm")
	hooks.Resumed()
	s.want(t, "live", "backoff writing waits: "+errFull.Error(), "backoff writing waits: "+errFull.Error(),
		"degraded the broker has an alarm")
}

// A writer that is given up does not say that it waits no more.
func TestWaitingEndsWithItsWriter(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(s *shown)
		want string
	}{
		{"another process works", func(s *shown) { s.say(event.StateStandby, "held by host-2") }, "standby held by host-2"},
		{"another writer is made", func(s *shown) { s.writer(testPart, publisher.Hooks{}, zerolog.Nop()) }, "live"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShown(t)
			s.say(event.StateLive, "")
			s.writer(testPart, publisher.Hooks{}, zerolog.Nop()).Waiting(errFull)
			test.then(s)
			s.want(t, "live", "backoff writing waits: "+errFull.Error(), test.want)
			s.say(event.StateLive, "")
			if last := s.states[len(s.states)-1]; last != "live" {
				t.Errorf("the next writer's part is %q", last)
			}
		})
	}
}
