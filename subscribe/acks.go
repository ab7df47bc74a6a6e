package subscribe

import (
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// acks acknowledges what is handled, many at a time, and at once when there is nothing more to read. An acknowledgement
// that is lost does no harm: what it covered is delivered again and dropped.
type acks struct {
	last  natsjs.Msg // handled and not acknowledged
	count int
	since time.Time
	every int
	after time.Duration
}

func newAcks(cfg *natsjs.ConsumerConfig) acks {
	a := acks{every: 100, after: cfg.AckWait / 4}
	if cfg.MaxAckPending > 0 {
		a.every = max(1, min(a.every, cfg.MaxAckPending/2))
	}
	return a
}

// add takes a message that is dealt with.
func (a *acks) add(m *message) {
	if a.last == nil {
		a.since = m.receivedAt
	}
	a.last = m.msg
	a.count++
	if a.count >= a.every || m.pending == 0 || time.Since(a.since) >= a.after {
		a.flush()
	}
}

func (a *acks) flush() {
	if a.last == nil {
		return
	}
	_ = a.last.Ack() // fails on a connection that is down, which is as good as lost
	a.last, a.count = nil, 0
}
