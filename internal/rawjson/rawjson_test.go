package rawjson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"space around", " \n{\"a\": 1}\t", `{"a": 1}`},
		{"byte order mark", "\xef\xbb\xbf[1]", `[1]`},
		{"bare words of Python", `{"a":NaN,"b":[-Infinity, Infinity],"NaN":"Infinity \" NaN"}`,
			`{"a":"NaN","b":["-Infinity", "Infinity"],"NaN":"Infinity \" NaN"}`},
		{"bytes that are no UTF-8", "\"a\xffb\"", `"a` + "\uFFFD" + `b"`},
		{"numbers keep every digit", `[1.10,12345678901234567890123,1e400,-0]`, `[1.10,12345678901234567890123,1e400,-0]`},
		{"half a surrogate pair stays", `"\ud83d"`, `"\ud83d"`},
		{"nested as deep as allowed", strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
			strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse([]byte(c.in))
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", "empty"},
		{"white space", " \n", "empty"},
		{"cut off", `{"a":`, "byte 5: unexpected end of JSON input"},
		{"two values", `{} {}`, "byte 4: invalid character '{' after top-level value"},
		{"a word", `{"a":nan}`, "byte 7: invalid character 'a' in literal null (expecting 'u')"},
		{"nested too deep", strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), "nested deeper than 256"},
		{"nested far too deep", strings.Repeat("[", 20000), "byte 10001: invalid character '[' exceeded max depth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse([]byte(c.in))
			if err == nil || got != nil || err.Error() != c.want {
				t.Errorf("got %s, %v; want error %q", got, err, c.want)
			}
		})
	}
}

func TestMembersAndElements(t *testing.T) {
	v, err := Parse([]byte(`{ "a" : [ 1 , "x,]}" , {"b": null} ] , "q\"\u00e9":{}, "a": -1.50 }`))
	if err != nil {
		t.Fatal(err)
	}
	members, ok := v.Members()
	want := Object{
		{[]byte("a"), Value(`[ 1 , "x,]}" , {"b": null} ]`)}, {[]byte(`q"é`), Value(`{}`)}, {[]byte("a"), Value(`-1.50`)},
	}
	if !ok || !reflect.DeepEqual(members, want) {
		t.Errorf("members: %s", members)
	}
	if got := members.Get("a"); string(got) != "-1.50" {
		t.Errorf("of two members with one name the last counts; got %s", got)
	}
	if got := members.Get("none"); got != nil {
		t.Errorf("got %s for a name that is not there", got)
	}
	elements, ok := members[0].Value.Elements()
	if !ok || !reflect.DeepEqual(elements, []Value{Value("1"), Value(`"x,]}"`), Value(`{"b": null}`)}) {
		t.Errorf("elements: %s", elements)
	}
	if _, ok := members[0].Value.Members(); ok {
		t.Error("an array has members")
	}
	if _, ok := v.Elements(); ok {
		t.Error("an object has elements")
	}
}

func TestEmptyAndID(t *testing.T) {
	for in, want := range map[string]struct {
		empty bool
		id    string
	}{
		`null`: {true, ""}, `""`: {true, ""}, `{ }`: {true, ""}, `[]`: {true, ""}, ``: {true, ""},
		`0`: {false, "0"}, `-1`: {false, "-1"}, `false`: {false, ""}, `"x\u0020y"`: {false, "x y"}, `[1]`: {false, ""},
	} {
		if v := Value(in); v.IsEmpty() != want.empty || v.ID() != want.id {
			t.Errorf("%s: empty %v, id %q", in, v.IsEmpty(), v.ID())
		}
	}
}

