package rawjson

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestDoc(t *testing.T) {
	const text = ` {"a": [1, {"b": "x"}, []], "q\"\u00e9": {}, "a": {"c": null}} `
	var d Doc
	if mended, err := d.Parse([]byte(text), All); err != nil || mended != 0 || string(d.Value(0)) != strings.TrimSpace(text) {
		t.Fatalf("%s, %d, %v", d.Value(0), mended, err)
	}
	a := d.Member(0, "a")
	if a < 0 || string(d.Value(a)) != `{"c": null}` || d.Member(a, "c") < 0 || d.Member(a, "a") >= 0 {
		t.Errorf("of two members with one name the last counts; got %d", a)
	}
	if e := d.Member(0, `q"é`); e < 0 || string(d.Value(e)) != "{}" || d.Known(e) {
		t.Errorf("a name with escapes is at %d", e)
	}
	list := 2
	if one, three, four := d.Element(list, 1), d.Element(list, 2), d.Element(list, 3); string(d.Value(one)) != `{"b": "x"}` ||
		string(d.Value(three)) != "[]" || four >= 0 || d.Element(list, -1) >= 0 {
		t.Errorf("elements of %s are %d, %d, %d", d.Value(list), one, three, four)
	}
	own := []byte(`{"b": "x"}`)
	inner := d.Inner(d.Element(list, 1), own)
	if b := inner.Member(0, "b"); b < 0 || string(inner.Value(b)) != `"x"` || &inner.Value(0)[0] != &own[0] || inner.Len() != 3 {
		t.Errorf("a part by itself is %s with %d parts", inner.Value(0), inner.Len())
	}
	if d.Take([]byte(`{"a": NaN}`), All) || d.Take([]byte("\"\xff\""), All) || d.Take([]byte(strings.Repeat("[", 257)+strings.Repeat("]", 257)), All) {
		t.Error("what needs mending, or is no document, was taken")
	}
}

// A string that is decoded in the same pass is what it is to who asks later, whichever of several with that name it is.
func TestHold(t *testing.T) {
	var d, inner Doc
	d.Hold("held", &inner, All)
	for _, c := range []struct{ text, want string }{
		{`{"held": "a\u00e9\"b", "b": "c"}`, `aé"b`}, {`{"held": 1, "held": "x\n"}`, "x\n"}, {`{"held": "x", "held": ""}`, ""},
		{`{"he\u006cd": "\\"}`, `\`}, {`{"b": {"held": "no"}, "held": "plain, and longer than eight"}`, "plain, and longer than eight"},
	} {
		for _, levels := range []int{2, All} {
			if _, err := d.Parse([]byte(c.text), levels); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if text, ok := d.Text(d.Member(0, "held")); !ok || string(text) != c.want {
					t.Errorf("in %s it is %q", c.text, text)
				}
				if b := d.Member(0, "b"); b >= 0 {
					d.Text(b)
				}
			}
		}
	}
	for text, at := range map[string]int{`{"held": "x", "held": 1}`: 4, `{"held": {"held": "x"}}`: 2, `["held", 1]`: 2, `{}`: 0} {
		if _, err := d.Parse([]byte(text), All); err != nil {
			t.Fatal(err)
		}
		if got, ok := d.Text(at); ok {
			t.Errorf("part %d of %s is %q", at, text, got)
		}
	}
	for _, text := range []string{`"held"`, `["held", "x"]`} {
		if _, err := d.Parse([]byte(text), 1); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{`{"held": "`, `{"held": "\x"}`, "{\"held\": \"\n\"}", `{"held": "\u12"}`, `{"held": "\`} {
		if d.Take([]byte(text), All) {
			t.Errorf("%s was taken", text)
		}
	}
	if _, err := d.Parse([]byte(`{"held": "`+strings.Repeat("x", maxDecoded)+`"}`), 2); err != nil {
		t.Fatal(err)
	}
	if d.Forget(); cap(d.decoded) > maxDecoded {
		t.Errorf("keeps %d bytes", cap(d.decoded))
	}
}

// checkDoc compares what is known of a document with what is found by going through it.
func checkDoc(t *testing.T, body []byte, v Value) {
	for _, levels := range []int{1, 2, 3, All} {
		var d Doc
		if _, err := d.Parse(body, levels); err != nil || !bytes.Equal(d.Value(0), v) {
			t.Fatalf("%q is %s, %v", body, d.Value(0), err)
		}
		checkPart(t, &d, 0, levels)
		if at := d.Len() - 1; levels > 1 {
			want, isText := d.Value(at).Text()
			var held Doc
			held.Hold("a", new(Doc), levels)
			if _, err := held.Parse(body, levels); err != nil || !slices.Equal(held.parts, d.parts) {
				t.Fatalf("%s has other parts, %v", v, err)
			}
			if got, ok := held.Text(at); ok != isText || string(got) != want {
				t.Fatalf("the last part of %s is %q, want %q", v, got, want)
			}
		}
		own := d.Inner(0, bytes.Clone(v))
		checkPart(t, &own, 0, levels)
	}
}

func checkPart(t *testing.T, d *Doc, at, levels int) {
	v := d.Value(at)
	if levels == 1 {
		if d.Known(at) {
			t.Fatalf("%s was taken apart too deep", v)
		}
		return
	}
	elements, _ := v.Elements()
	for i, e := range elements {
		inside := d.Element(at, i)
		if inside < 0 || !bytes.Equal(d.Value(inside), e) {
			t.Fatalf("element %d of %s is at %d, want %s", i, v, inside, e)
		}
		inner := d.Inner(inside, nil)
		checkPart(t, &inner, 0, levels-1)
		checkPart(t, d, inside, levels-1)
	}
	members, _ := v.Members()
	if got := d.Members(at); !slices.EqualFunc(got, members, func(a, b Member) bool {
		return bytes.Equal(a.Name, b.Name) && bytes.Equal(a.Value, b.Value)
	}) {
		t.Fatalf("members of %s are %s", v, got)
	}
	for _, m := range members {
		inside := d.Member(at, string(m.Name))
		if want := members.Get(string(m.Name)); inside < 0 || !bytes.Equal(d.Value(inside), want) {
			t.Fatalf("member %q of %s is at %d, want %s", m.Name, v, inside, want)
		}
		checkPart(t, d, inside, levels-1)
	}
	if v.IsArray() && d.Element(at, len(elements)) >= 0 || d.Known(at) != (len(elements)+len(members) > 0) {
		t.Fatalf("%s has more in it than there is", v)
	}
}

// There are no more parts than MostParts says, and who reserves room for them takes no memory for any.
func TestMostParts(t *testing.T) {
	for _, text := range []string{
		"1", "[]", "{}", ` [1, {"a": [true, null]}, "x,y:[{"] `, `{"a":{"b":{}},"a":1}`, "[" + strings.Repeat("[],", 500) + strings.Repeat(`"aaaaaaaaaaaaaaaaaaaa",`, 500) + "0]",
	} {
		var doc Doc
		doc.Reserve(MostParts([]byte(text)))
		if n := testing.AllocsPerRun(5, func() {
			if !doc.Take([]byte(text), All) {
				t.Fatalf("%s is not taken", text)
			}
		}); n > 1 { // the text
			t.Errorf("%.40s: %g allocations", text, n)
		}
		if most := MostParts([]byte(text)); doc.Len() > most {
			t.Errorf("%.40s has %d parts, more than %d", text, doc.Len(), most)
		}
	}
}
