package ceilometer

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
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

// result is what want.json holds.
type result struct {
	Events   []json.RawMessage `json:"events,omitempty"`
	Redacted int               `json:"redacted,omitempty"`
	Mended   int               `json:"mended,omitempty"`
	Error    string            `json:"error,omitempty"`
}

func newConverter(t testing.TB) *Converter { return New(normalizertest.Rules(t)) }

func rawEvent(body []byte) event.Raw {
	return event.Raw{
		ID: "raw-id", Format: Format, Body: body,
		Received: time.Date(2026, 11, 22, 7, 0, 0, 123456789, time.UTC),
	}
}

func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/*/raw.json")
	if err != nil || len(cases) < 40 {
		t.Fatalf("found %d cases, %v", len(cases), err)
	}
	converter, schema := newConverter(t), normalizertest.NewSchema(t)
	for _, path := range cases {
		dir := filepath.Dir(path)
		t.Run(strings.TrimPrefix(dir, "testdata/"), func(t *testing.T) {
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			kept := bytes.Clone(body)
			converted, err := converter.Convert(rawEvent(body))
			if !bytes.Equal(body, kept) {
				t.Error("the converter changed the raw body")
			}
			got := result{
				Events: schema.Encode(t, "panko", converted.Events), Redacted: converted.Redacted, Mended: converted.Mended,
			}
			if err != nil {
				got.Error = err.Error()
			}
			if wantError := strings.Contains(dir, "error-"); wantError != (err != nil) {
				t.Errorf("error %v", err)
			}
			golden(t, filepath.Join(dir, "want.json"), got)
		})
	}
}

func golden(t *testing.T, path string, got result) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// However events travel, they are the same.
func TestTravelledEvents(t *testing.T) {
	paths, err := filepath.Glob("testdata/p*/*/raw.json")
	if err != nil || len(paths) < 20 {
		t.Fatalf("found %d cases, %v", len(paths), err)
	}
	converter, schema := newConverter(t), normalizertest.NewSchema(t)
	var list []string
	var want []json.RawMessage
	check := func(name, body string, want ...json.RawMessage) {
		converted, err := converter.Convert(rawEvent([]byte(body)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, schema.Encode(t, "cloud", converted.Events)); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		converted, err := converter.Convert(rawEvent(body))
		if err != nil {
			t.Fatal(err)
		}
		alone := schema.Encode(t, "cloud", converted.Events)
		list, want = append(list, string(body)), append(want, alone...)
		signed := strings.TrimSuffix(strings.TrimSpace(string(body)), "}") + `,"message_signature":"ab"}`
		notification := `{"event_type":"event","message_id":"envelope","payload":[` + signed + `]}`
		quoted, err := json.Marshal(notification)
		if err != nil {
			t.Fatal(err)
		}
		wrapped := `{"oslo.version":"2.0","oslo.message":` + string(quoted) + `}`
		check(path, notification, alone...)
		check(path, wrapped, alone...)
		check(path, `{"request":`+wrapped+`,"context":{}}`, alone...)
	}
	check("all at once", `{"event_type":"event","payload":[`+strings.Join(list, ",")+`]}`, want...)
}

// Without a time of its own and without a time of receipt an event has none.
func TestNoTimeAtAll(t *testing.T) {
	raw := rawEvent([]byte(`{"message_id": "m", "event_type": "x.y"}`))
	raw.Received = time.Time{}
	if _, err := newConverter(t).Convert(raw); err == nil {
		t.Error("converted")
	}
}

// However an event is made, its conversion takes no more than its size allows: nothing is quadratic.
func TestLargeEvents(t *testing.T) {
	many := func(format string) string {
		var b strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, body := range map[string]string{
		"members": `{"event_type": "port.create.end"` + many(`,"m%d":1`) + `}`,
		"traits":  `{"event_type": "port.create.end","traits":[["a",1,"b"]` + many(`,["t%d",1,"x"]`) + `]}`,
		"targets": `{"event_type": "port.create.end","raw":{"payload":{"ports":[{}` + many(`,{"id":"%d"}`) + `]}}}`,
	} {
		converted, err := newConverter(t).Convert(rawEvent([]byte(body)))
		if err != nil || len(converted.Events) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same raw event always gives the same events, and whatever comes out can be written and fits the schema.
func FuzzConvert(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/*/raw.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(body) < 1500 { // what is made of larger ones takes the fuzzing engine up to a minute each to shrink
			f.Add(body)
		}
	}
	converter, schema := newConverter(f), normalizertest.NewSchema(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := converter.Convert(rawEvent(body))
		if err != nil {
			return
		}
		if len(first.Events) == 0 {
			t.Fatal("no events")
		}
		once := schema.Encode(t, "panko", first.Events)
		second, err := converter.Convert(rawEvent(body))
		if err != nil {
			t.Fatal(err)
		}
		if again := schema.Encode(t, "panko", second.Events); !bytes.Equal(once[0], again[0]) {
			t.Fatalf("%s\n%s", once[0], again[0])
		}
	})
}

func BenchmarkConvert(b *testing.B) {
	for _, name := range []string{"panko/image.delete", "ceilometer/volume.create.end", "handmade/triples"} {
		b.Run(name, func(b *testing.B) {
			body, err := os.ReadFile(filepath.Join("testdata", name, "raw.json"))
			if err != nil {
				b.Fatal(err)
			}
			converter, raw := newConverter(b), rawEvent(body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := converter.Convert(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
