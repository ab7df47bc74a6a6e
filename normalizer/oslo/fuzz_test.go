package oslo

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"stackstream/event"
	"stackstream/internal/envelope"
	"stackstream/internal/rawjson"
	"stackstream/normalizer/normalizertest"
	"stackstream/normalizer/rules"
)

// Whatever comes in, the same event or an error comes out, and an event fits the schema, has every number as it was sent
// and shows no secret.
func FuzzConvert(f *testing.F) {
	for _, path := range recorded(f) {
		for i, r := range readRecordings(f, path) {
			if i%5 == 0 && len(r.Body) < 1500 { // what is made of larger ones takes the fuzzing engine up to a minute each to shrink
				f.Add([]byte(r.Body))
			}
		}
	}
	for _, seed := range []string{
		`{"oslo.version":"2.1","oslo.message":{"event_type":"x.y","payload":[NaN,-0.10e5]}}`,
		"\xef\xbb\xbf" + `{"event_type":"x","payload":"` + "\xff" + `","message_id":7,"timestamp":""}`,
		`{"event_type":"port.x","payload":{"port":{"id":1,"device_owner":"compute:z","device_id":"i"},"ports":[{"id":2}]}}`,
		`{"event_type":"x","payload":{"a_object.data":{"b_object.data":{},"b_object.name":1},"a_object.name":2,"password":3}}`,
		`{"event_type":"x","event_type":"tag.y","payload":{"parent_resource":"s","parent_resource_id":"\ud83d"}}`,
	} {
		f.Add([]byte(seed))
	}
	converter, schema := newConverter(f), normalizertest.NewSchema(f)
	redactor, err := rules.NewRedactor(rules.DefaultSecretKeys())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		first, err := converter.Convert(event.Raw{ID: "raw-id", Body: body, Received: rawEvent("").Received})
		if !bytes.Equal(body, kept) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			return
		}
		if len(first.Events) != 1 {
			t.Fatalf("%d events", len(first.Events))
		}
		once := schema.Encode(t, "amqp", first.Events)
		second, err := converter.Convert(event.Raw{ID: "raw-id", Body: kept, Received: rawEvent("").Received})
		if err != nil {
			t.Fatal(err)
		}
		if again := schema.Encode(t, "amqp", second.Events); !bytes.Equal(once[0], again[0]) || first.Mended != second.Mended {
			t.Fatalf("%s\n%s", once[0], again[0])
		}

		unknown := first.Events[0]
		unknown.Payload = bytes.Clone(unknown.Payload)
		if again := schema.Encode(t, "amqp", []event.Event{unknown}); !bytes.Equal(once[0], again[0]) {
			t.Fatalf("looked at, it is\n%s\nand not\n%s", again[0], once[0])
		}

		payload := rawjson.Value(first.Events[0].Payload)
		if shown, n := redactor.Redact(payload); n != first.Redacted || !bytes.Equal(shown, payload) {
			t.Fatalf("%d redacted, but %d to redact in %s", first.Redacted, n, payload)
		}
		notification, _, err := new(envelope.Desk).Open(body, 2)
		if err != nil {
			t.Fatal(err)
		}
		sent, _ := redactor.Redact(notification.Members(0).Get("payload"))
		if want, got := numbers(sent), numbers(payload); !slices.Equal(want, got) {
			t.Fatalf("numbers %q became %q", want, got)
		}
		if !json.Valid(payload) {
			t.Fatalf("not valid: %s", payload)
		}
	})
}

// numbers returns the numbers in v as they are written, in order.
func numbers(v rawjson.Value) []string {
	var out []string
	for t := range v.Tokens() {
		if text := string(v[t.Start:t.End]); t.Kind == rawjson.Scalar && rawjson.IsNumber(text) {
			out = append(out, text)
		}
	}
	return out
}

func BenchmarkConvert(b *testing.B) {
	converter := newConverter(b)
	for _, c := range []struct {
		name, file string
	}{
		{"nova", "nova"}, {"keystone", "keystone_cadf"}, {"neutron", "neutron"}, {"cinder", "cinder"}, {"glance", "glance"},
	} {
		b.Run(c.name, func(b *testing.B) {
			var raws []event.Raw
			size := 0
			for _, r := range readRecordings(b, "testdata/recorded/"+c.file+".jsonl") {
				raws = append(raws, rawEvent(r.Body))
				size += len(r.Body)
			}
			b.SetBytes(int64(size / len(raws)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := converter.Convert(raws[i%len(raws)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
