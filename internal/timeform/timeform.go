// Package timeform reads and writes times as event services do.
package timeform

import (
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackstream/event"
)

// Form is how a time is written: one of the names below, or a layout of Go's package time, which writes the moment
// Mon Jan 2 15:04:05 MST 2006.
//
//	rfc3339              2026-01-02T15:04:05.123456Z; when read, also with a space, without a zone (UTC), without seconds
//	unix, unix_ms,       seconds, milliseconds, microseconds, nanoseconds since 1970, as a number or as text, with or
//	unix_us, unix_ns     without a fraction
//	http                 Fri, 02 Jan 2026 15:04:05 GMT
//	date                 2026-01-02
//
// Behind rfc3339, date and layouts may stand where the clock hangs: "2006-01-02 15:04:05 in Europe/Berlin". Else it is UTC. Where
// a zone has the same hour twice, when summer ends, the earlier moment is read.
type Form string

// The names.
const (
	RFC3339 Form = "rfc3339"
	Unix    Form = "unix"
	UnixMS  Form = "unix_ms"
	UnixUS  Form = "unix_us"
	UnixNS  Form = "unix_ns"
	HTTP    Form = "http"
	Date    Form = "date"
)

// unit is what a number counts; ok is false for forms that are no number.
func (f Form) unit() (unit time.Duration, ok bool) {
	switch f {
	case Unix:
		return time.Second, true
	case UnixMS:
		return time.Millisecond, true
	case UnixUS:
		return time.Microsecond, true
	case UnixNS:
		return time.Nanosecond, true
	}
	return 0, false
}

// Check returns what is wrong with a form.
func (f Form) Check() error {
	base, zone, err := f.split()
	if err != nil {
		return err
	}
	if zone != nil && (base == HTTP || base.hasZone()) {
		return fmt.Errorf("%q has a zone of its own: leave out \"in %s\"", string(f), zone)
	}
	return base.check()
}

func (f Form) check() error {
	switch f {
	case RFC3339, HTTP, Date:
		return nil
	case "":
		return errors.New("is empty")
	}
	if _, ok := f.unit(); ok {
		return nil
	}
	// A layout has to tell two moments apart that differ in everything.
	moment := time.Date(2021, 11, 27, 13, 14, 15, 0, time.UTC)
	other := time.Date(1998, 3, 8, 9, 47, 58, 0, time.UTC)
	text := moment.Format(string(f))
	if text == other.Format(string(f)) {
		return fmt.Errorf("%q is none of %s, nor a layout of the moment 2006-01-02 15:04:05", string(f), names())
	}
	back, err := time.Parse(string(f), text)
	if err != nil {
		return fmt.Errorf("%q can't read what it writes (%s)", string(f), text)
	}
	if back.Year() != moment.Year() || back.YearDay() != moment.YearDay() {
		return fmt.Errorf("%q is none of %s, and as a layout of the moment 2006-01-02 15:04:05 it does not say the day", string(f), names())
	}
	return nil
}

func names() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]Form{RFC3339, Unix, UnixMS, UnixUS, UnixNS, HTTP, Date}), " ", ", "), "[]")
}

// Step is how far two times must be apart to be written differently, as far as can be known.
func (f Form) Step() time.Duration {
	if unit, ok := f.unit(); ok {
		return unit
	}
	for _, step := range []time.Duration{time.Nanosecond, time.Microsecond, time.Millisecond, time.Second, time.Minute, time.Hour} {
		at := time.Date(2021, 11, 27, 13, 14, 15, 0, time.UTC)
		if f.Format(at) != f.Format(at.Add(step)) {
			return step
		}
	}
	return 24 * time.Hour
}

// Format writes a time, in UTC. What is smaller than the form can say is cut off.
func (f Form) Format(at time.Time) string {
	base, zone, _ := f.split()
	if at = at.UTC(); zone != nil {
		at = at.In(zone)
	}
	switch base {
	case RFC3339, "":
		return at.Format(time.RFC3339Nano)
	case HTTP:
		return at.Format(http.TimeFormat)
	case Date:
		return at.Format(time.DateOnly)
	}
	if unit, ok := base.unit(); ok {
		n := new(big.Int).Mul(big.NewInt(at.Unix()), big.NewInt(int64(time.Second)))
		n.Add(n, big.NewInt(int64(at.Nanosecond())))
		return n.Div(n, big.NewInt(int64(unit))).String() // Euclidean: towards the past also before 1970
	}
	return at.Format(string(base))
}

// Parse reads a time. A number may have more digits than a float holds.
func (f Form) Parse(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, errors.New("is empty")
	}
	base, zone, err := f.split()
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	if unit, ok := base.unit(); ok {
		at, err = parseNumber(text, unit)
	} else {
		switch base {
		case RFC3339, "":
			var stamp event.Timestamp
			if stamp, err = event.ParseTimestamp(text); err == nil {
				at = stamp.Time()
			}
		case HTTP:
			at, err = http.ParseTime(text)
		case Date:
			at, err = time.Parse(time.DateOnly, text)
		default:
			at, err = time.Parse(string(base), text)
		}
	}
	if zone != nil && (base != RFC3339 || !hasOffset.MatchString(text)) {
		at = inZone(at, zone)
	}
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%s is no time of the form %s", strconv.Quote(text[:min(len(text), 60)]), f)
	}
	return at.UTC(), nil
}

func parseNumber(text string, unit time.Duration) (time.Time, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && len(text) <= 40 { // as nearly all are
		perSecond := int64(time.Second / unit)
		s, rest := n/perSecond, n%perSecond
		if rest < 0 {
			s, rest = s-1, rest+perSecond
		}
		return inRange(s, rest*int64(unit))
	}
	if len(text) > 40 || strings.ContainsAny(text, "/xXpPbBoO_") {
		return time.Time{}, errors.New("is no number")
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if n, err := strconv.Atoi(text[i+1:]); err != nil || n < -30 || n > 30 {
			return time.Time{}, errors.New("is no number")
		}
	}
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return time.Time{}, errors.New("is no number")
	}
	n.Mul(n, new(big.Rat).SetInt64(int64(unit)))
	nanos := new(big.Int)
	rest := new(big.Int)
	nanos.DivMod(n.Num(), n.Denom(), rest)
	seconds := new(big.Int)
	seconds.DivMod(nanos, big.NewInt(int64(time.Second)), rest)
	if !seconds.IsInt64() {
		return time.Time{}, errors.New("is out of range")
	}
	return inRange(seconds.Int64(), rest.Int64())
}

func inRange(seconds, nanos int64) (time.Time, error) {
	if seconds < -62135596800 || seconds > 253402300799 { // the years 1 to 9999
		return time.Time{}, errors.New("is out of range")
	}
	return time.Unix(seconds, nanos).UTC(), nil
}

// Forms are ways to write a time that are tried in order.
type Forms []Form

// Parse reads a time in the first form that fits.
func (fs Forms) Parse(text string) (at time.Time, err error) {
	if len(fs) == 0 {
		return RFC3339.Parse(text)
	}
	for _, f := range fs {
		if at, err = f.Parse(text); err == nil {
			return at, nil
		}
	}
	if len(fs) > 1 {
		return at, fmt.Errorf("%w, nor of %s", err, strings.Trim(fmt.Sprint(slices.Clone(fs[:len(fs)-1])), "[]"))
	}
	return at, err
}
