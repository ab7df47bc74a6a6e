package setting_test

import (
	"strings"
	"testing"
	"time"

	"stackstream/internal/setting"
)

// A duration is read as what it says, or refused with its text; nothing is negative, nothing overflows.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"", "0", "30s", "7d", "1d12h", "36500d", "36501d", "99999999999999999999d", "-1s", "1d-1s", "106751d24h", "1e3s", "5", "d", "1.5d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := setting.ParseDuration(text)
		switch {
		case d < 0 || err != nil && d != 0:
			t.Fatalf("%q is %v, %v", text, d, err)
		case err != nil:
			return
		}
		if again, err := setting.ParseDuration(d.String()); err != nil || again != d {
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
		n, err := setting.ParseSize(text)
		if n < 0 || err != nil && n != 0 {
			t.Fatalf("%q is %d, %v", text, n, err)
		}
		if err != nil && !strings.Contains(err.Error(), "wants a size") && !strings.Contains(err.Error(), "more than can be counted") {
			t.Fatal(err)
		}
	})
}
