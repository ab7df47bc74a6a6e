package oslo

import (
	"testing"

	"stackstream/event"
)

// A trace context in the request's context is taken over, one that is none is not, and nothing else changes for it.
func TestTrace(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for members, want := range map[string]event.Trace{
		``: {},
		`"_context_traceparent":"` + parent + `",`:                                 {Parent: parent},
		`"_context_traceparent":"` + parent + `","_context_tracestate":"rojo=1",`:  {Parent: parent, State: "rojo=1"},
		`"_context_traceparent":"` + parent + `","_context_tracestate":{"a":"b"},`: {Parent: parent},
		`"_context_traceparent":"00-x","_context_tracestate":"rojo=1",`:            {},
		`"_context_traceparent":7,`:                                                {},
	} {
		body := notification(t, `{`+members+`"message_id":"m","event_type":"x.y","timestamp":"2026-11-22 06:06:06","payload":{}}`)
		got, err := newConverter(t).Convert(rawEvent(body))
		if err != nil || got.Trace != want || got.Events[0].MessageID != "m" {
			t.Errorf("%s makes %+v (%v), want %+v", members, got.Trace, err, want)
		}
	}
}
