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
	if ts, ok := parsePlain(text); ok {
		return ts, nil
	}
	if ts, ok := parseLayouts(text); ok {
		return ts, nil
	}
	return Timestamp{}, fmt.Errorf("%q is not a time in a known form", s)
}

// seconds is how long a time is up to its fraction.
const seconds = len("2006-01-02T15:04:05")

// parsePlain reads what nearly all times are, without a zone or with Z; false of any other: time.Parse takes five times as long.
func parsePlain(text string) (ts Timestamp, ok bool) {
	text = strings.TrimSuffix(text, "Z")
	if len(text) < seconds || text[4] != '-' || text[7] != '-' || text[10] != ' ' && text[10] != 'T' || text[13] != ':' || text[16] != ':' {
		return Timestamp{}, false
	}
	year, month, day := number(text[:4]), number(text[5:7]), number(text[8:10])
	hour, minute, second := number(text[11:13]), number(text[14:16]), number(text[17:19])
	if year < 1 || month < 1 || month > 12 || day < 1 || day > 28 && day > daysIn(year, time.Month(month)) ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return Timestamp{}, false
	}
	nanos, digits := 0, 0
	if len(text) > seconds {
		fraction := text[seconds+1:]
		digits, nanos = len(fraction), number(fraction)
		if text[seconds] != '.' || digits == 0 || digits > 9 || nanos < 0 {
			return Timestamp{}, false
		}
		for range 9 - digits {
			nanos *= 10
		}
	}
	return Timestamp{t: time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC), form: digits + 1}, true
}

// number is what digits stand for, -1 where there is something else.
func number(s string) int {
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return -1
		}
		n = 10*n + int(c)
	}
	return n
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// parseLayouts reads all that ParseTimestamp takes.
func parseLayouts(text string) (ts Timestamp, ok bool) {
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
		return Timestamp{t: t, form: fractionDigits(text) + 1}, true
	}
	return Timestamp{}, false
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
	digits := ts.form - 1
	year, month, day := ts.t.Date()
	if year < 0 || year > 9999 {
		layout := inFull[:seconds]
		if digits > 0 {
			layout = inFull[:seconds+1+digits]
		}
		return append(ts.t.AppendFormat(dst, layout), 'Z')
	}
	hour, minute, second := ts.t.Clock()
	dst = appendTwo(appendTwo(dst, year/100), year%100)
	dst = appendTwo(append(dst, '-'), int(month))
	dst = appendTwo(append(dst, '-'), day)
	dst = appendTwo(append(dst, 'T'), hour)
	dst = appendTwo(append(dst, ':'), minute)
	dst = appendTwo(append(dst, ':'), second)
	if digits > 0 {
		dst = append(dst, ".000000000"[:1+digits]...)
		nanos := ts.t.Nanosecond()
		for range 9 - digits {
			nanos /= 10
		}
		for at := len(dst) - 1; nanos > 0; at-- {
			dst[at] = byte('0' + nanos%10)
			nanos /= 10
		}
	}
	return append(dst, 'Z')
}

func appendTwo(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }

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
