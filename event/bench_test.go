package event_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackstream/event"
)

// canonical is what a recorded notification of nova became.
func canonical(b *testing.B) event.Event {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("..", "normalizer", "oslo", "testdata", "want", "nova.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var converted struct{ Events []event.Event }
		if err := json.Unmarshal([]byte(line), &converted); err == nil && len(converted.Events) > 0 && len(line) > 2000 {
			return converted.Events[0]
		}
	}
	b.Fatal("no event in the golden file")
	return event.Event{}
}

// BenchmarkEncode writes a canonical event as its message has it.
func BenchmarkEncode(b *testing.B) { benchmarkEncode(b, canonical(b)) }

// BenchmarkEncodeCompact writes one whose payload need not be looked at.
func BenchmarkEncodeCompact(b *testing.B) {
	e := canonical(b)
	var payload bytes.Buffer
	if err := json.Compact(&payload, e.Payload); err != nil {
		b.Fatal(err)
	}
	e.SetCompact(payload.Bytes())
	benchmarkEncode(b, e)
}

func benchmarkEncode(b *testing.B, e event.Event) {
	body, err := e.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRawMessage writes a raw event as a message of RAW, and reads it back.
func BenchmarkRawMessage(b *testing.B) {
	raw := event.Raw{
		ID: "0f4e1b9e-4b1c-4d0e-9c1e-000000000001", Time: noon.Add(-time.Second), Received: noon, Format: "oslo",
		ContentType: "application/json", Body: []byte("{}"),
		Header: map[string]string{"Evt-Exchange": "nova", "Evt-Routing-Key": "notifications.info"},
	}
	m := raw.Message("cloud", "amqp", 3, event.BodyRef{})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			raw.Message("cloud", "amqp", 3, event.BodyRef{})
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		stored := store(m)
		for b.Loop() {
			if _, err := event.ParseRaw(stored); err != nil {
				b.Fatal(err)
			}
		}
	})
}
