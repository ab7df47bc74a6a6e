package publisher

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// What became of a letter stands in the batch of what was made of it, and takes no number.
func TestWhatBecameOfDeadLetters(t *testing.T) {
	repair := func(n int, drop bool) event.StoredRaw {
		raw := storedRaw(n)
		raw.Source, raw.StoredAt = event.SourceRedrive, at(100+n)
		raw.Repair = &event.Repair{Letter: event.Seq(n), Drop: drop, By: "ada", Why: "converter mended", Source: source}
		return raw
	}
	e := event.Event{MessageID: "a", EventType: "t", Timestamp: timestamp(t, "2026-11-22 05:42:09")}
	messages := commitNormalized(t, newBodies(), Limits{},
		event.Outcome{Raw: repair(1, false), Events: []event.Event{e, e}, Converter: "oslo/2"},
		event.Outcome{Raw: repair(2, true)},
		event.Outcome{Raw: repair(3, false), Dead: &event.DeadLetter{Reason: event.ReasonMalformed}, Converter: "oslo/2"},
		event.Outcome{Raw: storedRaw(4), Events: []event.Event{e}},
	)
	var states []event.LetterState
	var numbers []string
	for _, m := range messages {
		switch m.Subject {
		case "events.deadstate.cloud-1":
			var s event.LetterState
			if err := json.Unmarshal(m.Body, &s); err != nil {
				t.Fatal(err)
			}
			states = append(states, s)
		case "events.normalized.cloud-1", "events.dead.cloud-1":
			numbers = append(numbers, m.Header.Get(event.HeaderSeq)+" "+m.Header.Get(event.HeaderRedriven))
			if f := m.Header.Get(event.HeaderMessageFormat); f != "" {
				t.Errorf("message %s has format %s", m.Header.Get(event.HeaderSeq), f)
			}
		}
	}
	if diff := cmp.Diff([]string{"1 1", "2 1", "3 3", "4 "}, numbers); diff != "" {
		t.Errorf("numbers and letters (-want +got):\n%s", diff)
	}
	want := []event.LetterState{
		{Letter: 1, State: event.LetterRedriven, Seq: 1, Converter: "oslo/2"}, {Letter: 2, State: event.LetterDropped},
		{Letter: 3, State: event.LetterDead, Seq: 3, Converter: "oslo/2"},
	}
	for i := range want {
		want[i].By, want[i].Why, want[i].At = "ada", "converter mended", at(100+i+1)
	}
	if diff := cmp.Diff(want, states, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	var c event.NormalizedCursor
	if err := json.Unmarshal(messages[len(messages)-1].Body, &c); err != nil {
		t.Fatal(err)
	}
	if c.Position != 4 || c.Sources[event.SourceRedrive].Position != 3 {
		t.Errorf("the cursor is %+v", c)
	}
}

func TestBackfilledEventsAreMarked(t *testing.T) {
	raw := storedRaw(1)
	raw.Backfill = "march outage"
	messages := commitNormalized(t, newBodies(), Limits{}, event.Outcome{Raw: raw, Events: []event.Event{{
		MessageID: "a", EventType: "t", Timestamp: timestamp(t, "2026-11-22 05:42:09"),
	}}})
	if got := messages[0].Header.Get(event.HeaderBackfill); got != "march%20outage" {
		t.Errorf("marked %q", got)
	}
}
