package webhook

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"pgregory.net/rapid"

	"stackstream/event"
)

// What is a CloudEvent is one for CloudEvents' own SDK, with the same parts, in whatever mode it is posted.
func TestAttributesAsTheSDKReadsThem(t *testing.T) {
	f := formatOf(t, formatCloudEvents, nil)
	texts := map[string][]string{
		"specversion":     {"1.0", "1.0", "1.0", "1.0", "0.2"},
		"id":              {"1", "a b", " x", "ö\"\\", " "},
		"source":          {"/s", "HTTPS://Host/a?b#c", "urn:x:y", "/with space", "//a b", "%zz"},
		"type":            {"org.example.thing", "x y", " "},
		"subject":         {"a", "a/b", "\t"},
		"datacontenttype": {"text/plain", "application/json", "application/x+json; charset=utf-8", "a b c"},
		"dataschema":      {"https://example.org/x", "relative/x", "urn:x"},
		"time":            {"2026-11-22T05:42:45.672012Z", "2026-11-22T05:42:45+01:00", "now", "2026-11-22"},
	}
	rapid.Check(t, func(t *rapid.T) {
		given := map[string]string{"specversion": `"1.0"`, "id": `"1"`, "source": `"/s"`, "type": `"t"`}
		words := map[string]string{"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
		inBinary := true
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			values := texts[name]
			switch rapid.IntRange(0, 5).Draw(t, name) {
			case 0, 1:
				words[name] = rapid.SampledFrom(values).Draw(t, name)
				text, _ := json.Marshal(words[name])
				given[name] = string(text)
			case 2:
				inBinary = false
				others := []string{"1", "{}", "null"}
				if name == "datacontenttype" {
					others = others[:2] // what is null is not there, says the SDK, but of this one only if it comes early
				}
				given[name] = rapid.SampledFrom(others).Draw(t, name)
			}
		}
		if rapid.Bool().Draw(t, "extended") {
			name := rapid.SampledFrom([]string{"ext", "Ext1", "a_b", "ID", "Subject", "é"}).Draw(t, "extension")
			given[name] = rapid.SampledFrom([]string{`"x"`, "true", "null", "7", "1.5", "3e9", "[]", "{}"}).Draw(t, name)
			inBinary = false
		}
		names := rapid.Permutation(slices.Sorted(maps.Keys(given))).Draw(t, "order")
		kind := words["datacontenttype"]
		asJSON := isJSON(kind) && !strings.Contains(kind, "+json") // of others the SDK takes no data but text
		parts := dataOf(t, asJSON)
		for _, name := range names {
			quoted, _ := json.Marshal(name)
			parts = append(parts, string(quoted)+":"+given[name])
		}
		body := "{" + strings.Join(parts, ", ") + "}"
		want := (&attributes{source: words["source"], id: words["id"]}).identity()
		var e cloudevents.Event
		compareWithSDK(t, f, body, want, &e, func() error { return json.Unmarshal([]byte(body), &e) }, oneJSON, nil)

		if !inBinary {
			return
		}
		var headers []string
		of := http.Header{}
		for name, word := range words {
			header, value := "ce-"+name, event.EncodeHeader(word)
			if name == "datacontenttype" {
				header, value = "Content-Type", word
			}
			headers = append(headers, header, value)
			of.Set(header, word)
		}
		data := ""
		if asJSON || !isJSON(kind) {
			data = rapid.SampledFrom([]string{"", "7", `{"a": "é"}`}).Draw(t, "data")
		}
		var b *cloudevents.Event
		read := func() (err error) {
			b, err = binding.ToEvent(context.Background(), cehttp.NewMessage(of, io.NopCloser(strings.NewReader(data))))
			if err == nil {
				e = *b
			}
			return err
		}
		if took := compareWithSDK(t, f, data, want, &e, read, kind, headers); took != nil {
			var again cloudevents.Event
			if err := json.Unmarshal(took.Body, &again); err != nil {
				t.Fatalf("what was posted in binary mode became %s: %v", took.Body, err)
			}
			// The SDK takes spaces away that are a part of an id.
			if strings.TrimSpace(again.ID()) != e.ID() || again.Source() != e.Source() || again.Type() != e.Type() || again.Subject() != e.Subject() ||
				!again.Time().Equal(e.Time()) || again.DataSchema() != e.DataSchema() || again.DataContentType() != e.DataContentType() ||
				string(again.Data()) != data {
				t.Fatalf("what was posted in binary mode became %s, from %v", took.Body, of)
			}
		}
	})
}

