// Package normalizertest has what the tests of all converters need: the canonical events as they are written, checked
// against the schema that the project ships.
package normalizertest

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"stackstream/event"
	"stackstream/normalizer"
	"stackstream/normalizer/rules"
)

// Rules are the default rules.
func Rules(tb testing.TB) *rules.Rules {
	tb.Helper()
	r, err := rules.New(rules.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// Schema is the schema of the canonical event, compiled.
type Schema struct{ compiled *jsonschema.Schema }

// NewSchema compiles the schema.
func NewSchema(tb testing.TB) *Schema {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(normalizer.Schema()))
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("event.schema.json", doc); err != nil {
		tb.Fatal(err)
	}
	compiled, err := c.Compile("event.schema.json")
	if err != nil {
		tb.Fatal(err)
	}
	return &Schema{compiled}
}

// Encode writes the events as the service would, from a provider "cloud" and the source given, and reports those that do
// not fit the schema.
func (s *Schema) Encode(tb testing.TB, source event.Source, events []event.Event) []json.RawMessage {
	tb.Helper()
	var out []json.RawMessage
	for _, e := range events {
		e.Provider, e.Source = "cloud", source
		body, err := e.Encode()
		if err != nil {
			tb.Fatalf("encode: %v", err)
		}
		s.Check(tb, body)
		out = append(out, body)
	}
	return out
}

// Golden encodes the events and compares them with a file, which it writes anew if update says so. It returns what it compared.
func (s *Schema) Golden(tb testing.TB, path string, update bool, source event.Source, events []event.Event) string {
	tb.Helper()
	var got bytes.Buffer
	for _, e := range s.Encode(tb, source, events) {
		if err := json.Indent(&got, e, "", "  "); err != nil {
			tb.Fatal(err)
		}
		got.WriteByte('\n')
	}
	if update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		tb.Errorf("%s (-want +got):\n%s", path, diff)
	}
	return got.String()
}

// Check reports a canonical event that does not fit the schema.
func (s *Schema) Check(tb testing.TB, body []byte) {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.compiled.Validate(doc); err != nil {
		tb.Errorf("against the schema: %v", err)
	}
}
