package ceilometer

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/notification"
	"stackstream/internal/rawjson/rawjsontest"
	"stackstream/normalizer/normalizertest"
	"stackstream/normalizer/oslo"
)

// What is one identity to a collector is one to a subscriber, and what is two is two: on all roads, in the event as it is told.
func TestIdentitiesOfCanonicalEvents(t *testing.T) {
	one := func(id string) string {
		return `{"message_id": ` + id + `, "event_type": "a.b", "generated": "2026-11-22T05:42:09", "traits": []}`
	}
	rules, schema := normalizertest.Rules(t), normalizertest.NewSchema(t)
	for name, body := range map[string]func(id string) string{
		"a notification":      func(id string) string { return `{"message_id": ` + id + `, "event_type": "a.b", "payload": {}}` },
		"an event of a topic": func(id string) string { return `{"event_type": "event", "payload": [` + one(id) + `]}` },
		"one of more":         func(id string) string { return `{"event_type": "event", "payload": [` + one(id) + `, {}]}` },
	} {
		t.Run(name, func(t *testing.T) {
			rawjsontest.Distinct(t, func(r *rapid.T, quoted string) event.Raw {
				text := []byte(body(quoted))
				raws, _, _ := new(notification.Reader).Raws(event.Raw{Body: text, Received: rawEvent(nil).Received}, text, func(string) bool { return true })
				raw := raws[0]
				if raw.ID == "" {
					r.Fatalf("%q has no identity", text)
				}
				convert := New(rules).Convert
				if raw.Format == oslo.Format {
					convert = oslo.New(rules).Convert
				}
				converted, err := convert(raw)
				if err != nil || len(converted.Events) != 1 {
					r.Fatalf("%q: %d events, %v", text, len(converted.Events), err)
				}
				var told struct {
					MessageID event.ID `json:"message_id"`
				}
				if err := json.Unmarshal(schema.Encode(t, "x", converted.Events)[0], &told); err != nil || told.MessageID != raw.ID {
					r.Fatalf("%q is %q to the collector, and told as %q (%v)", text, raw.ID, told.MessageID, err)
				}
				return raw
			})
		})
	}
}

// The events of a notification that was stored whole have identities of their own, also those that bring none.
func TestIdentitiesWithinAWhole(t *testing.T) {
	one := func(id string) string {
		return `{` + id + `"event_type": "a.b", "generated": "2026-11-22T05:42:09", "traits": []}`
	}
	converted, err := newConverter(t).Convert(rawEvent([]byte(`{"event_type": "event", "payload": [` + strings.Join([]string{
		one(`"message_id": "a", `), one(""), one(`"message_id": "\ud800", `), one(`"message_id": "\udbff", `), one(`"message_id": 7, `),
	}, ",") + `]}`)))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range converted.Events {
		ids = append(ids, e.MessageID)
	}
	if got := strings.Join(ids, " "); got != "a raw-id.2 raw-id.3 raw-id.4 7" {
		t.Errorf("they are %s", got)
	}
}
