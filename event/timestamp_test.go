package event_test

import (
	"encoding/json"
	"testing"
	"time"

	"stackstream/event"
)

func TestParseTimestamp(t *testing.T) {
	for in, want := range map[string]string{
		// What the services were seen to write.
		"2026-11-22 05:42:09.830894":       "2026-11-22T05:42:09.830894Z",
		"2026-11-22T06:06:06.755824":       "2026-11-22T06:06:06.755824Z",
		"2026-11-22T06:06:06Z":             "2026-11-22T06:06:06Z",
		"2026-11-22 06:06:06+00:00":        "2026-11-22T06:06:06Z",
		"2026-11-22T05:54:02.719000+0000":  "2026-11-22T05:54:02.719000Z",
		"2015-05-12T07:24:39.462895Z":      "2015-05-12T07:24:39.462895Z",
		"2026-11-22 06:06:06.755824+00:00": "2026-11-22T06:06:06.755824Z",
		// Zones.
		"2026-11-22T01:30:00+02:00": "2026-11-21T23:30:00Z",
		"2026-11-22T01:30:00-0530":  "2026-11-22T07:00:00Z",
		"2026-11-22T01:30:00+02":    "2026-11-21T23:30:00Z",
		"2026-12-31T23:30:00-01:00": "2027-01-01T00:30:00Z",
		// Precision is kept as it was given.
		"2026-11-22T06:06:06":              "2026-11-22T06:06:06Z",
		"2026-11-22T06:06:06.0Z":           "2026-11-22T06:06:06.0Z",
		"2026-11-22T06:06:06.120Z":         "2026-11-22T06:06:06.120Z",
		"2026-11-22T06:06:06.123456789Z":   "2026-11-22T06:06:06.123456789Z",
		"2026-11-22T06:06:06.1234567891Z":  "2026-11-22T06:06:06.123456789Z",
		"2026-11-22T06:06:06.999999999999": "2026-11-22T06:06:06.999999999Z",
		"2026-11-22T06:06:06,755Z":         "2026-11-22T06:06:06.755Z",
		// Borders.
		" 2026-11-22T06:06:06Z\n":  "2026-11-22T06:06:06Z",
		"2024-02-29T00:00:00Z":     "2024-02-29T00:00:00Z",
		"0001-01-01T00:00:00Z":     "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999Z": "9999-12-31T23:59:59.999Z",
	} {
		ts, err := event.ParseTimestamp(in)
		if err != nil || ts.String() != want {
			t.Errorf("%q is %q, %v; want %q", in, ts, err, want)
		}
		if ts.Time().Location() != time.UTC || ts.IsZero() {
			t.Errorf("%q is %v, zero %v", in, ts.Time(), ts.IsZero())
		}
	}
}

func TestParseTimestampRefuses(t *testing.T) {
	for _, in := range []string{
		"", " ", "null", "now", "1448171000", "2026-11-22", "06:06:06", "2026-11-22T06:06", "22.11.2026 06:06:06",
		"2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T23:60:00Z",
		"2016-12-31T23:59:60Z", "2026-11-22T06:06:06.Z", "2026-11-22T06:06:06 UTC", "2026-11-22T06:06:06Zx",
		"0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "12026-01-01T00:00:00Z",
		"2026-11-22T06:06:06+25:00",
	} {
		if ts, err := event.ParseTimestamp(in); err == nil {
			t.Errorf("%q is %q", in, ts)
		}
	}
}

func FuzzParseTimestamp(f *testing.F) {
	for _, s := range []string{
		"2026-11-22 05:42:09.830894", "2026-11-22T05:54:02.719000+0000", "2026-11-22T06:06:06Z", "2026-11-22T06:06:06,5+02",
		"0001-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "", "2026-11-22T6:06:06.1234567891234Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ts, err := event.ParseTimestamp(s)
		if err != nil {
			return
		}
		if strict, err := time.Parse(time.RFC3339Nano, ts.String()); err != nil || !strict.Equal(ts.Time()) {
			t.Fatalf("%q is written as %q: %v", s, ts, err)
		}
		if again, err := event.ParseTimestamp(ts.String()); err != nil || again != ts {
			t.Fatalf("%q is %q, and that %q: %v", s, ts, again, err)
		}
	})
}

func TestTimestampZeroAndNew(t *testing.T) {
	var zero event.Timestamp
	if !zero.IsZero() || zero.String() != "" {
		t.Errorf("the zero Timestamp is %q", zero)
	}
	ts := event.NewTimestamp(time.Date(2026, 11, 22, 7, 6, 6, 123456789, time.FixedZone("", 3600)))
	if ts.IsZero() || ts.String() != "2026-11-22T06:06:06.123456Z" {
		t.Errorf("a new one is %q", ts)
	}
}

func TestTimestampJSON(t *testing.T) {
	for in, want := range map[string]string{
		`"2026-11-22 05:42:09.830000"`: `"2026-11-22T05:42:09.830000Z"`, `""`: `""`, `null`: `""`,
	} {
		var ts event.Timestamp
		if err := json.Unmarshal([]byte(in), &ts); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if out, err := json.Marshal(ts); err != nil || string(out) != want {
			t.Errorf("%s comes back as %s, %v", in, out, err)
		}
	}
	kept := event.NewTimestamp(noon)
	if err := json.Unmarshal([]byte(`""`), &kept); err != nil || !kept.IsZero() {
		t.Errorf("an empty text leaves %q, %v", kept, err)
	}
	if err := json.Unmarshal([]byte(`"soon"`), &kept); err == nil {
		t.Error("no error")
	}
}
