package amqp1

import (
	"context"
	"maps"
	"slices"
	"time"

	amqp "github.com/Azure/go-amqp"
)

// lingerFor is how long at the end what was handed over may take to become durable, to be accepted and not released.
const lingerFor = 250 * time.Millisecond

// settle settles what is durable, until ctx ends. When it can't, it ends the connection, so that who receives learns of it: a link
// that settles nothing more gets nothing more either, and would look like a quiet one.
func (l *link) settle(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		l.ready.Lock()
		all := l.durable
		l.durable = nil
		l.ready.Unlock()
		for _, d := range all {
			if l.verdict(ctx, d) != nil {
				l.giveUp(ctx)
				return
			}
			l.closed(d)
		}
		if l.issue() != nil {
			l.giveUp(ctx)
			return
		}
	}
}

func (l *link) giveUp(ctx context.Context) {
	if ctx.Err() == nil {
		_ = l.wire.gate.Close()
	}
}

func (l *link) verdict(ctx context.Context, d *delivery) error {
	if d.no == nil {
		return l.wire.receiver.AcceptMessage(ctx, d.message)
	}
	return l.wire.receiver.RejectMessage(ctx, d.message, &amqp.Error{Condition: d.no.condition, Description: d.no.text})
}

// closed takes note that a delivery is settled.
func (l *link) closed(d *delivery) {
	l.mu.Lock()
	delete(l.open, d)
	l.mu.Unlock()
	l.wire.gate.free(d.cost)
	l.hold(-1, -d.cost)
}

// done returns what is to be called when deliveries are durable. It does not block.
func (l *link) done(deliveries []*delivery) func() {
	return func() {
		l.ready.Lock()
		l.durable = append(l.durable, deliveries...)
		l.ready.Unlock()
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// linger waits a little for what was handed over to become durable.
func (l *link) linger(settling context.Context) {
	end := time.NewTimer(lingerFor)
	defer end.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for l.handedOver() > 0 {
		select {
		case <-tick.C:
		case <-end.C:
			return
		case <-l.wire.conn.Done():
			return
		case <-settling.Done():
			return
		}
	}
}

func (l *link) handedOver() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) - l.kept
}

// release gives back what is not settled, in the order in which it came, and with it what nobody has asked the library for.
func (l *link) release() {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpWithin)
	defer cancel()
	l.mu.Lock()
	open := slices.SortedFunc(maps.Keys(l.open), func(a, b *delivery) int { return int(l.open[a]) - int(l.open[b]) })
	l.mu.Unlock()
	for _, d := range open {
		if l.wire.receiver.ReleaseMessage(ctx, d.message) != nil {
			return // the end of the connection does the same
		}
	}
	for message := l.wire.receiver.Prefetched(); message != nil; message = l.wire.receiver.Prefetched() {
		if l.wire.receiver.ReleaseMessage(ctx, message) != nil {
			return
		}
	}
}

// forget takes note that nothing of the link is held any more.
func (l *link) forget() {
	l.mu.Lock()
	messages, bytes := len(l.open), 0
	for d := range l.open {
		bytes += d.cost
	}
	l.mu.Unlock()
	l.hold(-messages, -bytes)
}
