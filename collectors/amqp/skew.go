package amqp

import (
	"fmt"
	"time"
)

const (
	// skewSamples is how many notifications tell something about the clocks.
	skewSamples = 3
	// skewWorth is a difference that people want to know of.
	skewWorth = 30 * time.Second
)

// skew looks for a difference between the clocks of those who notify and ours: how old the youngest notification was when
// it came, while nothing waited in the queue.
type skew struct {
	samples  int
	youngest time.Duration
}

func (s *skew) add(now, at time.Time) {
	if at.IsZero() {
		return
	}
	age := now.Sub(at)
	if s.samples == 0 || age < s.youngest {
		s.youngest = age
	}
	s.samples++
}

// take returns by how much their clocks seem to be ahead, if enough came since the last call.
func (s *skew) take() (ahead time.Duration, known bool) {
	if s.samples < skewSamples {
		return 0, false
	}
	ahead = -s.youngest
	*s = skew{}
	return ahead, true
}

// skewText has no figures, which change all the time.
func skewText(ahead time.Duration) string {
	switch {
	case ahead > skewWorth:
		return fmt.Sprintf("notifications are dated more than %s ahead of our clock", skewWorth)
	case ahead < -skewWorth:
		return fmt.Sprintf("notifications that came at once are dated more than %s behind our clock", skewWorth)
	default:
		return ""
	}
}
