package timeform_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/internal/timeform"
)

func TestZones(t *testing.T) {
	for _, test := range []struct {
		form       timeform.Form
		text, want string
	}{
		{"2006-01-02 15:04:05 in Europe/Berlin", "2026-01-02 15:04:05", "2026-01-02T14:04:05Z"},
		{"2006-01-02 15:04:05 in Europe/Berlin", "2026-07-02 15:04:05", "2026-07-02T13:04:05Z"},
		{"date in America/New_York", "2026-01-02", "2026-01-02T05:00:00Z"},
		{"rfc3339 in Europe/Berlin", "2026-01-02T15:04:05", "2026-01-02T14:04:05Z"},
		{"rfc3339 in Europe/Berlin", "2026-01-02T15:04:05Z", "2026-01-02T15:04:05Z"},
		{"rfc3339 in Europe/Berlin", "2026-01-02T15:04:05.5-08:00", "2026-01-02T23:04:05.5Z"},
		{"2006-01-02 15:04 in Europe/Berlin", "2026-10-25 02:30", "2026-10-25T00:30:00Z"},       // twice: the earlier one
		{"2006-01-02 15:04 in Europe/Berlin", "2026-10-25 03:00", "2026-10-25T02:00:00Z"},       // once
		{"2006-01-02 15:04 in Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-04T14:45:00Z"}, // half an hour, twice
	} {
		if err := test.form.Check(); err != nil {
			t.Errorf("%s: %v", test.form, err)
		}
		got, err := test.form.Parse(test.text)
		if err != nil || got.Format(time.RFC3339Nano) != test.want {
			t.Errorf("%s: %q was read as %s (%v), want %s", test.form, test.text, got.Format(time.RFC3339Nano), err, test.want)
		}
	}
	for form, want := range map[timeform.Form]string{
		"2006-01-02 15:04:05 in Berlin": "names no zone", "2006-01-02 15:04:05 in ": "names no zone", "date in Local": "names no zone",
		"unix in Europe/Berlin": "has no zone", "http in Europe/Berlin": "zone of its own",
		"2006-01-02 15:04:05 -0700 in Europe/Berlin": "zone of its own", "15:04 in Europe/Berlin": "does not say the day",
	} {
		if err := form.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", form, err, want)
		}
	}
	for form, want := range map[timeform.Form]bool{
		"date in Europe/Berlin": true, "date in America/Santiago": true, "date in Asia/Kolkata": false, "date": false, "date in UTC": false,
	} {
		if form.Repeats() != want {
			t.Errorf("%q repeats an hour: %v, want %v", form, !want, want)
		}
	}
}

// What is read is never later than what was written, and earlier only where the clock shows the same twice.
func TestAZoneIsReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom([]string{"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "America/Caracas"}).Draw(t, "zone")
		form := timeform.Form("2006-01-02 15:04:05 in " + zone)
		at := time.Unix(rapid.Int64Range(1e9, 2e9).Draw(t, "at"), 0).UTC()
		got, err := form.Parse(form.Format(at))
		if err != nil || got.After(at) || at.Sub(got) > time.Hour {
			t.Fatalf("%s was written and %s was read (%v)", at, got, err)
		}
		if form.Format(got) != form.Format(at) {
			t.Fatalf("%s and %s are not written alike", at, got)
		}
	})
}
