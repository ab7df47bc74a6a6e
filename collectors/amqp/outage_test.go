package amqp

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// published is a notification that the broker confirmed, and when it was sent first and confirmed.
type published struct {
	id              string
	sent, confirmed time.Time
}

func idsOf(all []published) []string {
	var ids []string
	for _, p := range all {
		ids = append(ids, p.id)
	}
	return ids
}

// steady publishes until the function that it returns is called, and then says what was confirmed, in order.
func steady(t *testing.T, p *rabbitmqtest.Publisher, exchange string) (stop func() []published) {
	t.Helper()
	if err := p.Declare(t.Context(), exchange, "notifications.info"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all []published
	var failure error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for failure == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			sent, id := time.Now(), rand.Text()
			// What has begun is finished, so that everything that was published is confirmed.
			failure = p.Notify(t.Context(), exchange, rabbitmqtest.Notification{MessageID: id})
			all = append(all, published{id, sent, time.Now()})
		}
	}()
	return func() []published {
		t.Helper()
		cancel()
		<-ended
		if failure != nil {
			t.Fatal(failure)
		}
		return all
	}
}

// The whole broker has a trouble. What it confirmed comes once and in order, without another start of ours.
func TestTroubleOfTheBroker(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost, func(c *Config) {
		c.DurableExchanges, c.Heartbeat, c.ConnectTimeout = true, time.Second, time.Second
	})
	r.gate = &gate{}
	nova := broker.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()))
	if err := nova.Declare(t.Context(), "nova", "notifications.info"); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.live(Kind, "nova")

	for _, resource := range []string{"memory", "disk"} {
		if err := nova.Notify(t.Context(), "nova", make([]rabbitmqtest.Notification, 20)...); err != nil {
			t.Fatal(err)
		}
		r.gate.close()
		if err := nova.Notify(t.Context(), "nova", make([]rabbitmqtest.Notification, 300)...); err != nil {
			t.Fatal(err)
		}
		from := r.changes()
		broker.Alarm(t, resource, true)
		r.troubled(from, "the broker has an alarm and blocks all who publish", resource)
		r.gate.open(nil)
		r.wantIDs(nova.Confirmed("nova")) // what is in the queue
		if told := r.told(); !told.blocked || r.status(Kind).State != event.StateDegraded {
			t.Errorf("with an alarm: blocked %t, %+v", told.blocked, r.status(Kind))
		}
		connected := len(r.told().connected)
		broker.Alarm(t, resource, false)
		r.eventually("word that the alarm is over", func() bool {
			s := r.status(Kind)
			return !r.told().blocked && s.State == event.StateLive && s.Reason == ""
		})
		r.live(Kind, "nova")
		if n := len(r.told().connected); n != connected {
			t.Errorf("the alarm cost %d connections", n-connected)
		}
	}

	// An alarm ends while we are away: a broker that starts has its limits from its configuration again.
	from := r.changes()
	broker.Alarm(t, "memory", true)
	r.troubled(from, "blocks all who publish")
	broker.Restart(t)
	r.live(Kind, "nova")
	if r.told().blocked {
		t.Error("the hook was not told that nothing is blocked any more")
	}

	// The broker closes the channel of a consumer that acknowledges nothing.
	limit := func(timeout, tick int) {
		broker.Eval(t, fmt.Sprintf(`application:set_env(rabbit, consumer_timeout, %d),
			application:set_env(rabbit, channel_tick_interval, %d)`, timeout, tick))
		broker.CloseConnections(t, vhost) // they are for new channels
		r.live(Kind, "nova")
	}
	limit(1000, 300)
	r.gate.close()
	if err := nova.Notify(t.Context(), "nova", make([]rabbitmqtest.Notification, 10)...); err != nil {
		t.Fatal(err)
	}
	from = r.changes()
	r.eventually("the broker's patience over", func() bool { return strings.Contains(broker.Log(t), "delivery acknowledgement on channel") })
	r.gate.open(nil)
	r.troubled(from, "the broker waited too long for an acknowledgement")
	r.wantIDs(nova.Confirmed("nova"))
	limit(1800_000, 60_000)

	for name, outage := range map[string]struct {
		begin func()
		words []string
		end   func()
	}{
		"stopped": {func() { broker.Stop(t) }, []string{"connect to " + broker.Addr(), "nothing listens there"}, func() { broker.Run(t) }},
		"killed":  {func() { broker.Kill(t) }, []string{"connect to " + broker.Addr(), "nothing listens there"}, func() { broker.Run(t) }},
		"paused":  {func() { broker.Pause(t) }, []string{"there was no answer to the login within 1s"}, func() { broker.Resume(t) }},
	} {
		from := r.changes()
		stop := steady(t, nova, "nova")
		n := len(r.log.IDs(cloud))
		r.eventually("traffic", func() bool { return len(r.log.IDs(cloud)) > n+20 })
		outage.begin()
		r.troubled(from, outage.words...)
		outage.end()
		r.live(Kind, "nova")
		stop()
		r.wantIDs(nova.Confirmed("nova"))
		if gaps := r.told().gaps; len(gaps) != 0 {
			t.Errorf("%s: gaps %v", name, gaps)
		}
	}
}

// The queue of a cluster is led elsewhere, then its leader dies, then there are hosts that are none.
func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := rabbitmqtest.Cluster(t, 3)
	vhost := nodes[0].VHost(t)
	addrs := []string{nodes[0].Addr(), nodes[1].Addr(), nodes[2].Addr()}
	dead := rabbitmqtest.NewProxy(t, addrs[0])
	dead.Refuse(true)
	r := newRig(t, nodes[0], vhost, func(c *Config) {
		c.Hosts = append([]string{dead.Addr()}, addrs...)
		c.Queue.Type, c.DurableExchanges, c.Heartbeat, c.ConnectTimeout = "quorum", true, time.Second, time.Second
		c.Probe = 2 * time.Second
	})
	nova := nodes[0].Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Quorum()), rabbitmqtest.Through(addrs...))
	if err := nova.Declare(t.Context(), "nova", "notifications.info"); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.live(Kind, "nova")
	stop := steady(t, nova, "nova")
	r.eventually("events", func() bool { return len(r.log.IDs(cloud)) > 20 })
	rabbitmqtest.MoveLeader(t, nodes, vhost, ourQueue)
	n := len(r.log.IDs(cloud))
	r.eventually("events of the new leader", func() bool { return len(r.log.IDs(cloud)) > n+20 })
	rabbitmqtest.Leader(t, nodes, vhost, ourQueue).Kill(t)
	n = len(r.log.IDs(cloud))
	r.eventually("events from those that are left", func() bool { return len(r.log.IDs(cloud)) > n+100 })
	r.live(Kind, "nova")
	r.wantIDs(idsOf(stop()))
	if gaps := r.told().gaps; len(gaps) != 0 {
		t.Errorf("gaps %v", gaps)
	}
}
