package setting_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/internal/setting"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1B": 1, "2kB": 2000, "2KiB": 2048, "3 MiB": 3 << 20, "1gib": 1 << 30, "4TB": 4e12,
	} {
		if got, err := setting.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1", "MiB", "-1MiB", "1.5GiB", "1XiB", "99999999999TiB"} {
		if got, err := setting.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "250ms": 250 * time.Millisecond, "7d": 168 * time.Hour, "1d1h": 25 * time.Hour, "1h30m": 90 * time.Minute,
	} {
		if got, err := setting.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-1s", "d", "1h1d", "99999999999d", "36500d9999999h"} {
		if got, err := setting.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

// What is written as a default is read as the same value, and so are all units.
func TestUnitsAreWrittenAsTheyAreRead(t *testing.T) {
	durations, sizes := regexp.MustCompile(setting.DurationPattern), regexp.MustCompile(setting.SizePattern)
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 1<<55).Draw(t, "duration"))
		d = d.Truncate(rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "unit"))
		text := setting.FormatDuration(d)
		if got, err := setting.ParseDuration(text); err != nil || got != d || !durations.MatchString(text) {
			t.Fatalf("%s is written %s and read as %s, %v", d, text, got, err)
		}
		n := rapid.Int64Range(0, 1<<20).Draw(t, "size") << rapid.SampledFrom([]int{0, 10, 20, 30, 40}).Draw(t, "power")
		text = setting.FormatSize(n)
		if got, err := setting.ParseSize(text); err != nil || got != n || !sizes.MatchString(text) {
			t.Fatalf("%d is written %s and read as %d, %v", n, text, got, err)
		}
	})
}

// The patterns of the schema take what the decoder takes.
func TestPatternsAreTheParsers(t *testing.T) {
	durations, sizes := regexp.MustCompile(setting.DurationPattern), regexp.MustCompile(setting.SizePattern)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"1", "23", "0", ".", "5", "d", "h", "m", "s", "ms", "µs", "+", "-", " ", "k", "K", "i", "B", "b", "GiB"}), 0, 5).
			Draw(t, "parts"), "")
		if _, err := setting.ParseDuration(text); durations.MatchString(text) != (err == nil) {
			t.Fatalf("duration %q: %v", text, err)
		}
		if _, err := setting.ParseSize(text); sizes.MatchString(text) != (err == nil) {
			t.Fatalf("size %q: %v", text, err)
		}
	})
}
