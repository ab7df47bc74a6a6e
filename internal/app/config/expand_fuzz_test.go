package config

import (
	"strings"
	"testing"
)

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
