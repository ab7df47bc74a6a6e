package rawjson

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// JSON in a string is taken apart as it is written there, or left to who decodes it.
func TestHeld(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{}`, `{}`},
		{` { \"a\" : [ 1 , -2.5e+3 , true,false,null, [ ] , { } ] , \"b\": \"\" } `, `{"a":[1,-2.5e+3,true,false,null,[],{}],"b":""}`},
		{`[\"plain, and longer than eight\"]`, `["plain, and longer than eight"]`},
		{`{\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud800\": 1}`, `{"\"\\\/\b\f\n\r\t\u00e9\ud800":1}`},
		{`{\"a\": \"é\u00e9\ud83d\udc31\ud83d\"}`, `{"a":"éé🐱` + "\uFFFD" + `"}`},

		{``, ""}, {` `, ""}, {`1`, ""}, {`\"a\"`, ""}, {`null`, ""}, // neither an object nor a list
		{`{`, ""}, {`{\"a\"}`, ""}, {`{\"a\":}`, ""}, {`{\"a\":1,}`, ""}, {`[1,]`, ""}, {`[1 2]`, ""}, {`[}`, ""}, {`{]`, ""}, {`{}{}`, ""}, {`{1:2}`, ""},
		{`[01]`, ""}, {`[-]`, ""}, {`[1.]`, ""}, {`[nul]`, ""}, {`[NaN]`, ""}, {`[\"a]`, ""}, {`[\"`, ""}, {`[\`, ""}, {`[a]`, ""},
		{`[\"\n\"]`, ""}, {`[\"\\x\"]`, ""}, {`[\"\\u12g4\"]`, ""}, {`[\"\\\x\"]`, ""}, {`[\"\u12g4\"]`, ""}, {`[\"\x\"]`, ""}, {"[\\\"\n\\\"]", ""}, {"[\n]", ""},
		{`\ufeff{}`, ""}, {"\ufeff{}", ""}, {`[\n1]`, ""}, {`\u007b}`, ""}, {`[\"\u0061\"]`, ""}, {`[\"\u0022\u005d`, ""}, {`[\"\/\"]`, ""}, {`[1\u0030]`, ""},
		{strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)},
		{strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), ""},
	} {
		var d, inner Doc
		d.Hold("a", &inner, All)
		text := `{"x": "", "a": "` + c.text + `", "b": "` + c.text + `"}`
		d.Take([]byte(text), 2)
		if got := d.apart; got != (c.want != "") {
			t.Errorf("%s is taken apart: %t", c.text, got)
			continue
		}
		if c.want == "" {
			continue
		}
		if string(inner.Value(0)) != c.want {
			t.Errorf("%s is %s, want %s", c.text, inner.Value(0), c.want)
		}
		for name, held := range map[string]bool{"x": false, "a": true, "b": false} {
			if got := d.Held(d.Member(0, name)); got != held {
				t.Errorf("%s is held: %t", name, got)
			}
		}
		var decoded string
		if err := json.Unmarshal([]byte(`"`+c.text+`"`), &decoded); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, ok := d.Text(d.Member(0, "a")); !ok || string(got) != decoded || string(inner.Value(0)) != c.want {
				t.Errorf("%s is %q, want %q; inside is %s", c.text, got, decoded, inner.Value(0))
			}
		}
	}
}

// Of several with the name the last counts, whichever of them could be taken apart.
func TestHeldTwice(t *testing.T) {
	for _, c := range []struct {
		text string
		held bool
	}{
		{`{"a": "{}", "a": "[1]"}`, true}, {`{"a": "x", "a": "[1]"}`, true}, {`{"a": "[2]", "a": "x"}`, false}, {`{"a": "[2]", "a": 1}`, false},
		{`{"a": "[2]", "\u0061": "[1]"}`, false}, {`{"b": {"a": "[1]"}}`, false},
	} {
		var d, inner Doc
		d.Hold("a", &inner, All)
		if !d.Take([]byte(c.text), All) {
			t.Fatal(c.text)
		}
		if at := d.Member(0, "a"); d.Held(at) != c.held || c.held && string(inner.Value(0)) != "[1]" {
			t.Errorf("%s: held %t", c.text, d.Held(at))
		}
	}
}

func TestHeldForgets(t *testing.T) {
	var d, inner Doc
	d.Hold("a", &inner, All)
	if !d.Take([]byte(`{"a": "[\"`+strings.Repeat("x", maxDecoded)+`\"]"}`), 2) || !d.Held(2) {
		t.Fatal("not held")
	}
	if inner.Forget(); inner.own != nil {
		t.Errorf("keeps %d bytes", cap(inner.own))
	}
}

// What is taken apart in a string is what is found by decoding it first.
func FuzzHeld(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` [ 1 , {\"a\" : \"\\n\\\"\\\\\\u00e9\"} ] `, `{\"a\u00e9\ud83d\udc31\ud83d\":[[[]]]}`, `[\"\u0022]`, `{\"\\u0061\":-1.5e3,\"b\":null}`, `[\n]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		text := slices.Concat([]byte(`"`), content, []byte(`", "`))
		if !utf8.Valid(text) {
			return
		}
		before := bytes.Clone(text)
		for _, levels := range []int{1, 2, 3, All} {
			d := Doc{own: []byte("what was there before")}
			end := d.takeString(text, 0, levels)
			if !bytes.Equal(text, before) {
				t.Fatal("the text was changed")
			}
			if end < 0 {
				continue
			}
			decoded, want := appendString(nil, text, 0)
			if end != want {
				t.Fatalf("%s ends at %d, not %d", text, want, end)
			}
			compact, ok := AppendCompact(nil, decoded)
			var parsed Doc
			if !ok || !bytes.Equal(d.Value(0), compact) || !parsed.Take(compact, levels) {
				t.Fatalf("%s is %s, taken as %s", text, decoded, d.Value(0))
			}
			if !slices.Equal(d.parts, parsed.parts) || d.escaped != parsed.escaped || d.from != parsed.from || d.first != parsed.first {
				t.Fatalf("%s has parts %v, want %v", text, d.parts, parsed.parts)
			}
		}
	})
}

// What services send is taken apart as it is.
func FuzzHeldIsTaken(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x\n",{"b":null}],"a":2}`), true)
	f.Add([]byte(`["\u00e9\"\\ é 🐱",-0.5e1,true]`), false)
	f.Fuzz(func(t *testing.T, inner []byte, asPython bool) {
		var compact bytes.Buffer
		if !utf8.Valid(inner) || json.Compact(&compact, inner) != nil || depth(compact.Bytes()) > MaxDepth {
			return
		}
		if c := compact.Bytes()[0]; c != '{' && c != '[' {
			return
		}
		content := compact.String()
		var out []byte
		for _, r := range content {
			switch {
			case r == '"' || r == '\\':
				out = append(out, '\\', byte(r))
			case r >= utf8.RuneSelf && asPython && r < 1<<16:
				out = appendEscape(out, r)
			case r == 0x7f:
				out = append(out, 0x7f)
			default:
				out = utf8.AppendRune(out, r)
			}
		}
		if bytes.Contains(out, []byte(`\\\/`)) {
			return
		}
		var d Doc
		text := slices.Concat([]byte(`"`), out, []byte(`"`))
		if end := d.takeString(text, 0, All); end != len(text) || string(d.Value(0)) != content {
			t.Fatalf("%s is not taken apart: %d", text, end)
		}
	})
}
