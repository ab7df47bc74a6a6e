package normalizer

import (
	"testing"

	"stackstream/event"
)

type traced struct{ trace event.Trace }

func (traced) Name() string { return "traced/1" }

func (c traced) Convert(event.Raw) (Converted, error) {
	e := event.Event{MessageID: "a", EventType: "t"}
	e.Timestamp, _ = event.ParseTimestamp("2026-11-22T06:06:06Z")
	return Converted{Events: []event.Event{e}, Trace: c.trace}, nil
}

// What came with the message counts before what the body has; what is no trace context is as if it were not there.
func TestWhichTraceAnEventHas(t *testing.T) {
	const (
		message = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		body    = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	)
	for _, tc := range []struct {
		header map[string]string
		body   event.Trace
		want   event.Trace
	}{
		{nil, event.Trace{}, event.Trace{}},
		{nil, event.Trace{Parent: body, State: "a=b"}, event.Trace{Parent: body, State: "a=b"}},
		{map[string]string{"traceparent": message}, event.Trace{}, event.Trace{Parent: message}},
		{map[string]string{"traceparent": message, "tracestate": "c=d"}, event.Trace{Parent: body, State: "a=b"},
			event.Trace{Parent: message, State: "c=d"}},
		{map[string]string{"traceparent": message, "tracestate": "\r\n"}, event.Trace{}, event.Trace{Parent: message}},
		{map[string]string{"traceparent": "00-1-2-01", "tracestate": "c=d"}, event.Trace{Parent: body}, event.Trace{Parent: body}},
		{map[string]string{"traceparent": "00-1-2-01", "tracestate": "c=d"}, event.Trace{}, event.Trace{}},
	} {
		c := Conversion{Converters: map[string]Converter{"test": traced{tc.body}}}
		o := c.Convert(event.StoredRaw{Raw: event.Raw{ID: "a", Format: "test", Header: tc.header}}, nil)
		if o.Dead != nil || len(o.Events) != 1 || o.Trace != tc.want {
			t.Errorf("%v and %+v make %+v (%+v), want %+v", tc.header, tc.body, o.Trace, o.Dead, tc.want)
		}
	}
}
