//go:build openstack

package openstack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"stackstream/internal/openstacktest"
	"stackstream/internal/rabbitmqtest"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// scene is a cloud on a virtual host of its own, our pipeline, and another consumer.
type scene struct {
	durable    bool
	broker     *rabbitmqtest.Broker
	vhost      string
	exchanges  []string
	queues     []string // of the services' daemons
	ledger     *openstacktest.Ledger
	crew       []*openstacktest.Worker
	collector  *program
	normalizer *program
	beside     *beside
	streams    *jetstream.Client
	subscriber *subscriber
	watch      *stopwatch
	random     *rand.Rand
	rounds     int
	gaps       int       // that must have been told
	since      time.Time // the other consumer must have every event from then on
}

// rights are the least that a source needs, as the operators' page has them.
const (
	ours     = `^stackstream\.`
	readable = `^(stackstream\..*|nova|cinder|openstack|glance|neutron|keystone|heat|ironic)$`
)

func newScene(t *testing.T, cloud *openstacktest.Cloud, broker *rabbitmqtest.Broker, durable bool) *scene {
	t.Helper()
	s := &scene{
		durable: durable, broker: broker, vhost: broker.VHost(t), exchanges: cloud.Exchanges(), queues: cloud.Queues(),
		watch: newStopwatch(), random: rand.New(rand.NewPCG(seed, 0)),
	}
	cloud.Start(t, openstacktest.Broker{URL: "rabbit" + strings.TrimPrefix(broker.URL(s.vhost), "amqp"), Durable: durable})
	s.watch.lap(t, "the services")

	s.beside = runBeside(t, broker, s.vhost, s.exchanges, durable)
	server := jetstreamtest.Server(t)
	s.streams = server.Client(t)
	s.subscriber = runSubscriber(t, server.URL(), "amqp")
	file := s.configFile(t, server.URL())

	// An exchange exists when a service has told something, and what nobody has bound a queue to is told to nobody. So
	// the services tell something before anybody counts.
	s.crew = s.hire(t, cloud, nil)
	s.nudge(t)
	s.collector = run(t, "collector", "-c", file, "--source", "amqp")
	s.normalizer = run(t, "normalizer", "-c", file)
	s.normalizer.ready(t)
	s.bound(t)

	s.ledger = cloud.NewLedger()
	s.crew = s.hire(t, cloud, s.ledger)
	s.watch.lap(t, "our programs are ready")
	return s
}

// configFile writes a configuration and the password that belongs to it.
func (s *scene) configFile(t *testing.T, nats string) string {
	t.Helper()
	dir := t.TempDir()
	user, password := s.broker.User(t, s.vhost, ours, ours, readable)
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "stackstream.yaml")
	text := fmt.Sprintf(`nats:
  url: [%s]
streams:
  replicas: 1
admin:
  listen: 127.0.0.1:0
log:
  format: json
providers:
  %s:
    amqp:
      hosts: ["%s"]
      vhost: %s
      user: %s
      password_file: %s
      exchanges: [%s]
      durable_exchanges: %v
      probe: 2s
`, nats, provider, s.broker.Addr(), s.vhost, user, secret, strings.Join(s.exchanges, ", "), s.durable)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// hire logs in one worker for each service, so that the services work at the same time.
func (s *scene) hire(t *testing.T, cloud *openstacktest.Cloud, ledger *openstacktest.Ledger) []*openstacktest.Worker {
	t.Helper()
	crew, err := cloud.Workers(t.Context(), ledger)
	if err != nil {
		t.Fatal(err)
	}
	return crew
}

// work is a method of a worker.
type work func(w *openstacktest.Worker, ctx context.Context, name string) error

