package event

import (
	"testing"
	"time"
)

// What is read and written by hand is what package time makes of it.
func FuzzPlainTimestamp(f *testing.F) {
	for _, s := range []string{
		"2026-11-22 05:42:09.830894", "2026-11-22T06:06:06Z", "2024-02-29T00:00:00", "2023-02-29T00:00:00", "1900-02-29 00:00:00", "2000-02-29 00:00:00.1",
		"2026-04-31T00:00:00", "2026-12-31T23:59:59.999999999Z", "0000-01-01T00:00:00", "0001-01-01 00:00:00.000000001", "9999-12-31T23:59:59",
		"2026-11-22T24:00:00", "2026-11-22T23:60:00", "2026-11-22T23:59:60", "2026-00-22T00:00:00", "2026-13-22T00:00:00", "2026-01-00T00:00:00",
		"2026-11-22T06:06:06.", "2026-11-22T06:06:06.Z", "2026-11-22T06:06:06.1234567891", "2026-11-22T06:06:06,5", "2026-11-22T06:06:06.-5", "+026-11-22T06:06:06",
		"2026-11-22t06:06:06", "2026-11-22T06:06:06ZZ", "2026-11-22  6:06:06", "2026/11/22 06:06:06", "",
	} {
		f.Add(s, int64(0), 0)
	}
	f.Add("", int64(-62167219200), 1)
	f.Add("", int64(-62167219201), 10)
	f.Add("", int64(253402300800), 7)
	f.Fuzz(func(t *testing.T, s string, at int64, form int) {
		if plain, ok := parsePlain(s); ok {
			if want, ok := parseLayouts(s); !ok || plain != want {
				t.Fatalf("%q is %v, want %v, %t", s, plain, want, ok)
			}
		}
		ts := Timestamp{t: time.Unix(at%1e12, at%1e9).UTC(), form: 1 + int(uint(form)%10)}
		layout := "2006-01-02T15:04:05.000000000"[:len("2006-01-02T15:04:05.")+ts.form-1]
		if ts.form == 1 {
			layout = "2006-01-02T15:04:05"
		}
		if want := ts.t.Format(layout) + "Z"; ts.String() != want {
			t.Fatalf("%v is written %q, want %q", ts.t, ts, want)
		}
	})
}

// Times as services write them take the shorter way.
func TestPlainTimestamp(t *testing.T) {
	for _, s := range []string{"2026-11-22 05:42:09.830894", "2026-11-22T06:06:06.755824", "2026-11-22T06:06:06Z", "2024-02-29T00:00:00Z"} {
		if _, ok := parsePlain(s); !ok {
			t.Errorf("%q is not plain", s)
		}
	}
}

func BenchmarkTimestamp(b *testing.B) {
	const text = "2026-11-22 05:42:09.830894"
	ts, err := ParseTimestamp(text)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := ParseTimestamp(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		space := make([]byte, 0, 64)
		for b.Loop() {
			space = ts.append(space[:0])
		}
	})
}
