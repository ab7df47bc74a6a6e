package publisher

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/extensions"

	"stackstream/event"
)

// The trace context is the CloudEvents extension of that name, and what tracing reads of any message.
func TestTraceOfANormalizedMessage(t *testing.T) {
	trace := event.Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: `rojo=00f067aa0ba902b7, congo=t61 %`}
	state := "rojo=00f067aa0ba902b7,%20congo=t61%20%25"
	for _, want := range []struct {
		trace  event.Trace
		header map[string]string
	}{
		{event.Trace{}, map[string]string{}},
		{event.Trace{Parent: trace.Parent}, map[string]string{"traceparent": trace.Parent, "ce-traceparent": trace.Parent}},
		{trace, map[string]string{
			"traceparent": trace.Parent, "ce-traceparent": trace.Parent, "tracestate": state, "ce-tracestate": state,
		}},
	} {
		stored := commitNormalized(t, newBodies(), Limits{},
			event.Outcome{Raw: storedRaw(1), Events: make([]event.Event, 1), Trace: want.trace})
		for _, name := range []string{"traceparent", "tracestate", "ce-traceparent", "ce-tracestate"} {
			if values, got := stored[0].Header[name]; got != (want.header[name] != "") || got && values[0] != want.header[name] {
				t.Errorf("%+v: %s is %q, want %q", want.trace, name, values, want.header[name])
			}
		}
		ce, err := binding.ToEvent(t.Context(), natsMessage{stored[0].Message})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := extensions.GetDistributedTracingExtension(*ce); ok != (want.trace.Parent != "") || got.TraceParent != want.trace.Parent {
			t.Errorf("%+v: the SDK reads %+v", want.trace, got)
		}
	}
}
