package oslo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/normalizer/normalizertest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recording is one line of a recorded file: a notification as it came out of the broker.
type recording struct {
	Exchange    string   `json:"exchange"`
	RoutingKeys []string `json:"routing_keys"`
	Body        string   `json:"body"`
}

func readRecordings(t testing.TB, path string) []recording {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []recording
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		var r recording
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, r)
	}
	return out
}

func recorded(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/recorded/*.jsonl")
	if err != nil || len(paths) < 8 {
		t.Fatalf("found %d files, %v", len(paths), err)
	}
	return paths
}

func newConverter(t testing.TB) *Converter { return New(normalizertest.Rules(t)) }

func rawEvent(body string) event.Raw {
	return event.Raw{
		ID: "raw-id", Format: Format, Body: []byte(body),
		Received: time.Date(2026, 11, 22, 7, 0, 0, 123456789, time.UTC),
	}
}

// notification is the body of one with the members given, in an envelope.
func notification(t testing.TB, members string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"oslo.version": "2.0", "oslo.message": members})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// convert returns the one event that the body makes.
func convert(t testing.TB, body string) event.Event {
	t.Helper()
	converted, err := newConverter(t).Convert(rawEvent(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(converted.Events) != 1 {
		t.Fatalf("%d events", len(converted.Events))
	}
	return converted.Events[0]
}

func targetsOf(e event.Event) string {
	var out []string
	for _, t := range e.Targets {
		out = append(out, t.Kind+" "+t.ID)
	}
	return strings.Join(out, ", ")
}

// Every recorded notification makes an event; testdata/want has, line by line, which.
func TestGolden(t *testing.T) {
	converter, schema := newConverter(t), normalizertest.NewSchema(t)
	for _, path := range recorded(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var got bytes.Buffer
			for i, r := range readRecordings(t, path) {
				raw := rawEvent(r.Body)
				converted, err := converter.Convert(raw)
				if err != nil {
					t.Errorf("line %d: %v", i+1, err)
					continue
				}
				if string(raw.Body) != r.Body {
					t.Errorf("line %d: the converter changed the raw body", i+1)
				}
				writeLine(t, &got, map[string]any{
					"events": schema.Encode(t, "amqp", converted.Events), "redacted": converted.Redacted, "mended": converted.Mended,
				})
			}
			golden(t, filepath.Join("testdata/want", filepath.Base(path)), got.Bytes())
		})
	}
}

func writeLine(t *testing.T, b *bytes.Buffer, v any) {
	t.Helper()
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
