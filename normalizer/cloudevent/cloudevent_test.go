package cloudevent

import (
	"bytes"
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/normalizer/normalizertest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func raw(body string) event.Raw {
	return event.Raw{
		ID: "/things 1", Format: Format, Body: []byte(body), Received: time.Date(2026, 11, 22, 7, 0, 0, 123456789, time.UTC),
	}
}

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// Each golden file is what a CloudEvent becomes.
func TestGolden(t *testing.T) {
	schema, converter := normalizertest.NewSchema(t), New(normalizertest.Rules(t))
	for name, body := range map[string]string{
		"least": `{"specversion":"1.0","id":"1","source":"/things","type":"thing.made"}`,
		"full": `{"specversion":"1.0","id":"1","source":"https://things.example/a b","type":"compute.instance.create.end","subject":"thing/7",
			"time":"2026-11-22T05:42:45.672012+02:00","datacontenttype":"application/json","dataschema":"https://x/y","partitionkey":"k",
			"traceparent":"` + parent + `","data":{"instance_id":"i-1","tenant_id":"p1","n":1.50,"big":12345678901234567890,"password":"hunter2"}}`,
		"text":       `{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a","datacontenttype":"text/plain","data":"hello"}`,
		"binary":     `{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"application/octet-stream","data_base64":"AP8="}`,
		"twice":      `{"specversion":"1.0","id":"1","source":"/s","type":"t","x":1,"x":2,"data":null}`,
		"an unusual": `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[NaN,{"token":"hunter2"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			in := raw(body)
			converted, err := converter.Convert(in)
			if err != nil {
				t.Fatal(err)
			}
			if string(in.Body) != body {
				t.Error("the converter changed the raw body")
			}
			path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".want.json")
			if got := schema.Golden(t, path, *update, "webhook", converted.Events); strings.Contains(got, "hunter2") {
				t.Error("a secret is shown")
			}
			if (converted.Trace.Parent == parent) != (name == "full") {
				t.Errorf("the trace is %+v", converted.Trace)
			}
		})
	}
}

func TestWhatBecomesADeadLetter(t *testing.T) {
	converter := New(normalizertest.Rules(t))
	for body, want := range map[string]string{
		`{`:                     "body: ",
		`[]`:                    "body: not an object",
		`{"type":"t"}`:          "specversion: not 1.0",
		`{"specversion":"1.0"}`: "type: missing",
		`{"specversion":"1.0","type":"t","time":"now"}`: "time: ",
		`{"specversion":"1.0","type":"t","time":7}`:     "time: not a string",
	} {
		if _, err := converter.Convert(raw(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func FuzzConvert(f *testing.F) {
	for _, seed := range []string{
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a","data":{"a":[1,NaN]}}`,
		`{"specversion":"1.0","type":"t","time":"2026-11-22T05:42:45Z","data_base64":"AA=="}`, `{"specversion":"1.0"`,
	} {
		f.Add([]byte(seed))
	}
	converter, schema := New(normalizertest.Rules(f)), normalizertest.NewSchema(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := converter.Convert(raw(string(body)))
		if err != nil {
			return
		}
		once := schema.Encode(t, "webhook", first.Events)
		second, err := converter.Convert(raw(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		if again := schema.Encode(t, "webhook", second.Events); !bytes.Equal(once[0], again[0]) {
			t.Fatalf("%s\n%s", once[0], again[0])
		}
	})
}