func TestMended(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     int
	}{
		{"nothing", `{"a":"NaN","b":1}`, 0},
		{"a byte order mark is no value", "\xef\xbb\xbf[1]", 0},
		{"bare words", `[NaN,-Infinity,{"a":Infinity},"Infinity"]`, 3},
		{"each run of bytes that are no UTF-8", "[\"\xff\xfe a \xff\",\"\u00e9\",\"\xc3\"]", 3},
		{"U+FFFD that was sent", "[\"\uFFFD\"]", 0},
		{"both", "[NaN,\"\xff\"]", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, mended, err := ParseMended([]byte(c.in))
			if err != nil || mended != c.want {
				t.Errorf("%d, %v; want %d", mended, err, c.want)
			}
			if runs := bytes.Count(v, []byte("\uFFFD")) - strings.Count(c.in, "\uFFFD"); runs > mended {
				t.Errorf("%d runs were replaced in %s", runs, v)
			}
		})
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		`""`: "", `"plain é"`: "plain é", `"\b\f\n\r\t\"\\\/"`: "\b\f\n\r\t\"\\/", `"a\u00e9\u00E9z"`: "aééz",
		`"\ud83d\uDC31!"`: "🐱!", `"\ud83d"`: "\uFFFD", `"\udc31\ud83d"`: "\uFFFD\uFFFD", `"\ud83dx"`: "\uFFFDx",
		`"\ud83d\u0041"`: "\uFFFDA", `"\ud83d\n"`: "\uFFFD\n", `"\ud83d\ud83d\udc31"`: "\uFFFD🐱", `"\u0000"`: "\x00",
	} {
		var reference string
		if err := json.Unmarshal([]byte(in), &reference); err != nil || reference != want {
			t.Errorf("%s: the test wants %q, encoding/json makes %q, %v", in, want, reference, err)
		}
		if got, ok := Value(in).Text(); !ok || got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{``, `1`, `null`, `["a"]`, `{"a":"b"}`} {
		if got, ok := Value(in).Text(); ok || got != "" {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func TestTokens(t *testing.T) {
	v, err := Parse([]byte(` { "a" : [ 1.50 , "x:" , null ] , "b\u0063" :{} , "d":true } `))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for token := range v.Tokens() {
		text := string(v[token.Start:token.End])
		if token.Kind == Name {
			text = "name " + string(v.NameOf(token))
		}
		got = append(got, text)
	}
	want := []string{"{", "name a", "[", "1.50", `"x:"`, "null", "]", "name bc", "{", "}", "name d", "true", "}"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
	for token := range v.Tokens() {
		if token.Kind != OpenObject {
			t.Error("went on")
		}
		break
	}
	for token := range Value(nil).Tokens() {
		t.Errorf("a token in nothing: %v", token)
	}
}

func TestIsNumber(t *testing.T) {
	for s, want := range map[string]bool{
		"0": true, "-0": true, "1.50": true, "1e5": true, "1E-400": true, "123456789012345678901234567890": true,
		"": false, "-": false, "+1": false, "01": false, "1.": false, ".5": false, "1,5": false, "0x1": false, "inf": false,
		"nan": false, "NaN": false, " 1": false, "1 ": false, "1_000": false, "1\n2": false, "null": false, "1 2": false,
	} {
		if got := IsNumber(s); got != want {
			t.Errorf("IsNumber(%q) is %v", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,"x",{"b":null}],"a":2}`, `{"a":NaN}`, `[-Infinity]`, "\"\xff\"", `{"\u0061":"\ud800"}`, `[[[[1e999]]]]`, `{" ":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := Parse(body)
		if err != nil {
			return
		}
		if !json.Valid(v) {
			t.Fatalf("not valid: %s", v)
		}
		checkParts(t, v)
		checkTokens(t, v)
		checkDoc(t, body, v)
	})
}

// checkTokens puts the tokens together again.
func checkTokens(t *testing.T, v Value) {
	var whole []byte
	before := Kind(0)
	for token := range v.Tokens() {
		if opens := token.Kind == OpenObject || token.Kind == OpenArray; opens && !json.Valid(v[token.Start:v.EndOf(token)]) ||
			!opens && v.EndOf(token) != token.End {
			t.Fatalf("in %s the value at %d ends at %d", v, token.Start, v.EndOf(token))
		}
		closes := token.Kind == CloseObject || token.Kind == CloseArray
		if before != 0 && before != OpenObject && before != OpenArray && before != Name && !closes {
			whole = append(whole, ',')
		}
		whole = append(whole, v[token.Start:token.End]...)
		if before = token.Kind; before == Name {
			whole = append(whole, ':')
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, v); err != nil || !bytes.Equal(whole, compact.Bytes()) {
		t.Fatalf("the tokens of %s make %s", v, whole)
	}
}

// checkParts compares what Members and Elements find with encoding/json.
func checkParts(t *testing.T, v Value) {
	if members, ok := v.Members(); ok {
		var want map[string]json.RawMessage
		if err := json.Unmarshal(v, &want); err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			checkParts(t, m.Value)
		}
		for name, value := range want {
			if got := members.Get(name); !bytes.Equal(got, value) {
				t.Fatalf("member %q of %s is %s, want %s", name, v, got, value)
			}
		}
	}
	if elements, ok := v.Elements(); ok {
		var want []json.RawMessage
		if err := json.Unmarshal(v, &want); err != nil {
			t.Fatal(err)
		}
		if len(elements) != len(want) {
			t.Fatalf("%d elements of %s, want %d", len(elements), v, len(want))
		}
		for i, e := range elements {
			if !bytes.Equal(e, want[i]) {
				t.Fatalf("element %d of %s is %s, want %s", i, v, e, want[i])
			}
			checkParts(t, e)
		}
	}
	if s, ok := v.Text(); ok {
		var want string
		if err := json.Unmarshal(v, &want); err != nil || s != want {
			t.Fatalf("text of %s is %q, want %q", v, s, want)
		}
	}
}
