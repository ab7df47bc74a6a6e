package event

import (
	"fmt"
	"strings"
	"time"
)

// Timestamp is an instant in UTC that keeps the precision it was given with: 6 digits in are 6 digits out.
type Timestamp struct {
	t    time.Time
	form int // digits of the fraction, 0 to 9, plus one; 0 in the zero Timestamp
}

// NewTimestamp takes t with microseconds, the precision of OpenStack.
func NewTimestamp(t time.Time) Timestamp {
	return Timestamp{t: t.UTC().Truncate(time.Microsecond), form: 6 + 1}
}

// ParseTimestamp reads the forms that OpenStack's services write:
//
//	2026-11-22 05:42:09.830894         naive, meaning UTC (oslo.messaging)
//	2026-11-22T06:06:06.755824         naive, meaning UTC (Panko, Ceilometer)
//	2026-11-22T06:06:06Z               nova's versioned objects
//	2026-11-22 06:06:06+00:00          with a zone, after a space
//	2026-11-22T05:54:02.719000+0000    CADF: a zone without a colon
//
// It takes any zone and any number of fractional digits, of which it keeps 9, after a point or, as ISO 8601 allows, a
// comma. It refuses years outside 1 to 9999, and the 60th second, which none of these services can write.
func ParseTimestamp(s string) (Timestamp, error) {
	text := strings.TrimSpace(s)
	if len(text) > len("2006-01-02") && text[len("2006-01-02")] == ' ' {
		text = text[:len("2006-01-02")] + "T" + text[len("2006-01-02")+1:]
	}
	layouts := [...]string{
		time.RFC3339,
		"2006-01-02T15:04:05", // time.Parse takes a fraction after the seconds of any layout
		"2006-01-02T15:04:05Z0700",
		"2006-01-02T15:04:05Z07",
	}
	if !hasZone(text) { // to find out that a text is not of a form costs more than to read it
		layouts[0], layouts[1] = layouts[1], layouts[0]
	}
	for _, layout := range layouts {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		t = t.UTC()
		if y := t.Year(); y < 1 || y > 9999 {
			break
		}
		return Timestamp{t: t, form: fractionDigits(text) + 1}, nil
	}
	return Timestamp{}, fmt.Errorf("%q is not a time in a known form", s)
}

// hasZone tells whether a time looks as RFC 3339 ends it: with Z, or with an offset that has a colon.
func hasZone(text string) bool {
	n := len(text)
	return n > 6 && (text[n-1] == 'Z' || text[n-6] == '+' || text[n-6] == '-')
}

// fractionDigits counts the digits after the seconds' point.
func fractionDigits(text string) int {
	at := strings.IndexAny(text, ".,")
	if at < 0 {
		return 0
	}
	n := 0
	for _, c := range text[at+1:] {
		if c < '0' || c > '9' {
			break
		}
		n++
	}
	return min(n, 9)
}

// Time returns the instant.
func (ts Timestamp) Time() time.Time { return ts.t }

// IsZero tells whether the timestamp was never set.
func (ts Timestamp) IsZero() bool { return ts.form == 0 }

// String is RFC 3339 in UTC with the precision the timestamp was given with; "" for the zero Timestamp.
func (ts Timestamp) String() string { return string(ts.append(make([]byte, 0, len(inFull)+1))) }

// inFull is the form with all digits of the fraction.
const inFull = "2006-01-02T15:04:05.000000000"

// append appends String.
func (ts Timestamp) append(dst []byte) []byte {
	if ts.IsZero() {
		return dst
	}
	layout := len("2006-01-02T15:04:05")
	if digits := ts.form - 1; digits > 0 {
		layout += len(".") + digits
	}
	return append(ts.t.AppendFormat(dst, inFull[:layout]), 'Z')
}

// MarshalText writes String.
func (ts Timestamp) MarshalText() ([]byte, error) { return ts.append(nil), nil }

// UnmarshalText reads what MarshalText writes, and the other forms of ParseTimestamp.
func (ts *Timestamp) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*ts = Timestamp{}
		return nil
	}
	parsed, err := ParseTimestamp(string(text))
	if err != nil {
		return err
	}
	*ts = parsed
	return nil
}
