package main

import (
	"context"
	"errors"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// deliveries consumes a queue as the source of the pipeline does, until the connection is closed.
func deliveries(ctx context.Context, o options) (*amqp091.Connection, *amqp091.Channel, <-chan amqp091.Delivery, error) {
	conn, err := amqp091.Dial(o.amqp)
	if err != nil {
		return nil, nil, nil, err
	}
	ch, err := conn.Channel()
	if err == nil {
		err = ch.Qos(o.prefetch, 0, false)
	}
	var all <-chan amqp091.Delivery
	if err == nil {
		all, err = ch.ConsumeWithContext(ctx, o.queue, "", false, false, false, false, nil)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, nil, err
	}
	return conn, ch, all, nil
}

var errChannel = errors.New("the broker closed the channel")

// gather takes a batch: what is there, at least one.
func gather(all <-chan amqp091.Delivery, most int) ([]amqp091.Delivery, error) {
	d, open := <-all
	if !open {
		return nil, errChannel
	}
	batch := append(make([]amqp091.Delivery, 0, most), d)
	for len(batch) < most {
		select {
		case d, open := <-all:
			if !open {
				return nil, errChannel
			}
			batch = append(batch, d)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// drain reads and acknowledges, several at once.
func drain(ctx context.Context, o options, c *counter) error {
	conn, ch, all, err := deliveries(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	unacknowledged := 0
	for more := true; more; {
		d, open := <-all
		if !open {
			return errChannel
		}
		unacknowledged++
		if unacknowledged < o.batch && c.n+unacknowledged < o.events {
			continue
		}
		if err := ch.Ack(d.DeliveryTag, true); err != nil {
			return err
		}
		more = c.add(unacknowledged)
		unacknowledged = 0
	}
	return nil
}