// dataOf is data of an event, as it is in JSON. It comes first: of what comes later the SDK takes one or the other by what comes between.
// Of both, and of text that is none, it takes what we refuse, or have no need to look at.
func dataOf(t *rapid.T, isJSON bool) (parts []string) {
	data := []string{"", "", "null", `"text"`}
	if isJSON {
		data = append(data, "7", `{"a":[null]}`)
	}
	encoded := []string{"", "", `"AP8="`, `"AP8"`, `""`, "null", "7"}
	value := rapid.SampledFrom(data).Draw(t, "data")
	if value != "" && value != "null" {
		encoded = encoded[:1]
	}
	if value != "" {
		parts = append(parts, `"data":`+value)
	}
	if value = rapid.SampledFrom(encoded).Draw(t, "data_base64"); value != "" {
		parts = append(parts, `"data_base64":`+value)
	}
	return parts
}

// compareWithSDK returns what was taken of what is posted, by the identity that it has to have. e is what read makes of that.
func compareWithSDK(
	t *rapid.T, f format, body string, want event.ID, e *cloudevents.Event, read func() error, kind string, headers []string,
) *made {
	panicked := true
	err := func() error {
		defer func() { _ = recover() }()
		err := read()
		panicked = false
		return err
	}()
	is := !panicked && err == nil && e.Validate() == nil && e.SpecVersion() == "1.0"
	took, refused := decode(f, kind, body, headers...)
	if (refused == nil) != is {
		t.Fatalf("%s %q of type %s: refused: %v; the SDK: %v, %v", body, headers, kind, refused, err, e.Validate())
	}
	if refused != nil {
		return nil
	}
	if took[0].ID != want || took[0].eventType != e.Type() {
		t.Fatalf("%s %q: %q %q, want %q, and the SDK has %q", body, headers, took[0].ID, took[0].eventType, want, e.Type())
	}
	return &took[0]
}

// What is said twice would be read in two ways: it is refused, and so is what looks like data and is none.
func TestAttributesThatAreRefused(t *testing.T) {
	f := formatOf(t, formatCloudEvents, nil)
	with := func(more string) string { return strings.Replace(cloudEvent("a"), "{", "{"+more+",", 1) }
	for body, want := range map[string]string{
		with(`"id":"b"`):                             "id: is there twice",
		with(`"ext":1,"Ext":2`):                      "Ext: is there twice",
		with(`"Data":1`):                             "Data: is the name",
		with(`"a-b":1`):                              "a-b: is a name that is not",
		with(`"subject":" "`):                        "subject: is empty",
		with(`"Subject":null`):                       "Subject: is written in small letters",
		with(`"` + strings.Repeat("x", 99) + `":[]`): strings.Repeat("x", 64) + ": is neither",
		with(`"` + strings.Repeat("x", 300) + `":1`): "whose name is too long",
	} {
		if all, refused := decode(f, oneJSON, body); refused == nil || !strings.Contains(refused.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", body, idsOf(all), refused, want)
		}
	}
	headers := []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1"}
	for name, value := range map[string]string{"ce-data": "x", "ce-a-b": "x", "ce-ext": "%ff", "ce-time": "now"} {
		if all, refused := decode(f, "", "", append(headers, name, value)...); refused == nil {
			t.Errorf("%s is taken as %s", name, idsOf(all))
		}
	}
	for _, name := range []string{"Ce-Id", "Ce-Ext", "Ce-Specversion"} {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		h[name] = []string{"1.0", "1.0"}
		if all, refused := f.decode(posted{header: h}); refused == nil || !strings.HasSuffix(refused.Error(), "is there twice") {
			t.Errorf("%s twice is taken as %s (%v)", name, idsOf(all), refused)
		}
	}
}
