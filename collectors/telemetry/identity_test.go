package telemetry

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/rawjson/rawjsontest"
)

// Whatever message_ids a service hands out, two are one only if they are the same.
func TestIdentitiesOfEvents(t *testing.T) {
	rawjsontest.Distinct(t, func(t *rapid.T, quoted string) event.Raw {
		body := `{"message_id": ` + quoted + `, "event_type": "x", "generated": "2026-01-02T03:04:05", "raw": {"name": "\udcff` + "\xff" + `", "n": NaN}}`
		elements, err := decodePage([]byte("[" + body + "]"))
		if err != nil || len(elements) != 1 {
			t.Fatalf("%d elements, %v", len(elements), err)
		}
		r := elements[0].Reading
		if r.Vague != slices.Contains(r.Odd, "not-utf8") || len(r.Odd) > 1 {
			t.Fatalf("%+v", r)
		}
		if r.Vague {
			return event.Raw{Body: []byte(body)}
		}
		return event.Raw{ID: event.ID(r.ID), Body: []byte(body)}
	})
}
