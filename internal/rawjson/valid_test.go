package rawjson

import (
	"encoding/json"
	"strings"
	"testing"
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
