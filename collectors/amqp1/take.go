package amqp1

import (
	"context"
	"time"

	amqp "github.com/Azure/go-amqp"

	"stackstream/collectors"
	"stackstream/internal/broker"
)

// A batch has what has come meanwhile, but not more than this.
const (
	batchEvents = 500
	batchBytes  = 1 << 20
)

// taken is what is made of a number of messages.
type taken struct {
	*link
	batch      collectors.Batch
	deliveries []*delivery

	bytes, redelivered, presettled int
}

// take hands over a message and whatever else is there.
func (l *link) take(ctx context.Context, first *amqp.Message) error {
	t := &taken{link: l}
	for message := first; message != nil; {
		if err := t.add(message); err != nil {
			return err
		}
		if len(t.deliveries) >= batchEvents || len(t.batch.Events) >= batchEvents || t.bytes >= batchBytes {
			break
		}
		message = l.wire.receiver.Prefetched()
	}
	l.came, l.withheld = time.Now(), 0
	l.heard = l.came
	t.tell()
	t.batch.Done = l.done(t.deliveries)
	l.mu.Lock()
	// The loop calls Done late when nothing has to be written. We must not run out of credit over that.
	t.batch.Urgent = len(l.open) > l.wanted()/2
	l.mu.Unlock()
	err := l.handOver(ctx, t.batch)
	if err != nil {
		l.mu.Lock()
		l.kept += len(t.deliveries)
		l.mu.Unlock()
	}
	return err
}

// add takes one message: a delivery of the library, and what the gate kept of it.
func (t *taken) add(message *amqp.Message) error {
	t.mu.Lock() // also while it changes places, so that it counts against the credit at any time
	p := t.wire.gate.take()
	if p == nil {
		t.mu.Unlock()
		return errProtocol("a delivery came without a message")
	}
	d := &delivery{message: message, cost: p.cost()}
	t.numbered++
	t.open[d] = t.numbered
	t.size = broker.Average(t.size, d.cost)
	t.mu.Unlock()
	t.hold(1, d.cost)
	t.deliveries = append(t.deliveries, d)
	if p.settled {
		t.presettled++
	}
	raw, no := open(p, t.cfg.MaxMessage, t.address)
	switch {
	case no != nil:
		d.no = no
		t.reject(t.index, no)
	case raw.Format != "": // neither text nor bytes: kept as it is
		t.batch.Events = append(t.batch.Events, raw)
		t.bytes += len(raw.Body)
	default:
		raws, filtered, _ := t.reader.Raws(raw, raw.Body, t.filter.Keep)
		t.batch.Events = append(t.batch.Events, raws...)
		t.batch.Filtered += filtered
		for i := range raws {
			t.bytes += len(raws[i].Body)
		}
	}
	if raw.Header["Evt-Redelivered"] != "" {
		t.redelivered++
	}
	return nil
}

// tell reports what the messages showed.
func (t *taken) tell() {
	if t.redelivered > 0 && t.opts.Hooks.Redelivered != nil {
		t.opts.Hooks.Redelivered(t.redelivered)
	}
	if t.presettled == 0 {
		return
	}
	if t.opts.Hooks.Presettled != nil {
		t.opts.Hooks.Presettled(t.presettled)
	}
	t.note(conditionPresettled, "messages from "+t.address+" come settled: what is on its way when a process ends is lost")
}