// begin lets every worker of the crew do something at the same time, in the background. What it returns waits for all.
func (s *scene) begin(t *testing.T, do work) (wait func()) {
	t.Helper()
	s.rounds++
	name := fmt.Sprintf("%s-%d", s.vhost, s.rounds)
	var all errgroup.Group
	for _, w := range s.crew {
		all.Go(func() error { return do(w, t.Context(), name) })
	}
	return func() {
		t.Helper()
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// nudge has every service tell something.
func (s *scene) nudge(t *testing.T) { t.Helper(); s.begin(t, (*openstacktest.Worker).Nudge)() }

// round has everything done once.
func (s *scene) round(t *testing.T) { t.Helper(); s.begin(t, (*openstacktest.Worker).Work)() }

// play does rounds of operations and harm.
func (s *scene) play(t *testing.T) {
	s.round(t)
	s.settled(t, "a round in peace")

	s.during(t, (*openstacktest.Worker).Work, func() {
		s.progress(t)
		s.moment()
		s.collector.restart(t)
		s.progress(t) // after the lease of the dead one has ended
		s.moment()
		s.collector.restart(t)
		s.normalizer.restart(t)
	})
	s.settled(t, "killing the collector twice, and the normalizer once")

	s.doubt()
	s.during(t, (*openstacktest.Worker).WorkAlone, func() {
		s.moment()
		s.broker.Kill(t)
		s.collector.troubled(t)
		s.broker.Run(t)
	})
	s.restored(t)
	s.round(t)
	s.settled(t, "killing the broker, and a round")

	s.doubt()
	s.during(t, (*openstacktest.Worker).WorkAlone, func() {
		s.moment()
		s.collector.Kill()
		s.broker.Restart(t)
		s.collector.start(t)
	})
	s.restored(t)
	s.round(t)
	s.settled(t, "restarting the broker while the collector was dead, and a round")

	for _, p := range []*program{s.collector, s.normalizer} {
		if code := p.Stop(t, 30*time.Second); code != 0 {
			t.Errorf("%s exits with %d on SIGTERM", p.name, code)
		}
	}
	s.verify(t)
}

// moment is one that nobody chose.
func (s *scene) moment() {
	<-time.After(300*time.Millisecond + time.Duration(s.random.Int64N(int64(1200*time.Millisecond))))
}

// progress waits until something new reaches the subscriber.
func (s *scene) progress(t *testing.T) {
	t.Helper()
	before := len(s.subscriber.events())
	eventually(t, 2*time.Minute, "something new", func() bool { return len(s.subscriber.events()) > before },
		func() string {
			return fmt.Sprintf("nothing comes after %d events\ncollector: %s", before, s.collector.trouble())
		})
}

// during does harm while the workers work.
func (s *scene) during(t *testing.T, do work, harm func()) {
	t.Helper()
	over := make(chan struct{})
	wait := s.begin(t, func(w *openstacktest.Worker, ctx context.Context, name string) error {
		for n := 1; ; n++ {
			if err := do(w, ctx, fmt.Sprintf("%s-%d", name, n)); err != nil {
				return err
			}
			select {
			case <-over:
				return nil
			default:
			}
		}
	})
	func() {
		defer close(over) // also when the test fails meanwhile
		harm()
	}()
	wait()
}

// doubt: from now on events may be lost, if the broker forgets the exchanges when it ends.
func (s *scene) doubt() {
	if !s.durable {
		s.ledger.Doubt()
	}
}

// restored waits until everything works again. Services make their exchanges again with the next thing they tell.
func (s *scene) restored(t *testing.T) {
	t.Helper()
	s.nudge(t)
	if !s.durable {
		s.gaps += len(s.exchanges) // each was gone
	}
	s.bound(t)
	s.consumed(t)
	if !s.durable {
		s.since = time.Now() // what was with the broker before may be with one of its consumers alone
	}
	s.ledger.Trust()
}

// consumed waits until the services' daemons hear of their work again.
func (s *scene) consumed(t *testing.T) {
	t.Helper()
	conn := s.broker.Dial(t, s.vhost)
	defer conn.Close()
	for _, name := range s.queues {
		eventually(t, 2*time.Minute, "a consumer of "+name, func() bool {
			ch, err := conn.Channel()
			if err != nil {
				t.Fatal(err)
			}
			defer ch.Close()
			q, err := ch.QueueDeclarePassive(name, s.durable, false, false, false, nil)
			return err == nil && q.Consumers > 0
		}, func() string { return "there is none" })
	}
}

// settled waits until the subscriber was given everything that must follow from what was done so far, and the other
// consumer too.
func (s *scene) settled(t *testing.T, after string) {
	t.Helper()
	all, sure := s.ledger.Len()
	check := func() error { _, err := s.ledger.Check(s.subscriber.events()); return err }
	eventually(t, 2*time.Minute, "the events of "+after,
		func() bool { return len(s.subscriber.events()) >= sure && check() == nil },
		func() string { return fmt.Sprintf("%v\ncollector: %s", check(), s.collector.trouble()) })
	var ids []string
	for _, e := range s.subscriber.events() {
		if e.Timestamp.Time().After(s.since) {
			ids = append(ids, e.MessageID)
		}
	}
	eventually(t, 30*time.Second, "the other consumer to have them, too", func() bool { n, _ := s.beside.missing(ids); return n == 0 },
		func() string { _, why := s.beside.missing(ids); return why })
	s.watch.lap(t, fmt.Sprintf("%s: %d events must have come so far, %d more may", after, sure, all-sure))
}

// verify checks everything at the end, when nothing more can come.
func (s *scene) verify(t *testing.T) {
	t.Helper()
	if err := s.subscriber.check(); err != nil {
		t.Error(err)
	}
	missing, err := s.ledger.Check(s.subscriber.events())
	if err != nil {
		t.Error(err)
	}
	gaps := s.cursor(t).Gaps
	t.Logf("%d events came, %d are missing, %d gaps were told: %v", len(s.subscriber.events()), len(missing), len(gaps), gaps)
	if s.durable && len(missing)+len(gaps) > 0 {
		t.Errorf("nothing may be missing, and no gap told: %v, %v", missing, gaps)
	}
	for _, m := range missing {
		if !told(gaps, m) {
			t.Errorf("%s is missing, and no gap tells it", m)
		}
	}
}

// told tells whether one of the gaps is that of a missing event: of its exchange, and in its time.
func told(gaps []gap, m openstacktest.Expected) bool {
	for _, g := range gaps {
		if g.What == "exchange "+m.Exchange && !m.To.Before(g.From) && !m.From.After(g.To) {
			return true
		}
	}
	return false
}
