package show

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"stackstream/event"
	"stackstream/internal/check"
)

// What comes from a cloud never tells a terminal what to do, whichever way it is shown, and is one line.
func FuzzShow(f *testing.F) {
	for _, s := range []string{
		"plain", "", "\x1b[2J\x1b]0;title\x07", "\u009b31m", "\x9b31m", "a\r\nb\tc", "\u202egnp.exe", "\x7f\b", "\ufeff\u2028", "e\u0301",
		"\U000e0041", "\xff\xfe", "\x00", strings.Repeat("w", 300),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		p := NewPrinter(&out, false)
		e := event.Event{
			Provider: event.Provider(s), EventType: s, Level: s, Message: s, Targets: []event.Target{{Kind: s, ID: s}},
		}
		if err := p.Event(&e); err != nil {
			t.Fatal(err)
		}
		if err := p.Note("%s", s); err != nil {
			t.Fatal(err)
		}
		harmless(t, out.String(), 2)
		out.Reset()
		finding := check.Finding{Severity: check.Failed, Subject: s, Message: s, Hint: s}
		if err := Findings(&out, check.Findings{finding}, false); err != nil {
			t.Fatal(err)
		}
		if err := Watermarks(&out, []event.Watermark{{Owner: s}}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		harmless(t, out.String(), 4)
		if again := Clean(Clean(s)); again != Clean(s) {
			t.Fatalf("%q is cleaned to %q and then to %q", s, Clean(s), again)
		}

		// As a part of JSON it means the same.
		text, err := json.MarshalIndent(map[string]string{s: s}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		shown := JSON(text)
		harmless(t, string(shown)+"\n", 1)
		var before, after any
		if json.Unmarshal(text, &before) != nil || json.Unmarshal(shown, &after) != nil || !reflect.DeepEqual(before, after) {
			t.Fatalf("%s is shown as %s", text, shown)
		}
	})
}

// FuzzJSON takes JSON as somebody else may have written it.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{"{\"a\":\"\u009b\"}", "[1,\n\t2]", "\"\xff\x80\"", "\"\U000e0041\u2028\"", `"\u001b"`, "{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		kept := bytes.Clone(text)
		shown := JSON(text)
		if !bytes.Equal(text, kept) {
			t.Fatal("it changes what it was given")
		}
		harmless(t, string(shown)+"\n", 1)
		var before, after any
		if err := json.Unmarshal(text, &before); err != nil {
			return // a number that is too large
		}
		if json.Unmarshal(shown, &after) != nil || !reflect.DeepEqual(before, after) {
			t.Fatalf("%q is shown as %q", text, shown)
		}
		if again := JSON(shown); !bytes.Equal(again, shown) {
			t.Fatalf("%q, and then %q", shown, again)
		}
	})
}

// harmless finds fault unless text is that many lines of printable characters.
func harmless(t *testing.T, text string, lines int) {
	t.Helper()
	if n := strings.Count(text, "\n"); n != lines || !strings.HasSuffix(text, "\n") {
		t.Fatalf("%d lines, want %d: %q", n, lines, text)
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%U in %q", r, text)
		}
	}
	if !utf8.ValidString(text) {
		t.Fatalf("no UTF-8: %q", text)
	}
}
