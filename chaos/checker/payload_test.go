package checker_test

import (
	"fmt"
	"testing"
	"time"

	"stackstream/chaos/checker"
)

// One event from hand to hand, and one thing of the canonical event changed.
func TestWhatAnEventSaysIsCompared(t *testing.T) {
	at := time.Date(2026, 11, 28, 1, 2, 3, 4000, time.UTC)
	const payload = `{"n": 12345678901234567890.10, "list": [1, 2], "text": "x"}`
	for name, c := range map[string]struct {
		eventType, time, payload string
		broken                   bool
	}{
		"the same":                       {"a.b", "2026-11-28T01:02:03.000004Z", payload, false},
		"other order, other white space": {"a.b", "2026-11-28T01:02:03.000004Z", `{"text":"x","list":[1,2],"n":12345678901234567890.10}`, false},
		"a digit is lost":                {"a.b", "2026-11-28T01:02:03.000004Z", `{"n": 12345678901234567890.1, "list": [1, 2], "text": "x"}`, true},
		"a member is lost":               {"a.b", "2026-11-28T01:02:03.000004Z", `{"n": 12345678901234567890.10, "list": [1, 2]}`, true},
		"a list is in another order":     {"a.b", "2026-11-28T01:02:03.000004Z", `{"n": 12345678901234567890.10, "list": [2, 1], "text": "x"}`, true},
		"another type":                   {"a.c", "2026-11-28T01:02:03.000004Z", payload, true},
		"another time":                   {"a.b", "2026-11-28T01:02:03.000005Z", payload, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := checker.New(checker.Options{Payloads: true})
			k.Handed(checker.Handed{Provider: "p", ID: "i", Body: []byte("raw"), Type: "a.b", At: at, Payload: []byte(payload)})
			k.Raw(checker.Message{Subject: "events.raw.p.s", Sequence: 1, Body: []byte("raw"), Header: map[string][]string{
				"Evt-Id": {"i"}, "Evt-Seq": {"1"},
			}})
			body := fmt.Sprintf(`{"message_id": "i", "event_type": %q, "timestamp": %q, "payload": %s, "provider": "p", "source": "s"}`,
				c.eventType, c.time, c.payload)
			k.Normalized(checker.Message{Subject: "events.normalized.p", Sequence: 1, Body: []byte(body), Header: map[string][]string{
				"Evt-Seq": {"1"}, "Evt-Raw-Seq": {"1"}, "Evt-Raw-Evt-Seq": {"1"}, "Evt-Raw-Source": {"s"}, "ce-specversion": {"1.0"},
				"ce-id": {"i"}, "ce-source": {"/providers/p"}, "ce-type": {c.eventType}, "ce-evtsource": {"s"},
			}})
			v := k.Verdict()
			switch {
			case v.OK() == c.broken:
				t.Error(v)
			case c.broken && (len(v.Found) != 1 || v.Found[0].Kind != checker.Altered):
				t.Error(v)
			}
		})
	}
}
