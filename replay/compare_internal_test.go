package replay

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestChanges(t *testing.T) {
	change := func(path, before, after string) Change {
		c := Change{Path: path}
		if before != "" {
			c.Old = json.RawMessage(before)
		}
		if after != "" {
			c.New = json.RawMessage(after)
		}
		return c
	}
	for name, test := range map[string]struct {
		before, after string
		want          []Change
	}{
		"the same":         {`{"a":1}`, `{"a":1}`, nil},
		"another order":    {`{"a":1,"b":[{"c":2,"d":3}]}`, `{"b":[{"d":3,"c":2}],"a":1}`, nil},
		"another spelling": {`{"a":"é/\n"}`, `{ "a": "\u00e9\/\u000a" }`, nil},
		"a digit":          {`{"a":1.10}`, `{"a":1.1}`, []Change{change("a", "1.10", "1.1")}},
		"many digits":      {`12345678901234567890`, `12345678901234567891`, []Change{change("", "12345678901234567890", "12345678901234567891")}},
		"kinds": {`{"a":"1","b":null,"c":true,"d":{},"e":[]}`, `{"a":1,"b":false,"c":null,"d":[],"e":{}}`, []Change{
			change("a", `"1"`, "1"), change("b", "null", "false"), change("c", "true", "null"), change("d", "{}", "[]"), change("e", "[]", "{}"),
		}},
		"new and gone":  {`{"a":1,"b":2}`, `{"b":2,"c":null}`, []Change{change("a", "1", ""), change("c", "", "null")}},
		"lists":         {`[1,2,[3]]`, `[1,5,[3,4]]`, []Change{change("[1]", "2", "5"), change("[2][1]", "", "4")}},
		"strange names": {`{"a.b":{"":1,"x y":2}}`, `{"a.b":{"":2,"x y":3}}`, []Change{change(`["a.b"][""]`, "1", "2"), change(`["a.b"]["x y"]`, "2", "3")}},
		"twice":         {`{"a":1,"a":2}`, `{"a":2}`, nil}, // the last one counts, as readers have it
		"deep":          {`{"a":{"b":{"c":[{"d":1}]}}}`, `{"a":{"b":{"c":[{"d":2}]}}}`, []Change{change("a.b.c[0].d", "1", "2")}},
	} {
		got, err := changes([]byte(test.before), []byte(test.after))
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s (%v) (-want +got):\n%s", name, err, diff)
		}
	}
	if _, err := changes([]byte(`{`), []byte(`{}`)); err == nil {
		t.Error("what is no JSON is compared")
	}
	for path, want := range map[string]string{
		"a.b": "a.b", "a[0].b[12]": "a[].b[]", `["x[3]y"][4]`: `["x[]y"][]`, "": "", "a[": "a[",
	} {
		if got := (Change{Path: path}).Field(); got != want {
			t.Errorf("%s is the field %s, want %s", path, got, want)
		}
	}
}

// Two values differ exactly if decoding them by the digit finds them different.
func TestChangesAgreeWithDecoding(t *testing.T) {
	value := rapid.Custom(func(t *rapid.T) any { return draw(t, 3) })
	rapid.Check(t, func(t *rapid.T) {
		a, b := value.Draw(t, "a"), value.Draw(t, "b")
		before, _ := json.Marshal(a)
		after, _ := json.MarshalIndent(b, "", "\t")
		got, err := changes(before, after)
		if err != nil {
			t.Fatal(err)
		}
		if same := cmp.Equal(a, b); same != (len(got) == 0) {
			t.Fatalf("%s and %s differ in %v", before, after, got)
		}
	})
}

func draw(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return json.Number(rapid.SampledFrom([]string{"0", "1", "1.0", "-1", "1e3"}).Draw(t, "number"))
	case 3:
		return rapid.SampledFrom([]string{"", "a", "é", "\"", "\\u00e9", "<"}).Draw(t, "text")
	case 4:
		list := []any{}
		for range rapid.IntRange(0, 2).Draw(t, "length") {
			list = append(list, draw(t, depth-1))
		}
		return list
	default:
		object := map[string]any{}
		for range rapid.IntRange(0, 2).Draw(t, "members") {
			object[rapid.SampledFrom([]string{"a", "b", "c.d"}).Draw(t, "name")] = draw(t, depth-1)
		}
		return object
	}
}
