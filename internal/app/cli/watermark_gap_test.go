package cli

import (
	"errors"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/jetstream"
)

// Nobody's answer counts for more than he was shown.
func TestWhatWasShownHolds(t *testing.T) {
	t.Parallel()
	mend := func(kind event.Kind, ahead time.Duration, to event.Seq) jetstream.Mend {
		return jetstream.Mend{
			Found: &event.Error{Kind: kind, Err: errors.New("it is so")}, Ahead: ahead,
			Gaps: []event.RawGap{{Source: "panko", From: 3, To: to}},
		}
	}
	again, another := mend(event.Regressed, 0, 9), mend(event.Regressed, 0, 9)
	again.Again = []event.RawGap{{Source: "panko", From: 1, To: 2}}
	another.Cursor.RawCreated = time.Unix(1, 0)
	const ahead = 30 * time.Second
	for name, c := range map[string]struct {
		shown, now jetstream.Mend
		stood      time.Duration
		want       bool
	}{
		"nothing has changed":                {mend(event.Expired, 0, 9), mend(event.Expired, 0, 9), time.Hour, true},
		"more is gone":                       {mend(event.Expired, 0, 9), mend(event.Expired, 0, 10), time.Second, false},
		"what was about to go is gone":       {mend(event.Expired, ahead, 9), mend(event.Expired, ahead, 12), 15 * time.Second, true},
		"the answer was long in coming":      {mend(event.Expired, ahead, 9), mend(event.Expired, ahead, 12), 16 * time.Second, false},
		"RAW has become another one":         {mend(event.Expired, ahead, 9), mend(event.Regressed, 0, 9), time.Second, false},
		"it is one more since":               {mend(event.Regressed, 0, 9), another, time.Second, false},
		"events may come twice now":          {mend(event.Regressed, 0, 9), again, time.Second, false},
		"it is still the same that was lost": {again, again, time.Hour, true},
	} {
		if got := holds(c.shown, c.now, c.stood); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
