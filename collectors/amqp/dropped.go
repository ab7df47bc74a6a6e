package amqp

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/collectors"
)

const (
	// droppingFor is how long it counts as trouble that the queue dropped something.
	droppingFor = 10 * time.Minute
	// droppedSay is how often at most what was dropped is logged.
	droppedSay = time.Minute
	// droppedPrefetch is for the queue of what was dropped.
	droppedPrefetch = 100
)

// consumeDropped begins to consume what our queue dropped.
func (s *session) consumeDropped() (<-chan amqp091.Delivery, error) {
	ch, err := s.conn.Channel()
	if err != nil {
		return nil, explain("open a channel", err)
	}
	if err := ch.Qos(droppedPrefetch, 0, false); err != nil {
		return nil, explain("set the prefetch", err)
	}
	s.droppedCancelled = ch.NotifyCancel(make(chan string, 1))
	s.droppedClosed = ch.NotifyClose(make(chan *amqp091.Error, 1))
	deliveries, err := ch.Consume(s.names.dropped, consumerTag, false, false, false, false, nil)
	if err != nil {
		return nil, explain("consume queue "+s.names.dropped, err)
	}
	s.droppedAcks.begin(ch)
	s.droppedCh = ch
	return deliveries, nil
}

// takeDropped counts what was dropped, and has it acknowledged when the count is durable. What it counted last it knows
// again, should the acknowledgement get lost.
func (c *consumer) takeDropped(ctx context.Context, first amqp091.Delivery) error {
	counts := map[string]int{}
	tag := uint64(0)
	c.mu.Lock()
	count := func(d *amqp091.Delivery) {
		tag = d.DeliveryTag
		why, exchange := death(d)
		if exchange == c.names.probe {
			c.probes.dropped(d.MessageId, time.Now())
			return
		}
		mark := markOf(d.Body)
		if d.Redelivered && slices.Contains(c.state.Counted, mark) {
			return
		}
		counts[why]++
		c.state.count(why, mark)
		c.dirty = true
	}
	count(&first)
	for more := true; more; {
		select {
		case d, open := <-c.dropped:
			if more = open; open {
				count(&d)
			}
		default:
			more = false
		}
	}
	c.mu.Unlock()
	for why, n := range counts {
		if c.opts.Hooks.Dropped != nil {
			c.opts.Hooks.Dropped(why, n)
		}
		c.lost[why] += n
	}
	if len(counts) > 0 {
		c.droppedN = time.Now()
		c.says.Set(conditionDropping, fmt.Sprintf("queue %s reached its limit of length or age, and the broker dropped "+
			"notifications: they are lost (look at queue.max_bytes, queue.ttl, and why they waited)", c.names.queue))
		if c.droppedN.Sub(c.lostSaid) >= droppedSay {
			c.sayLost()
		}
	}
	return c.emit(ctx, collectors.Batch{Cursor: c.cursor(), Urgent: true, Done: c.droppedAcks.upTo(c.droppedCh, tag)})
}

// sayLost logs what was dropped since it did so last.
func (c *consumer) sayLost() {
	for _, why := range slices.Sorted(maps.Keys(c.lost)) {
		c.opts.Log.Error().Str("provider", string(c.opts.Provider)).Str("source", string(c.name)).Str("queue", c.names.queue).
			Str("why", why).Int("at_least", c.lost[why]).Msg("the broker dropped notifications from our queue: they are lost")
		c.lostSaid = time.Now()
	}
	clear(c.lost)
}

// checkDropped says what was not said yet, and that it is over when it was long ago.
func (c *consumer) checkDropped(now time.Time) {
	if now.Sub(c.lostSaid) >= droppedSay {
		c.sayLost()
	}
	if c.droppedN.IsZero() || now.Sub(c.droppedN) <= droppingFor {
		return
	}
	c.droppedN = time.Time{}
	c.says.Set(conditionDropping, "")
	c.change(func(st *state) { st.Counted = nil })
}

// markOf tells dropped notifications apart.
func markOf(body []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(body) // it never fails
	return strconv.FormatUint(h.Sum64(), 36)
}

// death reads why a message was dropped, and from which exchange it had come.
func death(d *amqp091.Delivery) (why, exchange string) {
	why, exchange = "unknown", ""
	deaths, _ := d.Headers["x-death"].([]any)
	if len(deaths) > 0 {
		if table, ok := deaths[0].(amqp091.Table); ok {
			if s, ok := table["reason"].(string); ok && (s == "maxlen" || s == "expired" || s == "rejected" || s == "delivery_limit") {
				why = s
			}
			exchange, _ = table["exchange"].(string)
		}
	}
	return why, exchange
}
