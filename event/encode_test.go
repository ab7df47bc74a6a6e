package event_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/event"
)

// An event is written as encoding/json writes it, byte for byte, whatever is in it.
func TestEncodeIsWhatEncodingJSONWrites(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"", "req-1", "\xff", "a\xc3", "\u2028\u2029", "<&>\"'\\/", "\x00\x1f\x7f\b\f\n\r\t", "größe 🐱", "\ufffd", "\xed\xa0\x80",
	}), rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) }))
	payload := rapid.SampledFrom([]json.RawMessage{
		nil, {}, json.RawMessage(`{}`), json.RawMessage(" [ 1.50 , {\t\"a\" :\r\nnull } ] "), json.RawMessage(`"\ud800\u003c<&> ` + "\u2028\xff\""),
		json.RawMessage(`{"a":"b: c, d" ,"a":-0E+7}`), json.RawMessage(`true `), json.RawMessage(`{"a":}`), json.RawMessage(`1 2`), json.RawMessage("\"\n\""),
	})
	rapid.Check(t, func(t *rapid.T) {
		e := event.Event{
			MessageID: text.Draw(t, "message_id"), EventType: text.Draw(t, "event_type"), Payload: payload.Draw(t, "payload"),
			Provider: event.Provider(text.Draw(t, "provider")), Source: event.Source(text.Draw(t, "source")),
			PublisherID: text.Draw(t, "publisher_id"), Priority: text.Draw(t, "priority"), ChainID: text.Draw(t, "chain_id"),
			Group: text.Draw(t, "group"), Level: text.Draw(t, "level"), Message: text.Draw(t, "message"),
		}
		switch digits := rapid.IntRange(-2, 9).Draw(t, "digits"); digits {
		case -2: // none at all
		case -1:
			e.Timestamp = event.NewTimestamp(time.Unix(rapid.Int64Range(-1<<36, 1<<38).Draw(t, "seconds"), 999_999_999))
		default:
			at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
			e.Timestamp, _ = event.ParseTimestamp(at.Format("2006-01-02T15:04:05.000000000")[:len("2006-01-02T15:04:05")+min(digits, 1)+digits])
		}
		if rapid.Bool().Draw(t, "has context") {
			e.Context = &event.Context{
				RequestID: text.Draw(t, "request_id"), UserID: text.Draw(t, "user_id"), UserName: text.Draw(t, "user_name"), ProjectID: text.Draw(t, "project_id"),
			}
		}
		e.Targets = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Target {
			return event.Target{Kind: text.Draw(t, "kind"), ID: text.Draw(t, "id")}
		}), 0, 3).Draw(t, "targets")
		if rapid.Bool().Draw(t, "has object") {
			e.BodyObject = &event.BodyObject{Bucket: text.Draw(t, "bucket"), Name: text.Draw(t, "name"), Size: rapid.Int64().Draw(t, "size")}
		}

		before := e
		got, err := e.Encode()
		if before.Payload == nil {
			before.Payload = json.RawMessage("{}")
		}
		var want bytes.Buffer
		reference := json.NewEncoder(&want)
		reference.SetEscapeHTML(false)
		if wrong := reference.Encode(&before); wrong != nil {
			if err == nil || err.Error() != wrong.Error() {
				t.Fatalf("error %v, want %v", err, wrong)
			}
			return
		}
		if err != nil || string(got)+"\n" != want.String() {
			t.Fatalf("%v\n%s, want\n%s", err, got, want.String())
		}
	})
}

// A payload that is known to be compact is written as it is, and another that takes its place is looked at.
func TestSetCompact(t *testing.T) {
	e := event.Event{MessageID: "m", EventType: "a.b", Timestamp: event.NewTimestamp(noon)}
	for _, c := range []struct {
		set  func()
		want string
	}{
		{func() { e.SetCompact(json.RawMessage(`{"a":[1,"x y"]}`)) }, `{"a":[1,"x y"]}`},
		{func() { e.Payload = json.RawMessage(`{ "a" : 1.0 }`) }, `{"a":1.0}`},
		{func() { e.SetCompact(json.RawMessage(`{}`)) }, `{}`},
		{func() { e.Payload = json.RawMessage(`x`) }, ""},
		{func() { e.SetCompact(nil) }, `{}`},
		{func() { e.SetCompact(json.RawMessage(`[1]`)); e.Payload = e.Payload[:1] }, ""},
		{func() { e.SetCompact(json.RawMessage{}) }, ""},
	} {
		c.set()
		body, err := e.Encode()
		if c.want == "" {
			if err == nil {
				t.Errorf("%s is written as %s", e.Payload, body)
			}
			continue
		}
		if err != nil || !bytes.Contains(body, []byte(`"payload":`+c.want+`,`)) {
			t.Errorf("want %s, got %s, %v", c.want, body, err)
		}
	}
}
