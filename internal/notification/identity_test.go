package notification

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/rawjson/rawjsontest"
)

// quotedAsItIs is a string of JSON that holds a text; all bytes of it are kept.
func quotedAsItIs(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// Whatever ids services hand out, and in whatever form a notification travels, two are one identity only if they are the same.
func TestIdentitiesOfNotifications(t *testing.T) {
	v2 := func(s string) string { return `{"oslo.version": "2.0", "oslo.message": ` + quotedAsItIs(s) + `}` }
	notify := func(id string) string {
		return `{"message_id": ` + id + `, "event_type": "a.b", "payload": {"name": "\udcff ` + "\xff" + `"}, "timestamp": "2026-11-22 05:42:09"}`
	}
	one := func(id string) string {
		return `{"message_id": ` + id + `, "event_type": "a.b", "generated": "2026-11-22T05:42:09", "traits": []}`
	}
	for name, body := range map[string]func(id string) string{
		"version 1":      notify,
		"version 2":      func(id string) string { return v2(notify(id)) },
		"over AMQP 1.0":  func(id string) string { return `{"request": ` + v2(notify(id)) + `, "context": {}}` },
		"an object":      func(id string) string { return `{"oslo.version": "2.0", "oslo.message": ` + notify(id) + `}` },
		"a list of one":  func(id string) string { return v2(listOf(one(id))) },
		"a list of more": func(id string) string { return v2(listOf(one(id), one(`"z"`))) },
		"a bare list":    func(id string) string { return listOf(one(id), one(`"z"`)) },
		"beside another": func(id string) string { return listOf(one(`"\udbff`+"\xfe"+`"`), one(id)) },
		// Escapes of the string around it, and not of its own.
		"escaped outside": func(id string) string {
			if strings.Contains(id, `\"`) || strings.Contains(id, `\\`) {
				return v2(notify(id))
			}
			return `{"oslo.version": "2.0", "oslo.message": ` + strings.ReplaceAll(quotedAsItIs(notify(id)), `\\u`, `\u`) + `}`
		},
		"a list that is escaped outside": func(id string) string {
			if strings.Contains(id, `\"`) || strings.Contains(id, `\\`) {
				return v2(listOf(one(id)))
			}
			return `{"oslo.version": "2.0", "oslo.message": ` + strings.ReplaceAll(quotedAsItIs(listOf(one(id), one(id))), `\\u`, `\u`) + `}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			rawjsontest.Distinct(t, func(t *rapid.T, quoted string) event.Raw {
				text := body(quoted)
				message := event.Raw{ID: "of-the-message", Hashed: true, Body: []byte(text)}
				raws, _, _ := new(Reader).Raws(message, message.Body, func(string) bool { return true })
				if len(raws) == 0 {
					t.Fatalf("nothing is made of %q", text)
				}
				if name == "beside another" {
					return raws[1]
				}
				return raws[0]
			})
		})
	}
}

// What an earlier version stored whole is not known by an identity that others may have, too.
func TestVagueEnvelopes(t *testing.T) {
	for id, want := range map[string]event.ID{`"e"`: "e", `"\ud800"`: "", "\"\xff\"": ""} {
		body := []byte(strings.Replace(listOf(eventOf("a"), eventOf("b")), `"envelope"`, id, 1))
		raws, _, _ := new(Reader).Raws(event.Raw{Body: body}, body, func(string) bool { return true })
		if len(raws) != 2 || raws[0].Was != want || raws[1].ID != "b" || raws[0].Header[HeaderEnvelope] != string(want) {
			t.Errorf("%q: %+v", id, raws)
		}
	}
}
