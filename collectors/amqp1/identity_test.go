package amqp1

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/notification"
	"stackstream/internal/rawjson/rawjsontest"
)

// identified are the raw events that the source makes of a message.
func identified(t interface{ Fatalf(string, ...any) }, payload string) []event.Raw {
	raw, no := open(&parcel{payload: []byte(payload), size: len(payload)}, 1<<20, "a")
	if no != nil {
		t.Fatalf("%q is rejected: %+v", payload, no)
	}
	if raw.Format != "" {
		return []event.Raw{raw}
	}
	raws, _, _ := new(notification.Reader).Raws(raw, raw.Body, func(string) bool { return true })
	for i := range raws {
		if raws[i].ID == "" {
			raws[i].ID, raws[i].Hashed = event.HashID(raws[i].Body), true
		}
	}
	return raws
}

// binary of any length, as str and bin are of short ones.
func long(kind byte, b string) []byte {
	n := len(b)
	return append([]byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, b...)
}

// The identity of a notification is its own, whatever the message is numbered.
func TestIdentitiesOfMessages(t *testing.T) {
	numbered := string(described(0x73, list([]byte{0x53, 7})))
	for name, message := range map[string]func(body string) string{
		"data": func(body string) string { return string(described(0x75, long(0xb0, body))) },
		"text": func(body string) string { return numbered + string(described(0x77, long(0xb1, body))) },
	} {
		t.Run(name, func(t *testing.T) {
			rawjsontest.Distinct(t, func(t *rapid.T, quoted string) event.Raw {
				return identified(t, message(`{"message_id": `+quoted+`, "event_type": "a.b", "payload": {"x": "\udcff"}}`))[0]
			})
		})
	}
}

// What is no notification is known by its message-id, if that is one that nobody else has; and if not, by all that is the sender's
// own. So it is known again, whoever hands it over, however often.
func TestIdentitiesOfWhatIsNoNotification(t *testing.T) {
	number := func(n byte) []byte { return described(0x73, list([]byte{0x53, n})) }
	large := described(0x73, list([]byte{0x80, 0, 0, 0, 1, 0, 0, 0, 7}))
	uuid := described(0x73, list(append([]byte{0x98}, bytes.Repeat([]byte{0xab}, 16)...)))
	none, body := described(0x73, list(null)), []byte(data("x"))
	value, sequence := described(0x77, u32(7)), described(0x76, list(str("a")))
	// All that may be different when it comes again: the header, what is said to the next alone, what brokers add, the footer.
	nothing := []byte{0xc1, 1, 0}
	beside := func(count byte) (before, after []byte) {
		before = slices.Concat(described(0x70, list(yes, u8(4), null, null, u32(uint32(count)))), described(0x71, nothing), described(0x72, nothing))
		return before, described(0x78, nothing)
	}
	seen := map[event.ID]string{}
	for _, test := range []struct {
		name    string
		message [][]byte
		want    event.ID // "": a hash
	}{
		{"text", [][]byte{described(0x73, list(str("of-the-message"))), body}, "of-the-message"},
		{"a UUID", [][]byte{uuid, body}, "abababab-abab-abab-abab-abababababab"},
		{"number 1", [][]byte{number(1), body}, ""},
		{"number 2", [][]byte{number(2), body}, ""},
		{"a large number", [][]byte{large, body}, ""},
		{"number 1 of another sender", [][]byte{described(0x73, list([]byte{0x53, 1}, bin("bob"))), body}, ""},
		{"number 1 with another body", [][]byte{number(1), []byte(data("y"))}, ""},
		{"text that is a number", [][]byte{described(0x73, list(str("1"))), body}, "1"},
		{"bytes", [][]byte{described(0x73, list(bin("ab"))), body}, ""},
		{"text that is these bytes", [][]byte{described(0x73, list(str("6162"))), body}, "6162"},
		{"text that is none", [][]byte{described(0x73, list(str("\xff"))), body}, ""},
		{"other text that is none", [][]byte{described(0x73, list(str("\xfe"))), body}, ""},
		{"number 1 of a value", [][]byte{number(1), value}, ""},
		{"number 2 of a value", [][]byte{number(2), value}, ""},
		{"a value", [][]byte{none, value}, ""},
		{"a sequence", [][]byte{sequence}, ""},
		{"a described value", [][]byte{described(0x77, described(0x01, u32(7)))}, ""},
		{"no id", [][]byte{[]byte(data("z"))}, event.HashID([]byte("z"))},
	} {
		payload := string(slices.Concat(test.message...))
		got := identified(t, payload)[0]
		if other, is := seen[got.ID]; is {
			t.Errorf("%s and %s are both %q", test.name, other, got.ID)
		}
		seen[got.ID] = test.name
		if test.want != "" && got.ID != test.want || test.want == "" && (!got.Hashed || len(got.ID) != 64) {
			t.Errorf("%s is %q, a hash: %v", test.name, got.ID, got.Hashed)
		}
		for count := range byte(3) {
			before, after := beside(count)
			if again := identified(t, string(before)+payload+string(after))[0]; again.ID != got.ID {
				t.Errorf("%s is %q, and when it comes again %q", test.name, got.ID, again.ID)
			}
		}
	}
}

// A message that is no notification and comes again, because the peer never got to know, is stored once; another sender's with the same
// number is another one.
func TestNumbersOfTwoSenders(t *testing.T) {
	t.Parallel()
	message := func(count byte, body string) string {
		return string(described(0x70, list(yes, u8(4), null, null, u32(uint32(count))))) + string(described(0x73, list([]byte{0x53, 1}))) + body
	}
	last := notified("last")
	peer := newPeer(t, func(l *peerLink) {
		l.send(message(0, data("of one")))
		l.send(message(0, data("of another")))
		l.send(message(1, data("of one")))
		l.send(message(0, string(described(0x77, u32(7)))))
		l.send(message(1, string(described(0x77, u32(7)))))
		l.send(data(last))
		l.await(func() bool { return len(l.outcomes) >= 6 })
	})
	r := newRig(t, config(peer.addr(), "a"))
	stop := r.run()
	defer stop()
	r.eventually("the last", func() bool { return slices.Contains(r.ids(), "last") })
	var bodies []string
	for _, e := range r.log.Events(cloud) {
		bodies = append(bodies, string(e.Body))
	}
	want := []string{"of one", "of another", message(0, string(described(0x77, u32(7)))), last}
	if !slices.Equal(bodies, want) {
		t.Errorf("stored was %q", bodies)
	}
}

// Of what can be read all is found that is the sender's own, whatever it is written like.
func TestBare(t *testing.T) {
	ulong := func(code byte, value []byte) []byte {
		return slices.Concat([]byte{0, 0x80, 0, 0, 0, 0, 0, 0, 0, code}, value)
	}
	body := string(described(0x75, long(0xb0, strings.Repeat("x", 300))))
	for name, test := range map[string]struct{ payload, want string }{
		"nothing beside":    {body, body},
		"a header":          {string(described(0x70, []byte{0x45})) + body, body},
		"numbers at length": {string(ulong(0x70, []byte{0x45})) + string(ulong(0x72, []byte{0xc1, 1, 0})) + body + string(ulong(0x78, []byte{0xc1, 1, 0})), body},
		"one in a body":     {body + string(described(0x77, described(0x70, list(u32(1))))), body + string(described(0x77, described(0x70, list(u32(1)))))},
		"empty":             {"", ""},
	} {
		m, err := readMessage([]byte(test.payload))
		if err != nil || string(m.bare) != test.want {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}
