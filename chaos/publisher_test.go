//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/rabbitmqtest"
)

// publisher is a service that notifies: it waits for the broker's confirms, and tries for ever.
type publisher struct {
	addr, vhost, exchange string

	conn    *amqp.Connection
	channel *amqp.Channel
}

func (p *publisher) open() error {
	if p.channel != nil && !p.channel.IsClosed() {
		return nil
	}
	p.close()
	var err error
	p.conn, err = amqp.DialConfig(rabbitmqtest.URL(p.addr, "guest", "guest", p.vhost), amqp.Config{
		Heartbeat: 5 * time.Second, Dial: amqp.DefaultDial(10 * time.Second),
	})
	if err != nil {
		return err
	}
	if p.channel, err = p.conn.Channel(); err != nil {
		return err
	}
	if err := p.channel.ExchangeDeclare(p.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return err
	}
	return p.channel.Confirm(false)
}

func (p *publisher) close() {
	if p.conn != nil {
		_ = p.conn.CloseDeadline(time.Now().Add(time.Second))
	}
	p.conn, p.channel = nil, nil
}

// declare makes the exchange, trying until ctx ends.
func (p *publisher) declare(ctx context.Context) error {
	return p.try(ctx, p.open)
}

// publish returns when the broker has confirmed all, and whether some were sent more than once.
func (p *publisher) publish(ctx context.Context, notices []notice) (resent bool, err error) {
	left := notices
	tried := false
	err = p.try(ctx, func() error {
		if err := p.open(); err != nil {
			return err
		}
		resent = resent || tried
		tried = true
		confirms := make([]*amqp.DeferredConfirmation, 0, len(left))
		for i := range left {
			c, err := p.channel.PublishWithDeferredConfirmWithContext(ctx, p.exchange, "notifications.info", false, false,
				amqp.Publishing{
					ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent, Body: left[i].body,
				})
			if err != nil {
				break // what was sent may be confirmed nevertheless
			}
			confirms = append(confirms, c)
		}
		patience, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		for _, c := range confirms {
			ok, err := c.WaitContext(patience)
			if err != nil || !ok {
				p.close()
				return errors.Join(fmt.Errorf("%d notifications are not confirmed", len(left)), err)
			}
			left = left[1:]
		}
		if len(left) > 0 {
			p.close()
			return fmt.Errorf("%d notifications are not sent", len(left))
		}
		return nil
	})
	return resent, err
}

// try tries until it works or ctx ends.
func (p *publisher) try(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		p.close()
		if !sleep(ctx, 200*time.Millisecond) {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
