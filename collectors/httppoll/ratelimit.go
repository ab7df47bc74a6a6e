package httppoll

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// RateLimit says how fast we may ask, and how the service tells what is left of a quota.
type RateLimit struct {
	// Rate is our own pace, 5/s, 100/m or 5000/h, for all requests, logins too.
	Rate Rate `yaml:"rate"`
	// Burst is how many requests may come at once; 0: one.
	Burst int `yaml:"burst"`
	// Remaining is the name of the header that has how many requests are left.
	Remaining string `yaml:"remaining"`
	// Limit is the name of the header that has how many there are.
	Limit string `yaml:"limit"`
	Reset Reset  `yaml:"reset"`
	// Reserve is what is left to others who share the quota: a number of requests, or a part of the limit like 10%.
	Reserve Reserve `yaml:"reserve"`
}

// Reset names the header that says when the quota is whole again, and how: seconds from now, unix, unix_ms, http (a date), or auto.
type Reset struct {
	// Header is the name of the header that says when the quota is whole again. 403 with nothing left, and 429 without Retry-After,
	// wait for that.
	Header string `yaml:"header"`
	// As is how it is written: seconds from now, unix, unix_ms, http (a date), or auto, which tells them apart.
	As string `yaml:"as" words:"auto,seconds,unix,unix_ms,http"`
}

// Rate is a number of requests in a time; the zero Rate is no limit.
type Rate struct {
	Requests float64
	Per      time.Duration
}

// The units of time of a Rate, and how they are written.
func perUnit(name string) (time.Duration, bool) {
	switch name {
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	}
	return 0, false
}

// UnmarshalText reads 5/s, 0.5/s, 100/m, 5000/h.
func (r *Rate) UnmarshalText(text []byte) error {
	number, unit, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	per, known := perUnit(strings.TrimSpace(unit))
	if err != nil || !known || !(n > 0 && n <= 1e6) {
		return errors.New("wants a number of requests in a second, minute or hour, such as 5/s, 100/m or 5000/h")
	}
	*r = Rate{Requests: n, Per: per}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) {
	if r.Per == 0 {
		return nil, nil
	}
	unit := "s"
	switch r.Per {
	case time.Minute:
		unit = "m"
	case time.Hour:
		unit = "h"
	}
	return []byte(strconv.FormatFloat(r.Requests, 'g', -1, 64) + "/" + unit), nil
}

// perSecond is the rate in requests per second.
func (r Rate) perSecond() float64 { return r.Requests / r.Per.Seconds() }

// Reserve is a number of requests, or a percentage of the limit.
type Reserve struct {
	Number  int64
	Percent float64
}

// UnmarshalText reads 100 or 10%.
func (r *Reserve) UnmarshalText(text []byte) error {
	word := string(text)
	if part, ok := strings.CutSuffix(word, "%"); ok {
		p, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err == nil && p >= 0 && p < 100 {
			*r = Reserve{Percent: p}
			return nil
		}
	} else if n, err := strconv.ParseInt(word, 10, 64); err == nil && n >= 0 {
		*r = Reserve{Number: n}
		return nil
	}
	return errors.New("wants a number of requests, such as 100, or a part of the limit, such as 10%")
}

// MarshalText writes what UnmarshalText reads.
func (r Reserve) MarshalText() ([]byte, error) {
	if r.Percent > 0 {
		return []byte(strconv.FormatFloat(r.Percent, 'g', -1, 64) + "%"), nil
	}
	return []byte(strconv.FormatInt(r.Number, 10)), nil
}

func (c RateLimit) validate(ps *problems) {
	if c.Burst < 0 {
		ps.add("rate_limit.burst", "must not be negative")
	}
	if c.Burst > 0 && c.Rate.Per == 0 {
		ps.add("rate_limit.burst", "is for rate, which is not set")
	}
	if c.Remaining != "" && c.Reset.Header == "" {
		ps.add("rate_limit.reset.header", "is missing: the header that says when there are requests again")
	}
	if c.Remaining == "" && c.Reserve != (Reserve{}) {
		ps.add("rate_limit.remaining", "is missing: the header that says how many requests are left, for reserve")
	}
	if c.Limit == "" && c.Reserve.Percent > 0 {
		ps.add("rate_limit.limit", "is missing: the header that has the limit which reserve is a part of")
	}
	for _, h := range []struct{ field, name string }{{"remaining", c.Remaining}, {"limit", c.Limit}, {"reset.header", c.Reset.Header}} {
		if h.name != "" && !headerName(h.name) {
			ps.add("rate_limit."+h.field, "%q is no name of a header", h.name)
		}
	}
}

// headerName tells whether a text can be the name of a header.
func headerName(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}
