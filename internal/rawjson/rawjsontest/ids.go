// Package rawjsontest draws ids as strangers write them, and checks what becomes of them where events are collected.
package rawjsontest

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
)

// ID is an id as somebody may write it in JSON.
type ID struct {
	// Quoted is the string, which may have bytes that are no UTF-8.
	Quoted string
	// Text is what it says, if Exact: in no part of it text would be something else than what stands there.
	Text  string
	Exact bool

	means string // the same for two that say the same, and only for those
}

// part is a piece of an id: what is written, what it says, and whether a text can say it.
type part struct {
	quoted, text string
	mended       bool
}

func parts() []part {
	return []part{
		{"a", "a", false}, {"\uFFFD", "\uFFFD", false}, {"é", "é", false}, {`\u0061`, "a", false}, {`\ufffd`, "\uFFFD", false},
		{`\"`, `"`, false}, {`\\`, `\`, false}, {"ud800", "ud800", false}, {`\ud83d\ude00`, "\U0001F600", false},
		{"\xff", "\xff", true}, {"\xfe", "\xfe", true}, {"\xc3", "\xc3", true}, {"\xed\xa0\x80", "\xed\xa0\x80", true},
		{`\ud800`, "half d800", true}, {`\uDBFF`, "half dbff", true}, {`\udc00`, "half dc00", true},
	}
}

func idOf(drawn []part) ID {
	id := ID{Exact: true}
	var quoted, text, means strings.Builder
	for i, p := range drawn {
		// Two halves make a pair, and a byte that begins a character another one with what follows.
		if i > 0 && (p.mended || drawn[i-1].mended) {
			p.quoted, p.text = "."+p.quoted, "."+p.text
		}
		quoted.WriteString(p.quoted)
		text.WriteString(p.text)
		means.WriteString(p.text)
		if p.mended {
			means.WriteString("<mended>")
			id.Exact = false
		}
	}
	id.Quoted, id.Text, id.means = `"`+quoted.String()+`"`, text.String(), means.String()
	return id
}

// draw draws one, and another that often differs from it in a single place.
func draw(t *rapid.T) (one, other ID) {
	first := rapid.SliceOfN(rapid.SampledFrom(parts()), 1, 5).Draw(t, "one")
	second := append([]part(nil), first...)
	if rapid.Bool().Draw(t, "apart") {
		second = rapid.SliceOfN(rapid.SampledFrom(parts()), 1, 5).Draw(t, "other")
	} else {
		second[rapid.IntRange(0, len(second)-1).Draw(t, "at")] = rapid.SampledFrom(parts()).Draw(t, "is")
	}
	return idOf(first), idOf(second)
}

// Distinct checks what becomes of ids on a road, which makes a raw event of one whose id is quoted, and always the same one. Two that
// say different things are never one identity; one that text can say is the identity itself, and one that it can't a hash.
func Distinct(t *testing.T, road func(t *rapid.T, quoted string) event.Raw) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		one, other := draw(t)
		identity := func(id ID) event.ID {
			raw, again := road(t, id.Quoted), road(t, id.Quoted)
			for _, r := range []*event.Raw{&raw, &again} {
				if r.ID == "" { // as the loop of the collectors does
					r.ID, r.Hashed = event.HashID(r.Body), true
				}
			}
			if raw.ID != again.ID {
				t.Fatalf("%q is %q, and then %q", id.Quoted, raw.ID, again.ID)
			}
			if raw.Hashed == id.Exact {
				t.Fatalf("%q is %q, a hash: %v", id.Quoted, raw.ID, raw.Hashed)
			}
			if id.Exact && !strings.Contains(string(raw.ID), id.Text) { // there may be more that is part of it
				t.Fatalf("%q is %q", id.Quoted, raw.ID)
			}
			return raw.ID
		}
		if a, b := identity(one), identity(other); one.means != other.means && a == b {
			t.Fatalf("%q and %q are both %q", one.Quoted, other.Quoted, a)
		}
	})
}
