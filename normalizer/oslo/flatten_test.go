package oslo

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/internal/rawjson"
)

func TestFlatten(t *testing.T) {
	const tags = `"nova_object.name":"N","nova_object.namespace":"nova","nova_object.version":"1.0"`
	for _, c := range []struct{ name, in, want string }{
		{"an object", `{` + tags + `,"nova_object.data":{"uuid":"u","n":1.10}}`, `{` + tags + `,"uuid":"u","n":1.10}`},
		{"data first", `{"nova_object.data":{"uuid":"u"},` + tags + `}`, `{"uuid":"u",` + tags + `}`},
		{"data in the middle", `{"nova_object.version":"1","nova_object.data":{"uuid":"u"},"nova_object.name":"N"}`,
			`{"nova_object.version":"1","uuid":"u","nova_object.name":"N"}`},
		{"nested, in lists, with other prefixes",
			`{"ironic_object.name":"A","ironic_object.data":{"l":[{"watcher_object.name":"B","watcher_object.data":{"x":{"versioned_object.name":"C","versioned_object.data":{"y":[]}}}},2]}}`,
			`{"ironic_object.name":"A","l":[{"watcher_object.name":"B","x":{"versioned_object.name":"C","y":[]}},2]}`},
		{"inside something else", `{"a":[{"b":{` + tags + `,"nova_object.data":{"c":1}}}]}`, `{"a":[{"b":{` + tags + `,"c":1}}]}`},
		{"with changes", `{` + tags + `,"nova_object.changes":["a"],"nova_object.data":{"a":1}}`,
			`{` + tags + `,"nova_object.changes":["a"],"a":1}`},
		{"empty data behind", `{"nova_object.name":"N" , "nova_object.data" : { } }`, `{"nova_object.name":"N"  }`},
		{"empty data in front", `{"nova_object.data":{} , "nova_object.name":"N"}`, `{ "nova_object.name":"N"}`},
		{"space", "{ \"nova_object.name\" : \"N\" ,\n\"nova_object.data\" : { \"a\" : 1 }\n}",
			"{ \"nova_object.name\" : \"N\" ,\n \"a\" : 1 \n}"},
		{"a string that looks like it", `{"a":"{\"nova_object.name\":\"N\",\"nova_object.data\":{}}"}`, ""},
		{"something beside it", `{` + tags + `,"nova_object.data":{"a":1},"other":2}`, ""},
		{"a part twice", `{` + tags + `,"nova_object.data":{"a":1},"nova_object.data":{"a":2}}`, ""},
		{"two prefixes", `{"nova_object.name":"N","ironic_object.data":{"a":1}}`, ""},
		{"no name", `{"nova_object.version":"1","nova_object.data":{"a":1}}`, ""},
		{"no such part", `{"nova_object.name":"N","nova_object.size":1,"nova_object.data":{"a":1}}`, ""},
		{"no such prefix", `{"nova.name":"N","nova.data":{"a":1},"x_object.data":1}`, ""},
		{"data that is a list", `{` + tags + `,"nova_object.data":[{"a":1}]}`, ""},
		{"data that is null", `{` + tags + `,"nova_object.data":null}`, ""},
		{"data that would hide the name",
			`{"nova_object.name":"N","nova_object.data":{"nova_object.name":"M","nova_object.data":{"a":1}}}`,
			`{"nova_object.name":"N","nova_object.data":{"nova_object.name":"M","a":1}}`},
		{"no object at all", `["nova_object.data"]`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := rawjson.Parse([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == "" {
				want = c.in
			}
			got := Flatten(v)
			if string(got) != want || !json.Valid(got) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if string(v) != c.in {
				t.Errorf("the argument was changed to %s", v)
			}
		})
	}
}

// However deep, flattening goes through a payload once.
func TestFlattenDeep(t *testing.T) {
	const levels = 100
	in := strings.Repeat(`{"nova_object.name":"N","nova_object.data":{"a":`, levels) +
		`"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat(`}}`, levels)
	got := Flatten(rawjson.Value(in))
	want := strings.Repeat(`{"nova_object.name":"N","a":`, levels) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat(`}`, levels)
	if string(got) != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// versioned makes values that have versioned objects in them, and what is nearly one.
func versioned(t *rapid.T, deep int) string {
	space := func() string { return rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space") }
	kinds := 5
	if deep == 0 {
		kinds = 2
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"1", "null", "-0.5e1"}).Draw(t, "scalar")
	case 1, 2:
		return rapid.SampledFrom([]string{`""`, `"{[,\\\":"`, `"a_object.data"`}).Draw(t, "text")
	case 3:
		var list []string
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			list = append(list, space()+versioned(t, deep-1)+space())
		}
		return "[" + strings.Join(list, ",") + space() + "]"
	}
	names := []string{"a_object.name", "a_object.data", "a_object.version"}
	if rapid.IntRange(0, 3).Draw(t, "other names") == 0 {
		names = []string{"a", "b_object.data", "a_object.name", "a_object.data", "a_object.changes", "a_object.x", `a\u005fobject.data`}
	}
	var list []string
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		name := rapid.SampledFrom(names).Draw(t, "name")
		value := versioned(t, deep-1)
		if strings.HasSuffix(name, "data") && rapid.Bool().Draw(t, "plain") {
			value = rapid.SampledFrom([]string{"{}", "{ }", `{"x": 1}`, `{"x":` + value + `,"y":[` + value + `]}`}).Draw(t, "data")
		}
		list = append(list, space()+`"`+name+`"`+space()+":"+space()+value+space())
	}
	return "{" + strings.Join(list, ",") + space() + "}"
}

// flattened is Flatten by its definition, without space.
func flattened(t *rapid.T, v rawjson.Value) string {
	if elements, ok := v.Elements(); ok {
		var list []string
		for _, e := range elements {
			list = append(list, flattened(t, e))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	members, ok := v.Members()
	if !ok {
		return string(v)
	}
	var list []string
	have, prefixes, tags := map[string]bool{}, map[string]bool{}, 0
	for _, m := range members {
		if prefix, n := splitName(m.Name); n >= 0 {
			tags++
			prefixes[string(prefix)] = true
		}
		have[string(m.Name)] = true
	}
	whole := tags == len(members) && len(prefixes) == 1 && len(have) == len(members) && have["a_object.name"]
	for _, m := range members {
		data := flattened(t, m.Value)
		inner, isObject := m.Value.Members()
		tagged := false
		for _, m := range inner {
			_, n := splitName(m.Name)
			tagged = tagged || n >= 0
		}
		if whole && isObject && !tagged && strings.HasSuffix(string(m.Name), ".data") {
			if data = data[1 : len(data)-1]; data != "" {
				list = append(list, data)
			}
			continue
		}
		name, err := json.Marshal(string(m.Name))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(name)+":"+data)
	}
	return "{" + strings.Join(list, ",") + "}"
}

// What is left is known as if it had been taken apart.
func TestFlattenAnything(t *testing.T) {
	var f flattening
	rapid.Check(t, func(t *rapid.T) {
		text := versioned(t, 5)
		var whole rawjson.Doc
		if _, err := whole.Parse([]byte(`[0, {"b": [`+text+`]}, {}]`), rawjson.All); err != nil {
			t.Fatal(err)
		}
		doc := whole.Inner(5, nil)
		if string(doc.Value(0)) != text {
			t.Fatalf("%s is not %s", doc.Value(0), text)
		}
		flat := f.flatten(&doc)
		got, want := flat.Value(0), flattened(t, rawjson.Value(text))
		compact, ok := rawjson.AppendCompact(nil, got)
		if !ok || unescapedName(string(compact)) != want {
			t.Fatalf("%s becomes\n%s, want\n%s", text, got, want)
		}
		if string(doc.Value(0)) != text {
			t.Fatalf("%s was changed", text)
		}
		var again rawjson.Doc
		again.Open(got, rawjson.All)
		if flat.Len() != again.Len() {
			t.Fatalf("%s has %d parts, want %d", got, flat.Len(), again.Len())
		}
		for at := range again.Len() {
			start, end := flat.Span(at)
			from, to := again.Span(at)
			if start != from || end != to || flat.Next(at) != again.Next(at) || !bytes.Equal(flat.Value(at), again.Value(at)) {
				t.Fatalf("part %d of %s is %d to %d, next %d, want %d to %d, next %d", at, got, start, end, flat.Next(at), from, to, again.Next(at))
			}
		}
	})
}

func unescapedName(s string) string {
	return strings.ReplaceAll(s, `a\u005fobject.data`, "a_object.data")
}
