package event_test

import (
	"testing"

	"stackstream/event"
)

func TestReplaySubjects(t *testing.T) {
	for subject, want := range map[string]struct {
		name event.ReplayName
		p    event.Provider
		dead bool
	}{
		"events.replay.fix-1.cloud":      {"fix-1", "cloud", false},
		"events.replay.fix-1.cloud.dead": {"fix-1", "cloud", true},
		"events.replay.dead.dead":        {"dead", "dead", false},
		"events.replay.dead.dead.dead":   {"dead", "dead", true},
		"events.replay.fix":              {}, "events.replay.fix.": {}, "events.replay..cloud": {}, "events.replay.fix.cloud.": {},
		"events.replay.fix.cloud.dead.dead": {}, "events.replay.Fix.cloud": {}, "events.normalized.cloud": {}, "": {},
	} {
		n, p, dead, ok := event.ParseReplaySubject(subject)
		if n != want.name || p != want.p || dead != want.dead || ok != (want.name != "") {
			t.Errorf("%q is of %q, %q, dead %v (%v)", subject, n, p, dead, ok)
		}
	}
	for subject, want := range map[string]event.ReplayName{
		event.ReplayCursorSubject("fix"): "fix", event.ReplayCommandsSubject("fix"): "", "events.cursor.raw.cloud": "",
	} {
		if n, ok := event.ParseReplayCursorSubject(subject); ok != (want != "") || ok && n != want {
			t.Errorf("%q is the record of %q (%v)", subject, n, ok)
		}
	}
	if !event.IsCommands(event.ReplayCommandsSubject("fix")) {
		t.Error("the commands of a job are not seen as such")
	}
	if _, err := event.ParseReplayName("a.b"); err == nil || err.Error() != `job name "a.b": has '.'; only a-z, 0-9, _ and - are allowed` {
		t.Errorf("a.b as a name: %v", err)
	}
}

func TestReplayTotal(t *testing.T) {
	r := event.Replay{Sources: map[event.Source]event.ReplaySource{
		"a": {First: 5, Last: 9}, "b": {First: 1, Last: 1}, "unknown": {First: 7}, "none": {}, "empty": {First: 3, Last: 2},
	}}
	if got := r.Total(); got != 6 {
		t.Errorf("there are %d raw events", got)
	}
}
