package amqp

import (
	"testing"

	"stackstream/internal/rabbitmqtest"
)

func TestCollectsOnceAndInOrder(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost)
	nova := newService(t, broker, vhost, "nova", true)
	r.run()
	r.live(Kind, "nova")
	r.wantIDs(nova.notify(3000))
	r.eventually("everything acknowledged", func() bool { return r.told().ready == 0 })
	if n := len(r.told().prefetch); n != 2 {
		t.Errorf("the prefetch was set %d times; want the first one, and the one for the size of the notifications", n)
	}
}
