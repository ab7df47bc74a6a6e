package records_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"stackstream/internal/records"
)

func texts(found [][]byte) string {
	var all []string
	for _, r := range found {
		all = append(all, string(r))
	}
	return strings.Join(all, "\n")
}

func TestDecode(t *testing.T) {
	for name, test := range map[string]struct {
		d          records.Decoder
		body, want string
	}{
		"list":        {records.Decoder{}, ` [{"a": 1.0}, {"b" :"é"}]`, "{\"a\": 1.0}\n{\"b\" :\"é\"}"},
		"path":        {records.Decoder{Path: []string{"data", "events"}}, `{"data": {"events": [1, NaN]}}`, "1\nNaN"},
		"empty":       {records.Decoder{}, `[]`, ""},
		"null":        {records.Decoder{Path: []string{"items"}}, `{"items": null}`, ""},
		"optional":    {records.Decoder{Path: []string{"items"}, Optional: true}, `{"kind": "List"}`, ""},
		"values":      {records.Decoder{Path: []string{"jobs"}, Shape: records.Values}, `{"jobs": {"a": {"n": 1}, "b": {"n": 2}}}`, "{\"n\": 1}\n{\"n\": 2}"},
		"one":         {records.Decoder{Shape: records.One}, `{"status": "up"}`, `{"status": "up"}`},
		"json lines":  {records.Decoder{Form: records.NDJSON}, "\xef\xbb\xbf{\"a\":1}\n\r\n  {\"b\":2} \nbroken", "{\"a\":1}\n{\"b\":2}\nbroken"},
		"csv":         {records.Decoder{Form: records.CSV}, "id,what\n1,\"a \"\"b\"\"\nc\"\n2,", `{"id":"1","what":"a \"b\"\nc"}` + "\n" + `{"id":"2","what":""}`},
		"semicolons":  {records.Decoder{Form: records.CSV, Comma: ';'}, "id;x\n1;2\n", `{"id":"1","x":"2"}`},
		"no rows":     {records.Decoder{Form: records.CSV}, "id,what\n", ""},
		"expand":      {records.Decoder{Expand: [][]string{{"e"}}}, `[{"e": [1, 2]}, {}, {"e": null}, {"e": [3]}]`, "1\n2\n3"},
		"with parent": {records.Decoder{Expand: [][]string{{"e"}}, Parent: "of"}, `[{"e": [{"n": 1}, {}], "id": 7}]`, `{"n": 1,"of":{"e": null, "id": 7}}` + "\n" + `{"of":{"e": null, "id": 7}}`},
		"xml": {records.Decoder{Form: records.XML, Path: []string{"feed", "entry"}},
			`<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>x</title><entry id="1"><t> a &amp; b </t><c>1</c><c>2</c></entry><entry>text<b/></entry></feed>`,
			`{"@id":"1","t":"a & b","c":["1","2"]}` + "\n" + `{"b":"","#text":"text"}`},
		"lists of lists": {records.Decoder{Expand: [][]string{{"a"}, {"b", "c"}}, Parent: "of"},
			`[{"a": [{"b": {"c": [{"n": 1}, {"n": 2}]}, "id": "x"}, {"b": {"c": []}}]}, {"a": [{"b": {"c": [{"n": 3}]}}]}]`,
			`{"n": 1,"of":{"b": {"c": null}, "id": "x","of":{"a": null}}}` + "\n" + `{"n": 2,"of":{"b": {"c": null}, "id": "x","of":{"a": null}}}` +
				"\n" + `{"n": 3,"of":{"b": {"c": null},"of":{"a": null}}}`},
		"values with names": {records.Decoder{Shape: records.Values, Key: "name"}, `{"a\"": {"n": 1}, "b": {}, "c": 3}`,
			`{"n": 1,"name":"a\""}` + "\n" + `{"name":"b"}` + "\n3"},
		"xml without elements": {records.Decoder{Form: records.XML, Path: []string{"feed", "entry"}}, `<feed/>`, ""},
		"xml expanded": {records.Decoder{Form: records.XML, Path: []string{"l", "g"}, Expand: [][]string{{"e"}}},
			`<l><g><e>1</e></g><g><e>2</e><e>3</e></g><g/></l>`, "\"1\"\n\"2\"\n\"3\""},
		"xml of one": {records.Decoder{Form: records.XML, Path: []string{"list", "e"}}, `<list><e>1</e></list>`, `"1"`},
	} {
		page, err := test.d.Decode([]byte(test.body))
		if err != nil || texts(page.Records) != test.want {
			t.Errorf("%s: %s (%v), want %s", name, texts(page.Records), err, test.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		d          records.Decoder
		body, want string
	}{
		"cut off":           {records.Decoder{}, `[{"a": 1}, {"b`, "cut off"},
		"xml of another":    {records.Decoder{Form: records.XML, Path: []string{"feed", "entry"}}, `<error>no</error>`, "has no feed.entry"},
		"xml cut off":       {records.Decoder{Form: records.XML}, `<a><b>`, "cut off"},
		"a login page":      {records.Decoder{}, "<html><body>log in</body></html>", "<html>"},
		"as lines":          {records.Decoder{Form: records.NDJSON}, "<html>", "no JSON lines"},
		"missing":           {records.Decoder{Path: []string{"events"}}, `{"error": "quota"}`, `has no events; it begins with "{\"error\": \"quota\"}"`},
		"no list":           {records.Decoder{Path: []string{"events"}}, `{"events": {"a": 1}}`, "events: it is no list"},
		"no object":         {records.Decoder{Shape: records.Values}, `[]`, "no object"},
		"empty":             {records.Decoder{}, "", "empty"},
		"csv without lines": {records.Decoder{Form: records.CSV}, "", "first line"},
		"csv login page":    {records.Decoder{Form: records.CSV}, "\n<!DOCTYPE html>\n<html>", "no CSV but begins with"},
		"csv error":         {records.Decoder{Form: records.CSV}, `{"error": "quota"}`, "no CSV but begins with"},
		"csv equal names":   {records.Decoder{Form: records.CSV}, "a,b,a\n1,2,3\n", `names "a" twice, fields 1 and 3`},
		"csv short line":    {records.Decoder{Form: records.CSV}, "a,b\n1\n", "wrong number of fields"},
		"no xml":            {records.Decoder{Form: records.XML}, `{"a": 1}`, "no XML"},
		"xml bomb":          {records.Decoder{Form: records.XML}, strings.Repeat("<a>", 5000), "deep"},
		"xml entities":      {records.Decoder{Form: records.XML}, `<!DOCTYPE a [<!ENTITY b "x">]><a>&b;</a>`, "no XML"},
		"expand of nothing": {records.Decoder{Expand: [][]string{{"grups"}}}, `[{"groups": [1]}, {}]`, `none of 2 records has grups; the last begins with "{}"`},
		"lines cut off":     {records.Decoder{Form: records.NDJSON}, "{\"a\": 1}\n{\"b\": ", "cut off"},
		"expand no list":    {records.Decoder{Expand: [][]string{{"e"}}}, `[{"e": 1}]`, "record 0, e: it is no list"},
	} {
		_, err := test.d.Decode([]byte(test.body))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if errors.Is(err, records.ErrCut) != strings.Contains(name, "cut off") {
			t.Errorf("%s: taken for cut off, or not: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`[{"e":[{"a":1}]}]`, "a,b\n1,2", "<a><b c='d'/>x</a>", "{}\n{}", `{"e":{"x":1}}`} {
		for _, form := range []string{"json", "ndjson", "csv", "xml"} {
			f.Add(seed, form, "e", true)
		}
	}
	f.Fuzz(func(t *testing.T, body, form, path string, expand bool) {
		d := records.Decoder{Form: records.Form(form), Parent: "of"}
		if expand {
			d.Expand = [][]string{{path}}
		} else if path != "" {
			d.Path = []string{path}
		}
		page, err := d.Decode([]byte(body))
		if err != nil {
			return
		}
		whole := d.Form == records.CSV || d.Form == records.XML || d.Form != records.NDJSON && json.Valid([]byte(body))
		for _, r := range page.Records {
			if whole && !json.Valid(r) {
				t.Fatalf("%q has the record %q, which is no JSON", body, r)
			}
		}
	})
}
