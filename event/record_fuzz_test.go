package event_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// Whatever a record is, it is read or refused as Invalid, and what was read can be written, and is read as the same again:
// a writer carries over what it does not change.
func FuzzDecodeRecord(f *testing.F) {
	for _, s := range []string{
		`{"cursor":{"a":1},"watermark":"2026-11-22T12:00:00.123456789Z","dedupe_from":7,"position":9,"batch":"b","owner":"o","written_at":"2026-11-22T12:00:00Z"}`,
		`{"raw_seq":18446744073709551615,"raw_created":"9999-12-31T23:59:59.999999999-23:59","position":3,"sources":{"panko":{"position":1,"received":"0000-01-01T00:00:00+23:59"}}}`,
		`{"kind":"amqp","why":"\u0000\ud800","at":"0001-01-01T00:00:00Z"}`,
		`{"position":-1}`, `{"position":1e3}`, `{"position":18446744073709551616}`, `{"sources":{"":{}}}`, `{"sources":null}`, `null`, ``, `[]`, `{"Position":1,"position":2}`,
		`{"watermark":"2026-11-22T12:00:00+24:00"}`, `{"retired":1}`, `{"state":"running","sources":{"a":{"first":1,"last":18446744073709551615}},"halted":{},"gaps":[{}],"counts":{}}`, strings.Repeat(`{"cursor":`, 10_001) + strings.Repeat("}", 10_001),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var raw event.RawCursor
		if comesBack(t, body, &raw, &event.RawCursor{}) {
			// The times of a record are compared with one another, whatever they are.
			w := event.NewWatermark("cloud", "panko", raw, event.SourcePosition{})
			if w.LagEvents != uint64(raw.Position) || w.Lag < 0 {
				t.Fatalf("%+v", w)
			}
		}
		comesBack(t, body, &event.NormalizedCursor{}, &event.NormalizedCursor{})
		comesBack(t, body, &event.Choice{}, &event.Choice{})
		if r := (event.Replay{}); comesBack(t, body, &r, &event.Replay{}) {
			_ = r.Total()
		}
	})
}

func comesBack[T any](t *testing.T, body []byte, first, second *T) bool {
	t.Helper()
	if err := event.DecodeRecord(store(event.Message{Subject: "events.cursor.raw.cloud.panko", Body: body}), first); err != nil {
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "events.cursor.raw.cloud.panko") || len(err.Error()) > 500+2*len(body) {
			t.Fatalf("kind %v: %.500s", event.KindOf(err), err)
		}
		return false
	}
	written, err := json.Marshal(first)
	if err != nil {
		t.Fatalf("%+v was read and can't be written: %v", first, err)
	}
	if err := event.DecodeRecord(store(event.Message{Body: written}), second); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(second)
	if err != nil || string(again) != string(written) {
		t.Fatalf("%s is written, and then %s (%v)", written, again, err)
	}
	return true
}

// A reference that was written is read back; anything else is a reference that names nothing, or nothing good.
func FuzzBodyRefOf(f *testing.F) {
	f.Add("sha256-00", "5", []byte("hello"))
	f.Add("", "-1", []byte(nil))
	f.Add("a b", "9223372036854775808", []byte("\xff"))
	f.Fuzz(func(t *testing.T, object, size string, body []byte) {
		ref := event.BodyRefOf(event.Header{event.HeaderBodyObject: {object}, event.HeaderBodySize: {size}})
		if ref.Object != object || strconv.FormatInt(ref.Size, 10) != strings.TrimPrefix(size, "+") && ref == event.NewBodyRef(body) {
			t.Fatalf("%q and %q are %+v", object, size, ref)
		}
		m := event.Message{Header: event.Header{}, Body: body}
		event.SetBodyRef(&m, event.NewBodyRef(body))
		if diff := cmp.Diff(event.NewBodyRef(body), event.BodyRefOf(m.Header)); diff != "" || m.Body != nil {
			t.Fatal(diff)
		}
	})
}

// A canonical event that was written is read back as it was, whatever is in it: a text that is no UTF-8 loses what is none.
func FuzzEvent(f *testing.F) {
	f.Add("id", "a.b", "p", "instance", int64(0), []byte(`{"n":1.10}`))
	f.Add("\x00\u2028</script>", "\xff", "\ud7ff", "&", int64(-62135596800e6), []byte(`null`))
	f.Add("", "", "", "", int64(1<<60), []byte(`{`))
	f.Fuzz(func(t *testing.T, id, eventType, message, target string, micros int64, payload []byte) {
		at := time.UnixMicro(micros)
		if y := at.UTC().Year(); y < 1 || y > 9999 {
			return // no Timestamp is made of it
		}
		in := event.Event{
			MessageID: id, EventType: eventType, Message: message, Timestamp: event.NewTimestamp(at), Payload: payload,
			Targets: []event.Target{{Kind: target, ID: message}}, Context: &event.Context{UserID: target},
		}
		text, err := in.Encode()
		if valid := payload == nil || json.Valid(payload); valid != (err == nil) {
			t.Fatalf("payload %q: %v", payload, err)
		}
		if err != nil {
			return
		}
		if strings.ContainsAny(string(text), "\r\n") {
			t.Fatalf("more than a line: %q", text)
		}
		var out event.Event
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, err := out.Encode()
		if string(again) != string(text) && strings.Contains(string(text), `\ufffd`) {
			text = again // U+FFFD in place of what is no UTF-8 is written as an escape
		}
		if err != nil || string(again) != string(text) || !out.Timestamp.Time().Equal(in.Timestamp.Time()) {
			t.Fatalf("%s, and then %s (%v)", text, again, err)
		}
	})
}
