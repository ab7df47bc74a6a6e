package event_test

import (
	"bytes"
	"testing"
	"time"

	"stackstream/event"
)

// Whatever stands among the dead letters, it is read or refused as Invalid; and what is read can be put into RAW, and read there.
func FuzzLetter(f *testing.F) {
	f.Add("events.dead.cloud", "3", "id", "2026-11-22T05:42:09Z", "redrive", "7", "nova", "", []byte(`{}`))
	f.Add("events.dead.cloud", "18446744073709551615", "", "yesterday", "A.b", "x", "%", "99", []byte("\xff"))
	f.Add("events.dead.a.b", "1", "%00", "", "", "", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, subject, number, id, at, source, letter, value, format string, body []byte) {
		h := event.Header{
			event.HeaderSeq: {number}, event.HeaderID: {id}, event.HeaderTime: {at}, event.HeaderReceived: {at}, event.HeaderRawSource: {source},
			event.HeaderRedriven: {letter}, event.HeaderRawSeq: {letter}, event.HeaderReason: {value}, event.HeaderDetail: {value},
			event.HeaderOriginSource: {source}, "Evt-X": {value}, "Nats-Stream-Source": {value}, event.HeaderBodySize: {letter}, "Empty": nil,
		}
		if format != "" {
			h.Set(event.HeaderMessageFormat, format)
		}
		m := event.Stored{Message: event.Message{Subject: subject, Header: h, Body: body}, Sequence: 5, Time: time.Unix(1, 0)}
		l, err := event.ParseLetter(m)
		if err != nil {
			if event.KindOf(err) != event.Invalid {
				t.Fatalf("kind %v: %v", event.KindOf(err), err)
			}
			return
		}
		if l = l.WithHeaders(event.Header{event.HeaderSeq: {"1"}, "Evt-More": {"m"}}); l.Stored.Get(event.HeaderSeq) != number {
			t.Fatalf("the message's headers do not count: %v", l.Stored)
		}
		for _, drop := range []bool{false, true} {
			raw := l.Again(drop, "ada", value, body)
			again, err := event.ParseRaw(event.Stored{Message: raw.Message("cloud", event.SourceRedrive, 1, event.BodyRef{})})
			if err != nil {
				t.Fatalf("in RAW: %v", err)
			}
			if again.Repair == nil || again.Repair.Letter != l.Number || again.Repair.Drop != drop || again.Drops() != drop ||
				again.ID == "" || !drop && (!bytes.Equal(again.Body, body) || again.Header["Evt-X"] != l.Header["Evt-X"]) {
				t.Fatalf("%+v became %+v", l, again)
			}
		}
	})
}
