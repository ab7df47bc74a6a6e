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

// checkDoc compares what is known of a document with what is found by going through it.
func checkDoc(t *testing.T, body []byte, v Value) {
	for _, levels := range []int{1, 2, 3, All} {
		var d Doc
		if _, err := d.Parse(body, levels); err != nil || !bytes.Equal(d.Value(0), v) {
			t.Fatalf("%q is %s, %v", body, d.Value(0), err)
		}
		checkPart(t, &d, 0, levels)
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
