package publisher

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"

	"stackstream/event"
)

// Whatever an event has in it, its message is one that any server takes and that the CloudEvents SDK reads, and the body
// is the whole event.
func FuzzNormalizedMessage(f *testing.F) {
	f.Add("4fc5", "compute.instance.create.end", "instance", "i-1", "oslo/1", `{"a":1}`, 6, 2)
	f.Add("a\r\nNats-Rollup: all", "b\r\n\r\nbody", "\x00", "\xff", "%41", `null`, 0, 0)
	f.Add("", "", "", "", "", `"\u2028"`, 9, 1)
	f.Add(strings.Repeat("ü", 300), strings.Repeat("ü", 300), "host", strings.Repeat("h", 520), "x", `[]`, 1, 1)
	f.Add("\"\\ \t", "größe", "host", "\u0000", " ", "{", 3, 1)
	f.Fuzz(checkNormalized)
}

// The fuzzing engine takes long to shrink what is made of long seeds, so these are tried here.
func TestNormalizedMessageOfLongTexts(t *testing.T) {
	long := strings.Repeat("ü", 30_000)
	checkNormalized(t, long, long, long, long, "oslo/1", `[]`, 1, 1)
	checkNormalized(t, long, "", "", "", long, `[]`, 1, 1)
	checkNormalized(t, "id", "type", "", long, "", `"`+long+`"`, 1, 1)
}

func checkNormalized(t *testing.T, id, eventType, kind, target, converter, payload string, seconds, n int) {
	e := event.Event{
		MessageID: id, EventType: eventType, Timestamp: event.NewTimestamp(at(seconds % 1_000_000)), Message: target,
		Targets: []event.Target{{Kind: kind, ID: target}}, Payload: json.RawMessage(payload), Provider: provider, Source: source,
	}
	o := event.Outcome{Raw: storedRaw(1), Converter: converter, Redacted: n}
	for range 1 + max(0, n)%3 {
		o.Events = append(o.Events, e)
	}
	bodies := newBodies()
	messages := commitNormalized(t, bodies, Limits{MaxBody: 4000}, o)
	if messages[0].Subject == event.DeadSubject(provider) {
		if len(messages) != 2 || json.Valid([]byte(payload)) && len(id)+len(eventType)+len(payload) < 500 {
			t.Fatalf("%d messages; dead: %v", len(messages)-1, messages[0].Header)
		}
		return
	}
	for i, m := range messages[:len(messages)-1] {
		legal(t, m.Message)
		ce, err := binding.ToEvent(t.Context(), natsMessage{m.Message})
		if err != nil {
			t.Fatal(err)
		}
		if err := ce.Validate(); err != nil {
			t.Fatal(err)
		}
		bound := string(event.BoundID(event.ID(id)))
		if got := event.DecodeHeader(ce.ID()); bound != "" && got != bound {
			t.Fatalf("message %d has the id %q, want %q", i, got, bound)
		}
		if got := event.DecodeHeader(ce.Type()); got != cut(eventType, maxAttribute) && (eventType != "" || got != noType) {
			t.Fatalf("type %q of %q", got, eventType)
		}
		whole, err := bodies.whole(m.Message)
		if err != nil {
			t.Fatal(err)
		}
		var back, short event.Event
		if json.Unmarshal(whole, &back) != nil || json.Unmarshal(m.Body, &short) != nil {
			t.Fatalf("%s, %s", whole, m.Body)
		}
		if want := strings.ToValidUTF8(id, "\uFFFD"); utf8.ValidString(id) && (back.MessageID != want || short.MessageID != want) {
			t.Fatalf("ids %q and %q, want %q", back.MessageID, short.MessageID, want)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(payload)); err != nil || !bytes.Equal(compact.Bytes(), back.Payload) {
			t.Fatalf("payload %s, want %s", back.Payload, payload)
		}
	}
}

// Whatever a raw event has in it, its dead letter is a message that any server takes, and holds all of it: what does not
// fit is in objects.
func FuzzDeadLetter(f *testing.F) {
	f.Add("id", "oslo", "Evt-Exchange", "nova", "malformed", "body: empty", []byte("{"))
	f.Add("a\r\nNats-Rollup: all", "\r\n", "Evt-A: b\r\nc", "\r\n", "r\n", "panic: x\nmain.f f.go:1\n", []byte(nil))
	f.Add("", "", "Evt-Reason", "mine", "", "", []byte("\xff"))
	f.Fuzz(checkDead)
}

func TestDeadLetterOfLongTexts(t *testing.T) {
	long := strings.Repeat("\x00", 20_000)
	checkDead(t, long, long, "Evt-"+long, long, long, long, []byte(long))
	checkDead(t, "id", "oslo", "Evt-Exchange", long, "malformed", "body: empty", nil)
}

func checkDead(t *testing.T, id, format, name, value, reason, detail string, body []byte) {
	r := storedRaw(1)
	r.ID, r.Format, r.ContentType, r.Body = event.ID(id), format, value, body
	r.Header = map[string]string{name: value, "Evt-Routing-Key": value}
	bodies := newBodies()
	dead := &event.DeadLetter{Reason: event.Reason(cut(reason, 100)), Detail: detail}
	messages := commitNormalized(t, bodies, Limits{MaxBody: 4000}, event.Outcome{Raw: r, Dead: dead, Converter: "oslo/1"})
	m := messages[0].Message
	legal(t, m)
	whole, err := bodies.whole(m)
	if err != nil || !bytes.Equal(whole, body) {
		t.Fatalf("%v: body %q, want %q", err, whole, body)
	}
	h := m.Header
	if all := h.Get(event.HeaderAllObject); all != "" {
		h = event.Header{}
		if err := json.Unmarshal(bodies.objects[all], &h); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{ // of all headers
		event.HeaderID: string(event.BoundID(event.ID(id))), event.HeaderFormat: format, event.HeaderContentType: value,
		"Evt-Routing-Key": value, event.HeaderReason: cut(reason, 100), event.HeaderDetail: cut(detail, maxDetail),
	} {
		if got := event.DecodeHeader(h.Get(name)); got != want && name != "" {
			t.Fatalf("%s is %q, want %q", name, got, want)
		}
	}
	if got := event.DecodeHeader(m.Header.Get(event.HeaderDetail)); got != cut(detail, maxDetail) {
		t.Fatalf("the message itself says %q, want %q", got, detail)
	}
}

// legal finds fault with a message that a server would not take, or would take for another.
func legal(t *testing.T, m event.Message) {
	t.Helper()
	for name, values := range m.Header {
		if len(values) != 1 || name == "" || strings.ContainsAny(name, ": \r\n") || strings.HasPrefix(strings.ToLower(name), "nats-") {
			t.Fatalf("header %q: %q", name, values)
		}
		for i := range len(values[0]) {
			if c := values[0][i]; c <= ' ' || c >= 0x7f {
				t.Fatalf("header %q: %q", name, values[0])
			}
		}
	}
	if size := headerSize(m.Header); size > maxHeader {
		t.Fatalf("%d bytes of headers", size)
	}
	if len(m.Body) > 4000 {
		t.Fatalf("a body of %d bytes", len(m.Body))
	}
}
