package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// What the hand-tuned chain makes of real notifications is right, so that it is not fast by leaving work out.
func TestConvert(t *testing.T) {
	files, err := filepath.Glob("../../normalizer/oslo/testdata/recorded/nova*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var room []byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			var recorded struct{ Body string }
			var envelope map[string]string
			var want, got map[string]json.RawMessage
			if json.Unmarshal(lines.Bytes(), &recorded) != nil || json.Unmarshal([]byte(recorded.Body), &envelope) != nil ||
				json.Unmarshal([]byte(envelope["oslo.message"]), &want) != nil {
				t.Fatalf("%s: %s", file, lines.Text())
			}
			out, err := convert([]byte(recorded.Body), &room)
			if err != nil {
				t.Fatalf("%v: %s", err, recorded.Body)
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, name := range []string{"message_id", "event_type", "timestamp", "payload"} {
				if len(want[name]) == 0 || !bytes.Equal(want[name], got[name]) {
					t.Errorf("%s is %s, sent was %s", name, got[name], want[name])
				}
			}
		}
	}
}

func BenchmarkConvert(b *testing.B) {
	text, err := os.ReadFile("../../normalizer/oslo/testdata/recorded/nova.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	var recorded struct{ Body string }
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if err := json.Unmarshal(line, &recorded); err != nil {
		b.Fatal(err)
	}
	body, room := []byte(recorded.Body), []byte(nil)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := convert(body, &room); err != nil {
			b.Fatal(err)
		}
	}
}
