package collectors

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"stackstream/event"
)

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 5, 42, 9, 0, time.UTC)
	const most = 15 * time.Minute
	for _, c := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"120", 2 * time.Minute, true},
		{" 0 ", 0, true},
		{"86400", most, true},
		{"99999999999999999999999", most, true},
		{"Sun, 22 Nov 2026 05:43:09 GMT", time.Minute, true},
		{"Sunday, 22-Nov-26 05:43:09 GMT", time.Minute, true},
		{"Sun, 22 Nov 2026 05:00:00 GMT", 0, true},
		{"Sun, 22 Nov 2099 05:00:00 GMT", most, true},
		{"", 0, false},
		{"-1", 0, false},
		{"1.5", 0, false},
		{"soon", 0, false},
	} {
		if got, ok := ParseRetryAfter(c.value, now, most); got != c.want || ok != c.ok {
			t.Errorf("ParseRetryAfter(%q) = %s, %t; want %s, %t", c.value, got, ok, c.want, c.ok)
		}
	}
}

func TestRetryAfterKeepsTheCause(t *testing.T) {
	err := error(&RetryAfter{After: 90 * time.Second, Err: &event.Error{
		Kind: event.Unavailable, Op: "list events", Err: errors.New("429"),
	}})
	if !errors.Is(err, event.Unavailable) {
		t.Error("the kind is lost")
	}
	if got, want := err.Error(), "list events: unavailable: 429 (asked again in 1m30s)"; got != want {
		t.Errorf("it reads %q; want %q", got, want)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, value := range []string{
		"120", "-1", "1e9", "", "Sun, 22 Nov 2026 05:43:09 GMT", "Thu, 01 Jan 1970 00:00:00 GMT",
	} {
		f.Add(value, int64(1_700_000_000), int64(time.Minute))
	}
	f.Fuzz(func(t *testing.T, value string, now, most int64) {
		most = max(most, 0)
		wait, ok := ParseRetryAfter(value, time.Unix(now, 0), time.Duration(most))
		if wait < 0 || wait > time.Duration(most) {
			t.Errorf("%q: wait %s, most %s", value, wait, time.Duration(most))
		}
		_, dateErr := http.ParseTime(value)
		if !ok && (wait != 0 || dateErr == nil) {
			t.Errorf("%q: not read, wait %s", value, wait)
		}
	})
}
