package records_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stackstream/internal/records"
)

// An answer that is put together from some of its units has the records of these, in that order, and all else as it was.
func TestSplit(t *testing.T) {
	type form struct {
		d    records.Decoder
		body string
		n    int
	}
	forms := map[string]form{
		"list":   {records.Decoder{Path: []string{"data", "events"}}, ` {"data": {"events": [ {"a": 1}, {"a": [2, "]"]} , 3 ]}, "next": "x"} `, 3},
		"bare":   {records.Decoder{}, `[{"a": 1},{"a": 2}]`, 2},
		"null":   {records.Decoder{Path: []string{"e"}}, `{"e": null, "n": 0}`, 0},
		"empty":  {records.Decoder{Path: []string{"e"}}, `{"e": [ ], "n": 0}`, 0},
		"values": {records.Decoder{Path: []string{"e"}, Shape: records.Values}, `{"e": { "x" : {"a": 1}, "y,":2, "z": {}}, "n": 0}`, 3},
		"lines":  {records.Decoder{Form: records.NDJSON}, "{\"a\":1}\n\n {\"a\":2}\r\n{\"a\":3}", 3},
		"csv":    {records.Decoder{Form: records.CSV, Comma: ';'}, "id;text\r\n1;\"a\nb\"\r\n2;c\n3;\"d;\"\"\"", 3},
		"xml": {records.Decoder{Form: records.XML, Path: []string{"feed", "entry"}},
			`<?xml version="1.0"?><feed><title>x</title><entry id="1"><entry>in</entry></entry> <entry id="2"/><entry>3</entry><n>1</n></feed>`, 3},
		"expand": {records.Decoder{Path: []string{"e"}, Expand: [][]string{{"i"}}, Parent: "of"}, `{"e": [{"i": [{"a": 1}]}, {"i": [{"a": 2}]}]}`, 2},
	}
	names := []string{"bare", "csv", "empty", "expand", "lines", "list", "null", "values", "xml"}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			f := forms[name]
			p, err := f.d.Split([]byte(f.body))
			if err != nil || len(p.Units) != f.n {
				t.Fatalf("%d units (%v), want %d", len(p.Units), err, f.n)
			}
			all, err := f.d.Decode([]byte(f.body))
			if err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) {
				least := 0
				if f.d.Form == records.XML {
					least = 1
				}
				order := rapid.SliceOfNDistinct(rapid.IntRange(0, max(f.n-1, 0)), min(least, f.n), f.n, rapid.ID).Draw(t, "order")
				if f.n == 0 {
					order = nil
				}
				var units [][]byte
				var want []string
				for _, i := range order {
					units, want = append(units, p.Units[i]), append(want, string(all.Records[i]))
				}
				page, err := f.d.Decode(p.With(units))
				if err != nil {
					t.Fatalf("%q: %v", p.With(units), err)
				}
				var got []string
				for _, r := range page.Records {
					got = append(got, string(r))
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%q has %q, want %q", p.With(units), got, want)
				}
			})
		})
	}
}
