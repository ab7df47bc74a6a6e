package collectors

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter is the error of a service that said when it will serve again. Neither the Poller nor the Collector asks
// it earlier. After may be less than it said: the most that the settings let it have.
type RetryAfter struct {
	After time.Duration
	Err   error
}

func (e *RetryAfter) Error() string {
	return e.Err.Error() + " (asked again in " + e.After.Round(time.Second).String() + ")"
}

// Unwrap returns the cause.
func (e *RetryAfter) Unwrap() error { return e.Err }

// ParseRetryAfter reads the value of an HTTP Retry-After header, a number of seconds or a date, as the time to wait
// from now on: never negative, and most at most. ok is false if the value is neither.
func ParseRetryAfter(value string, now time.Time, most time.Duration) (wait time.Duration, ok bool) {
	value = strings.TrimSpace(value)
	if isNumber(value) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(most/time.Second) {
			return most, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), most), true
}

func isNumber(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
