package oslo

import (
	"encoding/json"
	"strings"
	"testing"

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
