package event_test

import (
	"strings"
	"testing"

	"stackstream/event"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "openstack-prod", "cloud_1", "0", "-", strings.Repeat("x", 63)} {
		if p, err := event.ParseProvider(name); err != nil || string(p) != name {
			t.Errorf("provider %q: %v", name, err)
		}
		if s, err := event.ParseSource(name); err != nil || string(s) != name {
			t.Errorf("source %q: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"": "is empty", strings.Repeat("x", 64): "longer than 63", "Cloud": `has 'C'`, "a.b": `has '.'`, "a b": `has ' '`,
		"a*": `has '*'`, ">": `has '>'`, "größe": `has 'ö'`, "a\n": `has '\n'`, "\xff": "only a-z",
	} {
		if _, err := event.ParseProvider(name); err == nil || !strings.Contains(err.Error(), text) ||
			!strings.HasPrefix(err.Error(), "provider name ") {
			t.Errorf("provider %q: %v", name, err)
		}
		if _, err := event.ParseSource(name); err == nil || !strings.Contains(err.Error(), text) ||
			!strings.HasPrefix(err.Error(), "source name ") {
			t.Errorf("source %q: %v", name, err)
		}
	}
}

func TestSourceKind(t *testing.T) {
	for s, want := range map[event.Source]string{"panko": "panko", "amqp-nova": "amqp", "backfill-a-b": "backfill", "": ""} {
		if got := s.Kind(); got != want {
			t.Errorf("kind of %q is %q", s, got)
		}
	}
}

func TestSubjects(t *testing.T) {
	const p, s = event.Provider("cloud"), event.Source("amqp-nova")
	for _, tt := range []struct {
		subject, want string
		source        event.Source
	}{
		{event.RawSubject(p, s), "events.raw.cloud.amqp-nova", s},
		{event.NormalizedSubject(p), "events.normalized.cloud", ""},
		{event.DeadSubject(p), "events.dead.cloud", ""},
		{event.DeadStateSubject(p), "events.deadstate.cloud", ""},
		{event.RawCursorSubject(p, s), "events.cursor.raw.cloud.amqp-nova", s},
		{event.ChoiceSubject(p), "events.cursor.raw.cloud", ""},
		{event.NormalizedCursorSubject(p), "events.cursor.normalized.cloud", ""},
		{event.ReplaySubject("fix", p), "events.replay.fix.cloud", ""},
		{event.ReplayDeadSubject("fix", p), "events.replay.fix.cloud.dead", ""},
	} {
		if tt.subject != tt.want {
			t.Errorf("subject %q, want %q", tt.subject, tt.want)
		}
		gotP, gotS, ok := event.SubjectProvider(tt.subject)
		if !ok || gotP != p || gotS != tt.source {
			t.Errorf("%s belongs to %q, %q, %v", tt.subject, gotP, gotS, ok)
		}
	}
	if got := event.RawSubjects(p); got != "events.raw.cloud.>" {
		t.Errorf("filter %q", got)
	}
	if got := event.RawCursorSubjects(p); got != "events.cursor.raw.cloud.*" {
		t.Errorf("filter %q", got)
	}
}

func TestSubjectsOfNobody(t *testing.T) {
	for _, subject := range []string{
		"", "events", "events.raw", "events.raw.", "events.raw.cloud", "events.raw.cloud.", "events.raw..panko",
		"events.raw.cloud.panko.x", "events.raw.cloud.>", "events.normalized.*", "events.normalized.cloud.panko",
		"events.normalized.cloud.", "events.cursor.raw.cloud.", "events.cursor.normalized.cloud.panko", "events.other.cloud",
		"events.dead.Cloud", "events.replay.cloud", "events.replay.fix.cloud.dead.x", "events.replay.fix.cloud.alive", "ingest.raw.cloud.panko", "xevents.raw.cloud.panko",
	} {
		if p, s, ok := event.SubjectProvider(subject); ok {
			t.Errorf("%q belongs to %q, %q", subject, p, s)
		}
	}
}
