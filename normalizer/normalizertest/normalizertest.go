// Package normalizertest has what the tests of all converters need: the canonical events as they are written, checked
// against the schema that the project ships.
package normalizertest

import (
	"bytes"
	"encoding/json"
	"testing"

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
