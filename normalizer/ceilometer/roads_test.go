package ceilometer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/internal/openstack/standin"
	"stackstream/internal/rawjson"
	"stackstream/normalizer/normalizertest"
)

// asPanko writes the traits of an event that the agent posted as Panko hands them out: objects, with the type by its name and the
// value as text.
func asPanko(t *testing.T, body []byte) []byte {
	t.Helper()
	v, err := rawjson.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	members, _ := v.Members()
	out := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(rawjson.AppendQuoted(out, string(m.Name)), ':')
		if string(m.Name) != "traits" {
			out = append(out, m.Value...)
			continue
		}
		elements, _ := m.Value.Elements()
		out = append(out, '[')
		for j, e := range elements {
			triple, _ := e.Elements()
			if j > 0 {
				out = append(out, ',')
			}
			value := triple[2].ID()
			if text, ok := triple[2].Text(); ok {
				value = text
			}
			out = append(append(out, `{"name":`...), triple[0]...)
			out = append(out, `,"type":"`+map[string]string{"1": "string", "2": "integer", "3": "float", "4": "datetime"}[string(triple[1])]+`","value":`...)
			out = append(rawjson.AppendQuoted(out, value), '}')
		}
		out = append(out, ']')
	}
	return append(out, '}')
}

// asPosted writes the traits of an event that Panko handed out as the agent posts them: triples, with numbers as such.
func asPosted(t *testing.T, body []byte) []byte {
	t.Helper()
	var e map[string]json.RawMessage
	var traits []struct{ Name, Type, Value string }
	if json.Unmarshal(body, &e) != nil || json.Unmarshal(e["traits"], &traits) != nil {
		t.Fatalf("%s", body)
	}
	triples := [][3]any{}
	for _, trait := range traits {
		kind := map[string]int{"string": 1, "integer": 2, "float": 3, "datetime": 4}[trait.Type]
		value := any(trait.Value)
		if kind == 2 || kind == 3 {
			value = json.Number(trait.Value)
		}
		triples = append(triples, [3]any{trait.Name, kind, value})
	}
	var err error
	if e["traits"], err = json.Marshal(triples); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What these tests write as Panko does is what the real one wrote, also of what was recorded of it.
func TestAsPankoWasRecorded(t *testing.T) {
	recorded := standin.RecordedEvents()
	if len(recorded) < 10 {
		t.Fatalf("%d events are recorded", len(recorded))
	}
	for _, e := range recorded {
		if again := asPanko(t, asPosted(t, e.Body)); !equalJSON(e.Body, again) {
			t.Errorf("Panko wrote\n%s\nand it is written as\n%s", e.Body, again)
		}
	}
}

// The same event is the same whether the agent posts it or Panko hands it out.
func TestPostedAndAsked(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*/raw.json")
	if err != nil {
		t.Fatal(err)
	}
	converter, schema := newConverter(t), normalizertest.NewSchema(t)
	compared := 0
	for _, path := range paths {
		if !strings.Contains(path, "publisher/") && !strings.Contains(path, "handmade/triples") {
			continue
		}
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		posted, err := converter.Convert(rawEvent(body))
		if err != nil {
			t.Fatal(err)
		}
		asked, err := converter.Convert(rawEvent(asPanko(t, body)))
		if err != nil {
			t.Fatal(err)
		}
		var events [2]any
		for i, converted := range []json.RawMessage{schema.Encode(t, "x", posted.Events)[0], schema.Encode(t, "x", asked.Events)[0]} {
			if events[i], err = decoded(converted); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(events[0], events[1]); diff != "" {
			t.Errorf("%s (-posted +asked):\n%s", path, diff)
		}
		compared++
	}
	if compared < 13 {
		t.Errorf("%d events are compared", compared)
	}
}
