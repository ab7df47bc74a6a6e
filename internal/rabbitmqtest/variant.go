package rabbitmqtest

import amqp "github.com/rabbitmq/amqp091-go"

// Variant is how the services of a cloud declare: oslo.messaging gives an exchange for notifications and the queue that
// it binds to it the same flags, from its settings.
type Variant struct {
	Name       string
	Durable    bool
	AutoDelete bool
	Arguments  amqp.Table // of the queue
}

// Transient is oslo.messaging's default.
func Transient() Variant { return Variant{Name: "transient"} }

// Durable is amqp_durable_queues.
func Durable() Variant { return Variant{Name: "durable", Durable: true} }

// AutoDelete is amqp_auto_delete: exchange and queue end with their last user.
func AutoDelete() Variant { return Variant{Name: "auto-delete", AutoDelete: true} }

// Quorum is rabbit_quorum_queue, which makes the exchange durable, too.
func Quorum() Variant {
	return Variant{Name: "quorum", Durable: true, Arguments: amqp.Table{"x-queue-type": "quorum"}}
}

// HA is rabbit_ha_queues. Brokers of today ignore the argument, but compare it.
func HA() Variant {
	return Variant{Name: "ha", Arguments: amqp.Table{"x-ha-policy": "all"}}
}

// Variants are all of them, for tables.
func Variants() []Variant {
	return []Variant{Transient(), Durable(), AutoDelete(), Quorum(), HA()}
}

// declare declares an exchange, and the queue named like the routing key, as oslo.messaging does before it publishes.
func (v Variant) declare(ch *amqp.Channel, exchange, key string) error {
	if err := ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, v.Durable, v.AutoDelete, false, false, nil); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(key, v.Durable, v.AutoDelete, false, false, v.Arguments); err != nil {
		return err
	}
	return ch.QueueBind(key, key, exchange, false, nil)
}
