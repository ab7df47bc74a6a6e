package notification

import (
	"strings"
	"testing"

	"stackstream/event"
)

// What earlier versions stored as one event, they stored under the identity of the notification, of the message, or of its body.
func TestRawsSayWhatTheyWere(t *testing.T) {
	all := func(string) bool { return true }
	whole := travels["version 2"](listOf(eventOf("a"), eventOf("b")))
	nameless := strings.Replace(listOf(eventOf("a")), `"message_id": "envelope"`, `"other": 1`, 1)
	for _, tc := range []struct {
		body string
		id   event.ID
		want event.ID
	}{
		{whole, "of-the-message", "envelope"},
		{nameless, "of-the-message", "of-the-message"},
		{nameless, "", event.HashID([]byte(nameless))},
	} {
		raws, _, _ := new(Reader).Raws(event.Raw{ID: tc.id, Body: []byte(tc.body)}, []byte(tc.body), all)
		if len(raws) != strings.Count(tc.body, "traits") {
			t.Fatalf("%d events in %s", len(raws), tc.body)
		}
		for _, r := range raws {
			if r.Was != tc.want || r.ID != "a" && r.ID != "b" {
				t.Errorf("%s was %q, want %q", r.ID, r.Was, tc.want)
			}
		}
	}
	other := []byte(`{"event_type": "a.b"}`)
	if raws, _, _ := new(Reader).Raws(event.Raw{Body: other}, other, all); len(raws) != 1 || raws[0].Was != "" || raws[0].Format != Oslo {
		t.Errorf("%+v", raws)
	}
}
