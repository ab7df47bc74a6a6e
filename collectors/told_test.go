package collectors

import (
	"testing"
	"time"
)

func TestToldByTheEarlierClock(t *testing.T) {
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		says time.Duration // the clock, since began
		want time.Duration
	}{
		"nobody set it":      {says: time.Minute, want: time.Minute},
		"it was set forward": {says: time.Hour, want: time.Minute},
		"it was set back":    {says: -time.Hour, want: -time.Hour},
	} {
		if got := told(began, began.Add(c.says), time.Minute); !got.Equal(began.Add(c.want)) {
			t.Errorf("%s: told %v, want %v", name, got, began.Add(c.want))
		}
	}
	now := time.Now()
	if got := Told(now, now.Add(time.Second)); !got.Equal(now.Add(time.Second)) {
		t.Errorf("told %v, want %v", got, now.Add(time.Second))
	}
}
