package jetstream

import (
	"fmt"
	"strings"
	"testing"

	"stackstream/event"
)

// BenchmarkMessages makes what is published of a batch of 500 events, and looks whether the server takes it.
func BenchmarkMessages(b *testing.B) {
	const events = 500
	batch := event.Batch{Cursor: event.Message{Subject: "events.cursor.raw.cloud.amqp", Body: []byte("{}")}, Expect: 7,
		Fence: event.Fence{Subject: "events.cursor.raw.cloud", Sequence: 3}}
	body := []byte(strings.Repeat("x", 2400))
	for i := range events {
		h := event.NewHeaders(7)
		for name, value := range map[string]string{
			"Evt-Id": fmt.Sprintf("0f4e1b9e-4b1c-4d0e-9c1e-%012d", i), "Evt-Seq": fmt.Sprint(i), "Evt-Format": "oslo",
			"Evt-Received": "2026-11-22T12:00:00.123456789Z", "Evt-Time": "2026-11-22T12:00:00.123456Z",
			"Evt-Exchange": "nova", "Evt-Routing-Key": "notifications.info",
		} {
			h.Set(name, value)
		}
		batch.Messages = append(batch.Messages, event.Message{Subject: "events.raw.cloud.amqp", Header: h.Header, Body: body})
	}
	b.ReportAllocs()
	for b.Loop() {
		messages := buildMessages(event.StreamRaw, batch)
		if err := checkSizes(messages, 1<<20, -1); err != nil || len(messages) != events+1 {
			b.Fatal(len(messages), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
}
