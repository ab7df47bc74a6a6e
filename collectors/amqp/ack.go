package amqp

import (
	"context"
	"sync"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// acks acknowledges what is durable, on the channel that it was delivered on. A channel that is gone has nothing to
// acknowledge any more: the broker hands over again what it had not been told about.
type acks struct {
	wake chan struct{}

	sending sync.Mutex // held while the broker is told, in order
	mu      sync.Mutex
	ch      *amqp091.Channel
	durable uint64 // the last delivery tag that may be acknowledged
	done    uint64 // the last that was
}

func newAcks() *acks { return &acks{wake: make(chan struct{}, 1)} }

// begin takes another channel.
func (a *acks) begin(ch *amqp091.Channel) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ch, a.durable, a.done = ch, 0, 0
}

// leave returns when nothing more is sent on the channel, so that it can be closed: a broker ends the connection over what
// comes behind that.
func (a *acks) leave() {
	a.sending.Lock()
	defer a.sending.Unlock()
	a.begin(nil)
}

// upTo returns what is to be called when everything up to tag on ch is durable. It does not block.
func (a *acks) upTo(ch *amqp091.Channel, tag uint64) func() {
	return func() {
		a.mu.Lock()
		if a.ch == ch {
			a.durable = max(a.durable, tag)
		}
		a.mu.Unlock()
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// open is how many deliveries up to tag are not acknowledged.
func (a *acks) open(tag uint64) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(tag - a.done)
}

// run acknowledges until ctx ends.
func (a *acks) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.wake:
			a.flush()
		}
	}
}

// flush acknowledges what may be acknowledged.
func (a *acks) flush() {
	a.sending.Lock()
	defer a.sending.Unlock()
	a.mu.Lock()
	ch, tag, done := a.ch, a.durable, a.done
	a.mu.Unlock()
	if ch == nil || tag == done || ch.Ack(tag, true) != nil {
		return // nothing to do, or the channel is gone: whoever consumes from it notices
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ch == ch {
		a.done = tag
	}
}
