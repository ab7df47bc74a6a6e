package openstacktest

import (
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

// An event is a letter; its case says nothing. What is expected is a letter with "?" if it may be missing, "+" if it may
// come more than once.
func TestAlign(t *testing.T) {
	for _, c := range []struct {
		name, want, got string
		missing, err    string
	}{
		{name: "everything", want: "abc", got: "abc"},
		{name: "nothing at all"},
		{name: "nothing came, nothing had to", want: "a?b?", missing: "ab"},
		{name: "one is lost", want: "abc", got: "ac", err: "event 2 of 2 is c"},
		{name: "the last is lost", want: "abc", got: "ab", err: "after 2 events: c"},
		{name: "one may be missing", want: "ab?c", got: "ac", missing: "b"},
		{name: "one that may be missing came", want: "ab?c", got: "abc"},
		{name: "one is too many", want: "ab", got: "abx", err: "nothing explains event 3 of 3, x"},
		{name: "one comes twice", want: "ab", got: "aab", err: "event 2 of 3 is a"},
		{name: "out of order", want: "abc", got: "acb", err: "event 2 of 3 is c"},
		{name: "the first of two equal ones is missing", want: "a?bab", got: "bab", missing: "a"},
		{name: "the first or the second of two equal ones", want: "a?a?b", got: "ab", missing: "a"},
		{name: "the sure one of two equal ones is there", want: "a?x?a", got: "a", missing: "ax"},
		{name: "the sure one of two equal ones is lost", want: "a?ab", got: "b", err: "event 1 of 1 is b"},
		{name: "once is often", want: "a+b", got: "ab"},
		{name: "three times is often", want: "a+b", got: "aaab"},
		{name: "never is not often", want: "a+b", got: "b", err: "event 1 of 1 is b"},
		{name: "often at the end", want: "ba+", got: "baa"},
		{name: "too often", want: "a+ba", got: "aabaa", err: "nothing explains event 5 of 5, a"},
		{name: "often, and then something is wrong", want: "a+bc", got: "aabx", err: "event 4 of 4 is x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want []Expected
			for _, r := range c.want {
				last := len(want) - 1
				switch r {
				case '?':
					want[last].Sure = false
				case '+':
					want[last].Often = true
				default:
					want = append(want, Expected{Event: Event{Type: string(r)}, Sure: true})
				}
			}
			var got []event.Event
			for _, r := range c.got {
				got = append(got, event.Event{EventType: string(r)})
			}
			missing, err := align(want, got)
			var types strings.Builder
			for _, m := range missing {
				types.WriteString(m.Type)
			}
			switch {
			case c.err == "" && (err != nil || types.String() != c.missing):
				t.Errorf("missing %q, error %v; want missing %q", types.String(), err, c.missing)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want one with %q", err, c.err)
			}
		})
	}
}

// Every way in which an event can be another than the one that must follow counts.
func TestDiffers(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	want := Expected{From: noon, To: noon.Add(time.Second), Prompt: true, Event: Event{
		Type: "identity.user.created", Targets: []event.Target{target("user", "u"), target("project", "p")},
		User: "admin", Project: "p", Request: "req-1",
	}}
	right := func() event.Event {
		return event.Event{
			EventType: want.Type, Targets: want.Targets, Timestamp: event.NewTimestamp(noon.Add(time.Millisecond)),
			Context: &event.Context{UserID: "admin", ProjectID: "p", RequestID: "req-1", UserName: "of no interest"},
		}
	}
	if d := differs(want, right()); d != "" {
		t.Errorf("the same event: %s", d)
	}
	for name, change := range map[string]func(*event.Event){
		"type":            func(e *event.Event) { e.EventType = "identity.user.updated" },
		"target":          func(e *event.Event) { e.Targets = []event.Target{target("user", "v"), target("project", "p")} },
		"order":           func(e *event.Event) { e.Targets = []event.Target{target("project", "p"), target("user", "u")} },
		"one target more": func(e *event.Event) { e.Targets = append(e.Targets, target("host", "h")) },
		"user":            func(e *event.Event) { e.Context.UserID = "u" },
		"project":         func(e *event.Event) { e.Context.ProjectID = "" },
		"request":         func(e *event.Event) { e.Context.RequestID = "req-2" },
		"time, before":    func(e *event.Event) { e.Timestamp = event.NewTimestamp(noon.Add(-time.Millisecond)) },
		"time, after":     func(e *event.Event) { e.Timestamp = event.NewTimestamp(noon.Add(2 * time.Second)) },
		"no context":      func(e *event.Event) { e.Context = nil },
	} {
		e := right()
		change(&e)
		if differs(want, e) == "" {
			t.Errorf("another %s makes no difference", name)
		}
	}

	want.Prompt = false
	e := right()
	e.Timestamp = event.NewTimestamp(noon.Add(time.Hour))
	if d := differs(want, e); d != "" {
		t.Errorf("a daemon may tell it later: %s", d)
	}
}
