package timeform_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/internal/timeform"
)

func TestForms(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 123456789, time.UTC)
	for _, test := range []struct {
		form      timeform.Form
		text      string
		precision time.Duration
	}{
		{"rfc3339", "2026-01-02T15:04:05.123456789Z", 1},
		{"unix", "1767366245", time.Second},
		{"unix_ms", "1767366245123", time.Millisecond},
		{"unix_us", "1767366245123456", time.Microsecond},
		{"unix_ns", "1767366245123456789", 1},
		{"http", "Fri, 02 Jan 2026 15:04:05 GMT", time.Second},
		{"date", "2026-01-02", 24 * time.Hour},
		{"2006-01-02 15:04:05.000", "2026-01-02 15:04:05.123", time.Millisecond},
		{"02/Jan/2006:15:04:05 -0700", "02/Jan/2026:15:04:05 +0000", time.Second},
	} {
		if err := test.form.Check(); err != nil {
			t.Errorf("%s: %v", test.form, err)
		}
		if got := test.form.Format(at); got != test.text {
			t.Errorf("%s is written %s, want %s", test.form, got, test.text)
		}
		got, err := test.form.Parse(test.text)
		if want := at.Truncate(test.precision); err != nil || !got.Equal(want) {
			t.Errorf("%s: %s was read as %s (%v), want %s", test.form, test.text, got, err, want)
		}
		if step := test.form.Step(); step != test.precision {
			t.Errorf("%s has steps of %s, want %s", test.form, step, test.precision)
		}
	}
}

func TestOddities(t *testing.T) {
	for _, test := range []struct {
		form       timeform.Form
		text, want string
	}{
		{"unix", "1767366245.123456789", "2026-01-02T15:04:05.123456789Z"},
		{"unix", "1.767366245e9", "2026-01-02T15:04:05Z"},
		{"unix_ms", "-1", "1969-12-31T23:59:59.999Z"},
		{"unix", " 0 ", "1970-01-01T00:00:00Z"},
		{"rfc3339", "2026-01-02 15:04:05+01:00", "2026-01-02T14:04:05Z"},
		{"rfc3339", "2026-01-02T15:04:05", "2026-01-02T15:04:05Z"},
	} {
		got, err := test.form.Parse(test.text)
		if err != nil || got.Format(time.RFC3339Nano) != test.want {
			t.Errorf("%s: %q was read as %s (%v), want %s", test.form, test.text, got.Format(time.RFC3339Nano), err, test.want)
		}
	}
	for form, texts := range map[timeform.Form][]string{
		"unix":    {"", "x", "1e99", "1e", "0x10", "1/3", "999999999999999", "1_000", strings.Repeat("1", 50), "NaN", "Inf"},
		"rfc3339": {"yesterday", "0000-01-01T00:00:00Z", ""},
		"http":    {"2026-01-02"},
		"date":    {"2026-13-01"},
	} {
		for _, text := range texts {
			if at, err := form.Parse(text); err == nil {
				t.Errorf("%s: %q was read as %s", form, text, at)
			}
		}
	}
	if _, err := (timeform.Forms{"unix", "date", "http"}).Parse("2026-01-02"); err != nil {
		t.Error(err)
	}
	if _, err := (timeform.Forms{"unix", "http"}).Parse("2026-01-02"); err == nil || !strings.Contains(err.Error(), "http, nor of unix") {
		t.Error(err)
	}
}

func TestMistakes(t *testing.T) {
	for form, want := range map[timeform.Form]string{
		"": "is empty", "rfc": "is none of", "YYYY-MM-DD": "is none of", "15:04:05": "does not say the day", "Jan 2": "does not say the day",
	} {
		if err := form.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", form, err, want)
		}
	}
}

// What is written is read as the same time, up to what the form can say, and never as a later one.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds"), rapid.Int64Range(0, 999999999).Draw(t, "nanos")).UTC()
		form := rapid.SampledFrom([]timeform.Form{"rfc3339", "unix", "unix_ms", "unix_us", "unix_ns", "http", "date"}).Draw(t, "form")
		text := form.Format(at)
		got, err := form.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got.After(at) || at.Sub(got) >= form.Step() {
			t.Fatalf("%s was written %s and read as %s", at, text, got)
		}
	})
}

// A whole number is the time that it is with a fraction of nothing.
func TestWholeNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		form := rapid.SampledFrom([]timeform.Form{timeform.Unix, timeform.UnixMS, timeform.UnixUS, timeform.UnixNS}).Draw(t, "form")
		text := rapid.SampledFrom([]string{"", "+", "0", "-00"}).Draw(t, "sign") + strconv.FormatUint(rapid.Uint64().Draw(t, "n"), 10)
		got, err := form.Parse(text)
		want, wantErr := form.Parse(text + ".0")
		if !got.Equal(want) || (err == nil) != (wantErr == nil) {
			t.Fatalf("%s is %v, %v, want %v, %v", text, got, err, want, wantErr)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"1767366245.5", "2026-01-02T15:04:05Z", "-1e10", "Fri, 02 Jan 2026 15:04:05 GMT"} {
		f.Add(seed, "unix")
	}
	f.Fuzz(func(t *testing.T, text, form string) {
		f := timeform.Form(form)
		if f.Check() != nil {
			return
		}
		at, err := f.Parse(text)
		if err != nil {
			return
		}
		if y := at.Year(); y < 1 || y > 9999 {
			t.Fatalf("%q was read as %s", text, at)
		}
		f.Format(at)
	})
}
