package httpevent_test

import (
	"testing"

	"stackstream/event"
	"stackstream/internal/mapping"
)

// A mapping says where a record has its trace context. Not having one costs nothing.
func TestTrace(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	mapped := mapping.Config{Type: `"x"`, Traceparent: "rec.trace.parent", Tracestate: "rec.trace.?state"}
	for body, want := range map[string]event.Trace{
		`{"trace":{"parent":"` + parent + `","state":"a=b"}}`: {Parent: parent, State: "a=b"},
		`{"trace":{"parent":"` + parent + `"}}`:               {Parent: parent},
		`{"trace":{"parent":"4bf92f3577b34da6"}}`:             {},
		`{}`: {},
	} {
		got, err := converter(t, mapped).Convert(raw(body))
		if err != nil || got.Trace != want {
			t.Errorf("%s makes %+v (%v), want %+v", body, got.Trace, err, want)
		}
	}
	if got, err := converter(t, mapping.Config{Type: `"x"`}).Convert(raw(`{"traceparent":"` + parent + `"}`)); err != nil || got.Trace != (event.Trace{}) {
		t.Errorf("without a mapping it is %+v (%v)", got.Trace, err)
	}
}

// A mapping that is as it was has the version that it had.
func TestVersionOfAMapping(t *testing.T) {
	plain := mapping.Config{ID: "rec.id", Type: "rec.a", Targets: map[string]string{"x": "rec.x"}}
	if got := converter(t, plain).Name(); got != "http/1-16449cac" {
		t.Errorf("the name is %s", got)
	}
	plain.Traceparent = "rec.trace"
	if got := converter(t, plain).Name(); got == "http/1-16449cac" {
		t.Error("a trace context does not change the version")
	}
}
