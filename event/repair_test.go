package event_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"stackstream/event"
)

func TestRepairsComeBackFromRaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := event.Raw{
			ID: "id-1", Received: time.Unix(1_700_000_000, 0).UTC(), Format: "oslo", Body: []byte("{}"),
			Backfill: rapid.String().Draw(t, "backfill"),
			Repair: &event.Repair{
				Letter: event.Seq(rapid.Uint64Min(1).Draw(t, "letter")), Drop: rapid.Bool().Draw(t, "drop"),
				By: rapid.String().Draw(t, "by"), Why: rapid.String().Draw(t, "why"),
				Source: event.Source(rapid.SampledFrom([]string{"", "amqp", "amqp-nova"}).Draw(t, "source")),
				Seq:    event.Seq(rapid.Uint64().Draw(t, "seq")), Sequence: event.StreamSeq(rapid.Uint64().Draw(t, "sequence")),
			},
		}
		m := raw.Message("cloud", event.SourceRedrive, 3, event.BodyRef{})
		if m.Header.Get(event.HeaderMessageFormat) != "2" {
			t.Error("a version that knows no repairs would take it for news")
		}
		got, err := event.ParseRaw(event.Stored{Message: m, Sequence: 9})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(raw, rawOnly(got)); diff != "" {
			t.Errorf("came back (-want +got):\n%s", diff)
		}
		if got.Drops() != raw.Repair.Drop {
			t.Error("whether it is to stay dead is lost")
		}
	})
}

// rawOnly is the raw event without the headers that only say where a letter came from.
func rawOnly(r event.StoredRaw) event.Raw {
	for _, name := range []string{event.HeaderRawSource, event.HeaderRawSeq, event.HeaderRawEvtSeq} {
		delete(r.Header, name)
	}
	if len(r.Header) == 0 {
		r.Header = nil
	}
	return r.Raw
}

func TestRepairsThatAreNone(t *testing.T) {
	for header, value := range map[string]string{
		event.HeaderRedriven: "0", event.HeaderDropped: "first", event.HeaderRawSource: "A.b",
	} {
		raw := event.Raw{ID: "a", Repair: &event.Repair{Letter: 1, Drop: header == event.HeaderDropped}}
		m := raw.Message("cloud", event.SourceRedrive, 1, event.BodyRef{})
		m.Header.Set(header, value)
		if _, err := event.ParseRaw(event.Stored{Message: m}); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), header) {
			t.Errorf("%s: %q gives %v", header, value, err)
		}
	}
}

// A version that knows no pauses must not go on behind a record that has one.
func TestPausedRecordsHaveTheSecondFormat(t *testing.T) {
	pause := &event.Pause{By: "ada@host", Why: "the cloud is upgraded", At: time.Unix(1_700_000_000, 0).UTC()}
	for _, record := range []any{
		event.RawCursor{Position: 1, Paused: pause}, &event.NormalizedCursor{Position: 1, Paused: pause},
		event.Choice{Kind: "amqp", Paused: pause},
	} {
		body, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		if err := event.Decode(body, 1, &struct{}{}); !isNewer(err) {
			t.Errorf("who reads the first format gets %v of %s", err, body)
		}
	}
	var c event.RawCursor
	body, _ := json.Marshal(event.RawCursor{Position: 7, Paused: pause})
	if err := event.DecodeRecord(event.Stored{Message: event.Message{Subject: "s", Body: body}}, &c); err != nil {
		t.Fatal(err)
	}
	want := "paused: since 2023-11-14T22:13:20Z by ada@host: the cloud is upgraded"
	if err := c.Paused.Err(); event.KindOf(err) != event.Paused || err.Error() != want || c.Position != 7 {
		t.Errorf("the pause came back as %v, want %s", err, want)
	}
	if (*event.Pause)(nil).Err() != nil {
		t.Error("no pause is an error")
	}
}

func TestCommandsHaveSubjectsOfTheirOwn(t *testing.T) {
	for subject, want := range map[string]string{
		event.RawCommandsSubject("cloud", "amqp"):   "events.cursor.raw.cloud.amqp.commands",
		event.RawCommandsSubject("cloud", ""):       "events.cursor.raw.cloud._.commands",
		event.NormalizedCommandsSubject("commands"): "events.cursor.normalized.commands.commands",
	} {
		if subject != want || !event.IsCommands(subject) {
			t.Errorf("%s, want %s", subject, want)
		}
		if _, _, ok := event.SubjectProvider(subject); ok {
			t.Errorf("%s is taken for a cursor", subject)
		}
	}
	if event.IsCommands(event.NormalizedCursorSubject("cloud")) || event.IsCommands("events.raw.cloud.commands") {
		t.Error("what is no command is taken for one")
	}
}
