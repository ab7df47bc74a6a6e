package records

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"stackstream/internal/rawjson"
)

// What is found of an answer in one pass is what is found of it step by step, and a record that was taken apart with its answer
// is what it is by itself.
func FuzzTake(f *testing.F) {
	for _, seed := range []string{
		`[{"a":1},2]`, "\xef\xbb\xbf {\"e\": [ {\"a\": {\"b\": [1, {}]}} , [] ], \"e\": [{}]} ", `{"e":{"f":[1]},"e":{"f":[2]}}`, `[[1],{"e":[2]}]`,
		`{"e":[{"x":NaN}]}`, `{"e":[1`, `{"e":[1]} x`, `{"e":null}`, `{"\u0065":[{"\u0061":1,"a":2}]}`, `{"e":["` + "\xff" + `"]}`, `{"e":[]}`,
		`{"e":[` + strings.Repeat("[", 255) + strings.Repeat("]", 255) + `]}`, "<html>", "", `{"e":[{"a":"1"},]}`, `{"e" 1,"e":[]}`,
	} {
		for _, path := range []string{"", "e", "e.f", "1", "1.e", "01"} {
			f.Add([]byte(seed), path, false)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, path string, strict bool) {
		d := Decoder{Form: JSON, Strict: strict}
		if path != "" {
			d.Path = strings.Split(path, ".")
		}
		var page Page
		if !d.take(body, &page) {
			return
		}
		whole, err := document(body)
		if err != nil {
			t.Fatalf("%q was taken: %v", body, err)
		}
		records, err := d.at(whole, &meter{})
		if err != nil || !bytes.Equal(whole, page.Document) || !slices.EqualFunc(records, page.Records, bytes.Equal) {
			t.Fatalf("%q has %q (%v), and %q when taken", body, records, err, page.Records)
		}
		for i, record := range page.Records {
			own := bytes.Clone(record)
			doc, ok := page.Doc(i, own)
			var alone rawjson.Doc
			if mended, err := alone.Parse(own, rawjson.All); err != nil || !ok || mended > 0 || !bytes.Equal(doc.Value(0), own) {
				t.Fatalf("record %d of %q is %s (%v, %d mended)", i, body, doc.Value(0), err, mended)
			}
			if got, want := doc.Members(0), alone.Members(0); !slices.EqualFunc(got, want, func(a, b rawjson.Member) bool {
				return bytes.Equal(a.Name, b.Name) && bytes.Equal(a.Value, b.Value)
			}) {
				t.Fatalf("members of record %d of %q are %s, want %s", i, body, got, want)
			}
		}
	})
}
