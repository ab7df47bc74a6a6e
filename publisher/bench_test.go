package publisher

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

const benchEvents = 500

func BenchmarkRawBatch(b *testing.B) {
	body := []byte(strings.Repeat("x", 800))
	events := make([]event.Raw, benchEvents)
	for i := range events {
		events[i] = storedRaw(i + 1).Raw
		events[i].Body = body
	}
	raw := NewRaw(&stream{}, newBodies(), provider, source, event.Fence{}, Options{})
	b.ReportAllocs()
	for b.Loop() {
		if p := raw.build(events, time.Time{}, raw.maxBody); len(p.messages) != benchEvents {
			b.Fatal(len(p.messages))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEvents, "ns/event")
}

func BenchmarkNormalizedBatch(b *testing.B) {
	ts := event.NewTimestamp(at(0))
	payload := json.RawMessage(`{"text":"` + strings.Repeat("x", 600) + `","n":123456}`)
	outcomes := make([]event.Outcome, benchEvents)
	for i := range outcomes {
		outcomes[i] = event.Outcome{Raw: storedRaw(i + 1), Converter: "oslo/1", Events: []event.Event{{
			MessageID: "3f2b7c1e-95a4-4a55-8f6b-0c3f6f0a9d11", EventType: "compute.instance.create.end", Timestamp: ts,
			Provider: provider, Source: source, Payload: payload, Targets: []event.Target{{Kind: "instance", ID: "i-1"}},
		}}}
	}
	norm := NewNormalized(&stream{}, newBodies(), provider, Options{})
	b.ReportAllocs()
	for b.Loop() {
		if p, n := norm.build(outcomes, norm.maxBody); n != benchEvents || len(p.messages) != benchEvents {
			b.Fatal(n, len(p.messages))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEvents, "ns/event")
}
