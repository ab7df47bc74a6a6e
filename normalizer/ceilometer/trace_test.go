package ceilometer

import (
	"testing"

	"stackstream/event"
)

// A trace context that the definitions make a trait of, or that stands in the notification behind the event, is taken over.
func TestTrace(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for members, want := range map[string]event.Trace{
		`"traits":[]`: {},
		`"traits":[{"name":"traceparent","type":"string","value":"` + parent + `"},{"name":"tracestate","type":"string","value":"a=b"}]`: {
			Parent: parent, State: "a=b"},
		`"traits":[["traceparent",1,"` + parent + `"]]`:                                {Parent: parent},
		`"traits":[["traceparent",1,"00-x"]]`:                                          {},
		`"traits":[],"raw":{"ctxt":{"traceparent":"` + parent + `","request_id":"r"}}`: {Parent: parent},
	} {
		body := `{"message_id":"m","event_type":"x.y","generated":"2026-11-22T06:06:06",` + members + `}`
		got, err := newConverter(t).Convert(rawEvent([]byte(body)))
		if err != nil || got.Trace != want || got.Events[0].MessageID != "m" {
			t.Errorf("%s makes %+v (%v), want %+v", members, got.Trace, err, want)
		}
	}
}
