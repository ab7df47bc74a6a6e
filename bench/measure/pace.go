package measure

import (
	"context"
	"time"
)

// Pace calls hand for one event after the other, each when it is due, and tells it when that was. An event that is late, because
// the one before it took so long, is late by its own clock: what is measured from its due time on has that in it, so that a system
// that stands still for a second is not asked less in that second. It returns when n events were handed over, or with the first
// error.
func Pace(ctx context.Context, perSecond float64, n int, hand func(i int, due time.Time) error) error {
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range n {
		due := begun.Add(time.Duration(float64(i) * float64(time.Second) / perSecond))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := hand(i, due); err != nil {
			return err
		}
	}
	return ctx.Err()
}
