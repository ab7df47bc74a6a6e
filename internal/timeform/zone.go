package timeform

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones are known also where the system has no files about them, as in a container
)

// zones are those that were loaded, by name: to load one reads a file.
//
//nolint:gochecknoglobals // a zone is the same for all
var zones sync.Map

// split takes the zone off a form; it is nil where none is named.
func (f Form) split() (base Form, zone *time.Location, err error) {
	layout, name, named := strings.Cut(string(f), " in ")
	if !named {
		return f, nil, nil
	}
	base, name = Form(strings.TrimSpace(layout)), strings.TrimSpace(name)
	if _, number := base.unit(); number {
		return f, nil, fmt.Errorf("%q: a number of seconds has no zone", string(f))
	}
	if known, ok := zones.Load(name); ok {
		return base, known.(*time.Location), nil
	}
	zone, err = time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return f, nil, fmt.Errorf("%q names no zone that is known: one like Europe/Berlin is meant", string(f))
	}
	zones.Store(name, zone)
	return base, zone, nil
}

// hasZone tells whether a layout says the zone.
func (f Form) hasZone() bool {
	at := time.Date(2021, 11, 27, 13, 14, 15, 0, time.UTC)
	return f != RFC3339 && at.Format(string(f)) != at.In(time.FixedZone("there", 3600)).Add(-time.Hour).Format(string(f))
}

// hasOffset matches a time in RFC 3339 that is not of some clock on a wall.
var hasOffset = regexp.MustCompile(`([zZ]|:[0-9.]+[+-][0-9]{2}(:?[0-9]{2})?)$`)

// inZone is the moment at which a clock in a zone shows what at shows in UTC, the earlier one where there are two. Where there is
// none, when summer begins, it is a moment within an hour.
func inZone(at time.Time, zone *time.Location) time.Time {
	const wall = "2006-01-02T15:04:05.999999999"
	moment := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), zone)
	for _, change := range []time.Duration{-time.Hour, -30 * time.Minute} { // the one of Lord Howe is half an hour
		if earlier := moment.Add(change); earlier.Format(wall) == moment.Format(wall) {
			return earlier
		}
	}
	return moment
}

// Repeats tells whether the form's clock shows an hour twice when summer ends: what it showed first and what second can't be told
// apart.
func (f Form) Repeats() bool {
	_, zone, err := f.split()
	if err != nil || zone == nil {
		return false
	}
	now := time.Now()
	_, first := now.In(zone).Zone()
	for month := range 12 {
		if _, offset := now.AddDate(0, month, 0).In(zone).Zone(); offset != first {
			return true
		}
	}
	return false
}
