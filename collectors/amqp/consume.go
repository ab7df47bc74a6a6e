package amqp

import (
	"context"
	"errors"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/notification"
)

const (
	// A batch has what was delivered meanwhile, but not more than this.
	batchEvents = 500
	batchBytes  = 1 << 20
	// firstPrefetch is used until the size of the notifications is known, leastPrefetch where they are very large.
	firstPrefetch = 64
	leastPrefetch = 8
	// steadyBody is the size of bodies that the prefetch of a quorum queue is for.
	steadyBody = 64 << 10
	// consumerTag names our consumer in the broker's lists.
	consumerTag = "stackstream"
)

// errRetired is the end of a source that has nothing more to do.
var errRetired = errors.New("retired")

// consume hands over what is delivered until ctx ends. It closes the channel and opens another one when the prefetch is to
// change: a second consumer on the same channel would let in others between, and they would overtake what we hold.
func (s *session) consume(ctx context.Context) error {
	dropped, err := s.consumeDropped()
	if err != nil {
		return err
	}
	c := &consumer{session: s, dropped: dropped, bytes: s.state.BodyBytes, known: map[string]bool{}, lost: map[string]int{}}
	defer c.sayLost()
	if len(s.state.Counted) > 0 {
		c.droppedN = time.Now()
	}
	for _, key := range s.keys {
		c.known[key] = true
	}
	c.prefetch = c.wanted()
	for {
		err := c.run(ctx)
		if err != nil {
			return err
		}
	}
}

// consumer is what consume knows.
type consumer struct {
	*session
	dropped <-chan amqp091.Delivery
	known   map[string]bool // routing keys
	reader  notification.Reader

	bytes    int // of a body, about
	prefetch int
	last     uint64 // delivery tag
	skew     skew
	strange  bool      // unknown routing keys came since the last probe
	droppedN time.Time // when the last one was
	lost     map[string]int
	lostSaid time.Time // when what was lost was logged
}

// wanted is the prefetch for bodies of the size that they have. A quorum queue puts what it gets back behind all that it
// got back before and has not handed over again. So the order is kept only if each consumer gets at once whatever the one
// before it held, and the prefetch never changes.
func (c *consumer) wanted() int {
	switch {
	case c.steady:
		return min(max(c.cfg.PrefetchBytes/steadyBody, leastPrefetch), c.cfg.Prefetch)
	case c.bytes == 0:
		return min(firstPrefetch, c.cfg.Prefetch)
	default:
		return min(max(c.cfg.PrefetchBytes/c.bytes, leastPrefetch), c.cfg.Prefetch)
	}
}

// resize tells whether the prefetch is far from what it should be.
func (c *consumer) resize() bool {
	want := c.wanted()
	return c.bytes > 0 && (want >= 2*c.prefetch || 2*want <= c.prefetch)
}

// run consumes on one channel. It returns nil when another one is to be opened. After an error the channel is left to end
// with the connection: to close it takes an answer, and there may be nobody who answers.
func (c *consumer) run(ctx context.Context) error {
	ch, err := c.conn.Channel()
	if err != nil {
		return explain("open a channel", err)
	}
	if c.bytes > 0 {
		c.prefetch = c.wanted()
	}
	if err := ch.Qos(c.prefetch, 0, false); err != nil {
		return explain("set the prefetch", err)
	}
	if c.opts.Hooks.Prefetch != nil {
		c.opts.Hooks.Prefetch(c.prefetch)
	}
	cancelled := ch.NotifyCancel(make(chan string, 1))
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	c.acks.begin(ch)
	c.last = 0
	deliveries, err := ch.Consume(c.names.queue, consumerTag, false, false, false, false, nil)
	if err != nil {
		return explain("consume queue "+c.names.queue, err)
	}
	tick := time.NewTicker(min(time.Second, c.cfg.Probe))
	defer tick.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-closed:
			return lost("the channel", err)
		case _, told := <-cancelled:
			if !told {
				return lost("the channel", <-closed)
			}
			return errCancelled(c.names.queue)
		case d, open := <-deliveries:
			if !open {
				return ended(ctx, c.names.queue, closed, cancelled)
			}
			err = c.take(ctx, ch, d, deliveries)
			if err == nil && c.resize() {
				c.acks.leave()
				return explain("close a channel", ch.Close())
			}
		case d, open := <-c.dropped:
			if !open {
				return ended(ctx, c.names.dropped, c.droppedClosed, c.droppedCancelled)
			}
			err = c.takeDropped(ctx, d)
		case <-c.changed:
			err = c.emit(ctx, collectors.Batch{Cursor: c.cursor(), Urgent: true})
		case <-beat.C:
			err = c.emit(ctx, collectors.Batch{})
		case <-tick.C:
			err = c.check(time.Now())
		}
		if err != nil {
			return err
		}
	}
}

func errCancelled(queue string) error {
	return &event.Error{Kind: event.Unavailable, Op: "consume queue " + queue, Err: errors.New(
		"the broker cancelled our consumer: the queue was deleted, or its node went down")}
}

// ended waits for the reason why there are no more deliveries. A channel that ends closes cancelled, too, after it has put
// its reason into closed.
func ended(ctx context.Context, queue string, closed <-chan *amqp091.Error, cancelled <-chan string) error {
	select {
	case _, told := <-cancelled:
		if !told {
			return lost("the channel", <-closed)
		}
		return errCancelled(queue)
	case err := <-closed:
		return lost("the channel", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check looks whether a probe is overdue. While all that we may hold is not durable yet, nothing can come.
func (c *consumer) check(now time.Time) error {
	if c.acks.open(c.last) >= c.prefetch {
		c.probes.heard(now)
	}
	if c.probes.overdue(now) {
		return errSilent()
	}
	c.checkDropped(now)
	return nil
}

// take hands over first and whatever else is there.
func (c *consumer) take(
	ctx context.Context, ch *amqp091.Channel, first amqp091.Delivery, more <-chan amqp091.Delivery,
) error {
	t := &taken{consumer: c, now: time.Now()}
	t.add(&first)
gather:
	for t.count < batchEvents && t.bytes < batchBytes {
		select {
		case d, open := <-more:
			if !open {
				break gather // the next look at the channel finds out why
			}
			t.add(&d)
		default:
			break gather
		}
	}
	c.last = t.tag
	c.probes.heard(t.now)
	t.tell()
	b := t.batch
	b.Cursor = c.cursor()
	// The loop calls Done late when nothing has to be written. We must not run out of prefetch over that.
	b.Urgent = b.Cursor != nil || c.acks.open(c.last) > c.prefetch/2
	ack := c.acks.upTo(ch, t.tag)
	if !t.finished {
		b.Done = ack
		return c.emit(ctx, b)
	}
	durable := make(chan struct{})
	b.Done = func() { ack(); close(durable) }
	b.Urgent = true
	if err := c.emit(ctx, b); err != nil {
		return err
	}
	if err := beatUntil(ctx, c.emit, durable); err != nil {
		return err
	}
	c.acks.flush()
	c.acks.leave()
	if err := ch.Close(); err != nil {
		return explain("close a channel", err)
	}
	return errRetired
}
