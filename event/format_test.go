package event_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

func isNewer(err error) bool {
	var newer *event.NewerError
	return errors.As(err, &newer)
}

func TestRecordsOfANewerFormatAreNotRead(t *testing.T) {
	for _, tt := range []struct {
		record string
		newer  bool
		wrong  bool
	}{
		{record: `{"position": 7}`},
		{record: `{"position": 7, "format": 1}`},
		{record: `{"position": 7, "not_known_here": {"a": [1]}}`},
		{record: `{"position": 7, "format": 3}`, newer: true},
		{record: `{"position": {"shape": "another"}, "format": 99}`, newer: true},
		{record: `{"position": 7, "format": -1}`, wrong: true},
		{record: `{"position": 7, "format": "3"}`, wrong: true},
		{record: `{"position": 7, "format": 1.5}`, wrong: true},
		{record: `{"position": "7"}`, wrong: true},
		{record: `{`, wrong: true},
	} {
		var c event.RawCursor
		err := event.DecodeRecord(event.Stored{Message: event.Message{Subject: "events.cursor.raw.p.s", Body: []byte(tt.record)}}, &c)
		switch {
		case isNewer(err) != tt.newer || (err != nil) != (tt.newer || tt.wrong):
			t.Errorf("%s gives %v", tt.record, err)
		case err != nil && (event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "events.cursor.raw.p.s")):
			t.Errorf("%s gives %v", tt.record, err)
		case tt.newer && c.Position != 0:
			t.Errorf("of %s the position was read: %d", tt.record, c.Position)
		case err == nil && c.Position != 7:
			t.Errorf("of %s the position is %d", tt.record, c.Position)
		}
	}
	err := event.Decode([]byte(`{"format": 3}`), 2, &struct{}{})
	if want := "written by a newer stackstream (format 3, this one reads up to 2): run that version again, or one that is newer still"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// A version that does not know about formats must be able to go on with what this one writes.
func TestWhatIsWrittenHasTheFirstFormat(t *testing.T) {
	now := time.Now()
	for _, record := range []any{
		event.RawCursor{Position: 1, WrittenAt: now}, event.NormalizedCursor{Position: 1, WrittenAt: now}, event.Choice{Kind: "x"},
		event.Replay{Position: 1, WrittenAt: now, Halted: &event.Pause{By: "x"}},
	} {
		text, err := json.Marshal(record)
		if err != nil || strings.Contains(string(text), "format") {
			t.Errorf("%T is written as %s (%v)", record, text, err)
		}
	}
	r := event.Raw{ID: "a", Received: now, Header: map[string]string{event.HeaderMessageFormat: "9", "Evt-Queue": "q"}}
	m := r.Message("p", "s", 1, event.BodyRef{})
	if m.Header.Get(event.HeaderMessageFormat) != "" || m.Header.Get("Evt-Queue") != "q" {
		t.Errorf("a source sets the format of its messages: %v", m.Header)
	}
}

func TestMessagesOfANewerFormatAreNotRead(t *testing.T) {
	for text, want := range map[string]string{
		"": "read", "1": "read", "2": "read", "3": "newer", "99": "newer", "0": "wrong", "-1": "wrong", "two": "wrong", "1.0": "wrong",
	} {
		r := event.Raw{ID: "a", Received: time.Now()}
		m := r.Message("p", "s", 1, event.BodyRef{})
		m.Header.Set(event.HeaderMessageFormat, text)
		parsed, err := event.ParseRaw(event.Stored{Message: m, Sequence: 5})
		got := "read"
		switch {
		case isNewer(err):
			got = "newer"
		case err != nil:
			got = "wrong"
		}
		if got != want || err != nil && (event.KindOf(err) != event.Invalid || parsed.ID != "") {
			t.Errorf("format %q gives %+v, %v", text, parsed, err)
		}
	}
}
