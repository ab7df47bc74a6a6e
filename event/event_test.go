package event_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

func TestEncode(t *testing.T) {
	ts, err := event.ParseTimestamp("2026-11-22 05:42:09.830000")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		event event.Event
		want  string
	}{
		{
			"the zero event", event.Event{},
			`{"message_id":"","event_type":"","timestamp":"","payload":{},"provider":"","source":""}`,
		},
		{
			"numbers keep every digit, and the payload is on one line",
			event.Event{MessageID: "a", Payload: json.RawMessage("{\"n\": 12345678901234567890.10,\n \"e\": 1E400, \"z\": -0}")},
			`{"message_id":"a","event_type":"","timestamp":"",` +
				`"payload":{"n":12345678901234567890.10,"e":1E400,"z":-0},"provider":"","source":""}`,
		},
		{
			"no HTML escapes",
			event.Event{MessageID: "<&>", Payload: json.RawMessage(`{"<a>":"&<>","u":"\u003c"}`)},
			`{"message_id":"<&>","event_type":"","timestamp":"","payload":{"<a>":"&<>","u":"\u003c"},` +
				`"provider":"","source":""}`,
		},
		{
			"a payload that is no object", event.Event{Payload: json.RawMessage("null")},
			`{"message_id":"","event_type":"","timestamp":"","payload":null,"provider":"","source":""}`,
		},
		{
			"everything",
			event.Event{
				MessageID: "a", EventType: "t", Timestamp: ts, Payload: json.RawMessage(`[]`), Provider: "p", Source: "s",
				PublisherID: "compute.h", Priority: "info", Context: &event.Context{RequestID: "r", UserID: "u"},
				Targets: []event.Target{{Kind: "instance", ID: "i"}}, ChainID: "c", Group: "power", Level: "warning",
				Message: "m", BodyObject: &event.BodyObject{Bucket: "b", Name: "n", Size: 1},
			},
			`{"message_id":"a","event_type":"t","timestamp":"2026-11-22T05:42:09.830000Z","payload":[],"provider":"p",` +
				`"source":"s","publisher_id":"compute.h","priority":"info","context":{"request_id":"r","user_id":"u"},` +
				`"targets":[{"kind":"instance","id":"i"}],"chain_id":"c","group":"power","level":"warning","message":"m",` +
				`"body_object":{"bucket":"b","name":"n","size":1}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.event
			got, err := tt.event.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			if tt.event.Payload == nil != (before.Payload == nil) {
				t.Error("the event itself was changed")
			}
		})
	}
}

func TestEncodeRefusesWhatIsNotJSON(t *testing.T) {
	for _, payload := range []string{"", "{", "NaN", `{"a":Infinity}`, "{}{}", `{"a":01}`, `"` + "\n" + `"`} {
		e := event.Event{Payload: json.RawMessage(payload)}
		if got, err := e.Encode(); err == nil {
			t.Errorf("payload %q: %s", payload, got)
		}
	}
}
