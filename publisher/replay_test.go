package publisher

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// What a job writes is numbered by itself and stands on subjects of its own, split into batches with a record behind each; what
// becomes of dead letters is not its business.
func TestReplay(t *testing.T) {
	s := &stream{}
	r := NewReplay(s, newBodies(), "fix", provider, Options{Owner: "host/1", Limits: Limits{Events: 2}})
	if _, err := r.Commit(t.Context(), nil, nil); event.KindOf(err) != event.Invalid {
		t.Errorf("a writer that is not open commits: %v", err)
	}
	if record, exists, err := r.Open(t.Context()); exists || err != nil || record.Sequence != 0 {
		t.Fatalf("there is %+v (%v)", record, err)
	}
	if _, err := r.Write(t.Context(), event.Replay{Provider: provider, To: 9, State: event.ReplayRunning}); err != nil {
		t.Fatal(err)
	}
	e := event.Event{MessageID: "a", EventType: "t", Timestamp: timestamp(t, "2026-11-22 05:42:09")}
	repaired := storedRaw(3)
	repaired.Repair = &event.Repair{Letter: 7}
	unwritable := e
	unwritable.Payload = []byte("{")
	var calls []int
	record, err := r.Commit(t.Context(), []event.Outcome{
		{Raw: storedRaw(1), Events: []event.Event{e, e}}, {Raw: storedRaw(2)}, {Raw: repaired, Events: []event.Event{e}},
		{Raw: storedRaw(4), Dead: &event.DeadLetter{Reason: event.ReasonMalformed}}, {Raw: storedRaw(5), Events: []event.Event{unwritable}},
	}, func(record *event.Replay, outcomes []event.Outcome) {
		calls = append(calls, len(outcomes))
		record.Counts.Raw += uint64(len(outcomes))
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{2, 2, 1}, calls); diff != "" {
		t.Errorf("the record was moved behind (-want +got):\n%s", diff)
	}
	want := event.ReplayCounts{Raw: 5, Events: 3, Dead: 2}
	if record.Counts != want || record.Position != 5 || record.RawSeq != storedRaw(5).Sequence || record.Owner != "host/1" {
		t.Errorf("the record is %+v", record)
	}
	var got []string
	for _, m := range s.messages {
		got = append(got, strings.TrimSpace(m.Subject+" "+m.Header.Get(event.HeaderSeq)+" "+m.Header.Get(event.HeaderRedriven)))
	}
	cursor := "events.cursor.replay.fix"
	if diff := cmp.Diff([]string{
		cursor, "events.replay.fix.cloud-1 1", "events.replay.fix.cloud-1 2", cursor, "events.replay.fix.cloud-1 3 7",
		"events.replay.fix.cloud-1.dead 4", cursor, "events.replay.fix.cloud-1.dead 5", cursor,
	}, got); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}

	// Another process goes on, and the first one is fenced.
	other := NewReplay(s, newBodies(), "fix", provider, Options{Owner: "host/2"})
	found, exists, err := other.Open(t.Context())
	if err != nil || !exists || found.Counts != want || found.Sequence != event.StreamSeq(len(s.messages)) {
		t.Fatalf("the other one finds %+v (%v)", found, err)
	}
	if _, err := other.Write(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	_, err = r.Commit(t.Context(), []event.Outcome{{Raw: storedRaw(6), Events: []event.Event{e}}}, func(*event.Replay, []event.Outcome) {})
	if event.KindOf(err) != event.Fenced {
		t.Errorf("the first one: %v", err)
	}
}
