//go:build openstack

package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/rabbitmqtest"
)

// beside stands for ceilometer's agent on the same broker: it declares the exchanges and the queues notifications.info and
// notifications.error as oslo.messaging does, consumes them, and connects again when the connection is lost.
type beside struct {
	url       string
	exchanges []string
	durable   bool

	mu   sync.Mutex
	seen map[string]bool
	last error
}

func runBeside(t *testing.T, broker *rabbitmqtest.Broker, vhost string, exchanges []string, durable bool) *beside {
	t.Helper()
	b := &beside{url: broker.URL(vhost), exchanges: exchanges, durable: durable, seen: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := b.consume(ctx)
			b.mu.Lock()
			b.last = err
			b.mu.Unlock()
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return b
}

// consume works until the connection is lost.
func (b *beside) consume(ctx context.Context) error {
	conn, err := amqp.Dial(b.url)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	for _, x := range b.exchanges {
		if err := ch.ExchangeDeclare(x, amqp.ExchangeTopic, b.durable, false, false, false, nil); err != nil {
			return err
		}
	}
	var queues []<-chan amqp.Delivery
	for _, name := range []string{"notifications.info", "notifications.error"} {
		if _, err := ch.QueueDeclare(name, b.durable, false, false, false, nil); err != nil {
			return err
		}
		for _, x := range b.exchanges {
			if err := ch.QueueBind(name, name, x, false, nil); err != nil {
				return err
			}
		}
		deliveries, err := ch.ConsumeWithContext(ctx, name, "", false, false, false, false, nil)
		if err != nil {
			return err
		}
		queues = append(queues, deliveries)
	}
	for {
		var d amqp.Delivery
		var open bool
		select {
		case d, open = <-queues[0]:
		case d, open = <-queues[1]:
		case <-ctx.Done():
			return nil
		}
		if !open {
			return amqp.ErrClosed
		}
		if err := b.take(d.Body); err != nil {
			return err
		}
		if err := d.Ack(false); err != nil {
			return err
		}
	}
}

func (b *beside) take(body []byte) error {
	var envelope struct {
		Message string `json:"oslo.message"`
	}
	var message struct {
		ID string `json:"message_id"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(envelope.Message), &message); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[message.ID] = true
	return nil
}

// missing is how many of the ids it has not got, and why that may be.
func (b *beside) missing(ids []string) (n int, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if !b.seen[id] {
			n++
			why = id
		}
	}
	return n, fmt.Sprintf("%d of %d are missing, among them %s; the last error was %v", n, len(ids), why, b.last)
}
