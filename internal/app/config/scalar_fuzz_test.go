package config

import (
	"strings"
	"testing"
	"time"
)

// A duration is read as what it says, or refused with its text; nothing is negative, nothing overflows.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"", "0", "30s", "7d", "1d12h", "36500d", "36501d", "99999999999999999999d", "-1s", "1d-1s", "106751d24h", "1e3s", "5", "d", "1.5d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		switch {
		case d < 0 || err != nil && d != 0:
			t.Fatalf("%q is %v, %v", text, d, err)
		case err != nil:
			return
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Fatalf("%q is %v, and then %v (%v)", text, d, again, err)
		}
		days, rest, found := strings.Cut(text, "d")
		if plain, err := time.ParseDuration(rest); found && err == nil && days != "" && plain > d {
			t.Fatalf("%q is %v, less than its hours", text, d)
		}
	})
}

// A size is read as what it says, or refused; nothing is negative, nothing overflows.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"", "0", "8MiB", "9223372036854775807B", "9223372036854775808B", "8388608TiB", "1 GB", "-1B", "1.5GB", "5", "1kb", "00B", "1K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseSize(text)
		if n < 0 || err != nil && n != 0 {
			t.Fatalf("%q is %d, %v", text, n, err)
		}
		if err != nil && !strings.Contains(err.Error(), "wants a size") && !strings.Contains(err.Error(), "more than can be counted") {
			t.Fatal(err)
		}
	})
}

// What is no reference stays as it is, and the value of a variable is never looked into again.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "plain", "${A}", "$${A}", "$$$${A}", "${", "${}", "${A", "$A", "${A}${B}", "a${B}c", "${ A}", "${A\n}", "$", "$$"} {
		f.Add(s, "value ${A} $$")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		asked := 0
		out, err := expand(text, func(name string) (string, bool) {
			asked++
			if !variable.MatchString(name) {
				t.Fatalf("asks for %q", name)
			}
			return value, name != "B"
		})
		switch {
		case err != nil && len(value) > 12 && !strings.Contains(text, value) && strings.Contains(err.Error(), value):
			t.Fatalf("the value is in the error: %v", err)
		case err == nil && !strings.Contains(text, "$") && out != text:
			t.Fatalf("%q became %q", text, out)
		case err == nil && len(out) > len(text)+asked*len(value):
			t.Fatalf("%q became %q", text, out)
		}
		// Escaped, any text is itself.
		if got, err := expand(strings.ReplaceAll(text, "$", "$$"), nil); err != nil || got != text {
			t.Fatalf("%q escaped is %q (%v)", text, got, err)
		}
	})
}
