package rawjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// What is JSON is what encoding/json says, to the byte.
func FuzzValid(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, ` [1, -0.5e+10, "a\u00e9\"", true, false, null, {"a": {"b": []}}] `, `{"a":1,}`, `[1,]`, `{"a"}`, `{1:2}`, `01`, `-`, `1.`, `1e`,
		`"\x"`, `"\u12g4"`, "\"a\nb\"", `"` + strings.Repeat("plain text ", 10) + `\\"`, `"` + strings.Repeat("x", 7) + "\x1f" + `"`, `nul`, `truex`, ``, ` `,
		`[[[[]]]]`, `]`, `[}`, `{"a":[}`, "\"\x7f\xff\"", `{"a" :1 , "b": "`, `"a`, `[1 2]`, `{"a":1 "b":2}`, `,`, `"é\/"`,
		strings.Repeat("[", 300) + strings.Repeat("]", 300),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ok, deepest := new(Doc).scan(text, 0)
		if ok != json.Valid(text) {
			t.Fatalf("%q is valid: %t", text, ok)
		}
		if ok && deepest != depth(text) {
			t.Fatalf("%q is %d deep, not %d", text, depth(text), deepest)
		}
		var want bytes.Buffer
		want.WriteString("before")
		if err := json.Compact(&want, text); err != nil {
			want.Reset()
			want.WriteString("before")
		}
		if got, compact := AppendCompact([]byte("before"), text); compact != ok || !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%q is %q without space, %t", text, got, compact)
		}
	})
}

func TestValidFollowsAsDeepAsOthers(t *testing.T) {
	for _, n := range []int{9999, 10000, 10001} {
		text := []byte(strings.Repeat("[", n) + strings.Repeat("]", n))
		if ok, _ := new(Doc).scan(text, 0); ok != json.Valid(text) {
			t.Errorf("%d deep is valid: %t", n, ok)
		}
	}
}

// depth counts brackets outside of strings.
func depth(v Value) int {
	deepest, now := 0, 0
	for i := 0; i < len(v); {
		switch v[i] {
		case '"':
			i = stringEnd(v, i)
			continue
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		}
		i++
	}
	return deepest
}

// A string is written as encoding/json writes it, and read as it reads it, wherever in it an escape stands.
func FuzzText(f *testing.F) {
	for _, seed := range []string{
		"", "plain", "\"\\/\b\f\n\r\t\x00\x1f\x7f<&>", "\u2028\u2029", "größe 🐱", "\xff\xc3", "12345678\"12345678\\", `{"a": "\u00e9\ud83d\udc31\ud83d"}`,
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, s, inner string) {
		var want bytes.Buffer
		reference := json.NewEncoder(&want)
		reference.SetEscapeHTML(false)
		if err := reference.Encode(s); err != nil {
			t.Fatal(err)
		}
		quoted := AppendQuoted([]byte("7"), s)
		if got := string(quoted[1:]) + "\n"; got != want.String() {
			t.Fatalf("%q is written %s, want %s", s, got, want.String())
		}
		for _, v := range []Value{quoted[1:], Value(`"` + inner + `"`)} {
			var text string
			if !utf8.Valid(v) || json.Unmarshal(v, &text) != nil {
				continue
			}
			if got, ok := v.Text(); !ok || got != text {
				t.Fatalf("%s is read as %q, want %q", v, got, text)
			}
		}
		text := []byte(`"` + inner)
		got, end := appendString([]byte("before"), text, 0)
		if end != stringIn(text, 0) || end < 0 && string(got) != "before" || end > 0 && string(got) != "before"+unquote(text[:end]) {
			t.Fatalf("of %s the first %d bytes are read as %q", text, end, got)
		}
	})
}
