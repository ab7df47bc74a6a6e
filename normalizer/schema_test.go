package normalizer

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"stackstream/event"
)

func TestSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("event.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}

	at, err := event.ParseTimestamp("2015-05-12T07:24:39.462895")
	if err != nil {
		t.Fatal(err)
	}
	full := event.Event{
		MessageID: "m", EventType: "compute.instance.create.end", Timestamp: at, Payload: json.RawMessage(`{"n": 1.10}`),
		Provider: "cloud", Source: "amqp-nova", PublisherID: "compute.host1", Priority: "info",
		Context: &event.Context{RequestID: "r", UserID: "u", UserName: "n", ProjectID: "p"},
		Targets: []event.Target{{Kind: "instance", ID: "i"}, {Kind: "availability_zone", ID: "z"}},
		ChainID: "r-otxomvqw", Group: "power", Level: "critical", Message: "Success",
		BodyObject: &event.BodyObject{Bucket: event.BucketBodies, Name: "sha256-00", Size: 1},
	}
	least := event.Event{MessageID: "m", EventType: "t", Timestamp: at, Provider: "p", Source: "s"}
	validate := func(e event.Event, change func(map[string]any)) error {
		body, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatal(err)
		}
		change(members)
		return schema.Validate(members)
	}
	same := func(map[string]any) {}
	if err := validate(full, same); err != nil {
		t.Errorf("an event with everything: %v", err)
	}
	if err := validate(least, same); err != nil {
		t.Errorf("an event with what is always there: %v", err)
	}
	for name, change := range map[string]func(map[string]any){
		"no message_id":      func(m map[string]any) { delete(m, "message_id") },
		"empty message_id":   func(m map[string]any) { m["message_id"] = "" },
		"no event_type":      func(m map[string]any) { delete(m, "event_type") },
		"no timestamp":       func(m map[string]any) { delete(m, "timestamp") },
		"no payload":         func(m map[string]any) { delete(m, "payload") },
		"no provider":        func(m map[string]any) { delete(m, "provider") },
		"provider with dot":  func(m map[string]any) { m["provider"] = "a.b" },
		"timestamp with +":   func(m map[string]any) { m["timestamp"] = "2015-05-12T07:24:39+00:00" },
		"something new":      func(m map[string]any) { m["traits"] = map[string]any{} },
		"new in a target":    func(m map[string]any) { m["targets"].([]any)[0].(map[string]any)["name"] = "x" },
		"new in the context": func(m map[string]any) { m["context"].(map[string]any)["tenant"] = "x" },
		"an unknown level":   func(m map[string]any) { m["level"] = "info" },
		"a target twice":     func(m map[string]any) { l := m["targets"].([]any); m["targets"] = append(l, l[0]) },
	} {
		if err := validate(full, change); err == nil {
			t.Errorf("accepted: %s", name)
		}
	}
}
