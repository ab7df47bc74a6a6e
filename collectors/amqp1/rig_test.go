package amqp1

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait for peers more than they work
		panic(err)
	}
	os.Exit(rabbitmqtest.Main(m))
}

const cloud event.Provider = "cloud"

// sharedBroker is the broker of all tests that leave it alone. It speaks AMQP 1.0.
func sharedBroker(t *testing.T) *rabbitmqtest.Broker {
	t.Helper()
	return rabbitmqtest.Shared(t, rabbitmqtest.Plugins("rabbitmq_amqp1_0"))
}

// config is one that reaches a peer.
func config(addr string, addresses ...string) Config {
	cfg := Default()
	cfg.Hosts, cfg.Addresses, cfg.SASL = []string{addr}, addresses, "anonymous"
	cfg.Probe = time.Second
	return cfg
}

// brokerConfig is one for queues of a vhost of a broker.
func brokerConfig(addr, vhost string, queues ...string) Config {
	cfg := config(addr)
	for _, q := range queues {
		cfg.Addresses = append(cfg.Addresses, "/amq/queue/"+q)
	}
	cfg.SASL, cfg.User, cfg.Password, cfg.VHost = "plain", "guest", "guest", "vhost:"+vhost
	return cfg
}

// rig is a Collector with a source of this package, and a model of the streams.
type rig struct {
	t      *testing.T
	log    *collectorstest.Log
	leases *collectorstest.Leases
	cfg    Config
	limits collectors.Options
	// wrap, if set, is put around the writer.
	wrap func(collectors.Writer) collectors.Writer

	mu       sync.Mutex
	statuses []event.Status
	seen     tally
}

// tally is what the hooks were told.
type tally struct {
	up, of                                     int
	held, bytes, most                          int
	redelivered, presettled, lost, probes, dup int
	rejected                                   map[string]int
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatalf("the configuration: %+v", problems)
	}
	return &rig{
		t: t, cfg: cfg, log: collectorstest.NewLog(), leases: new(collectorstest.Leases), seen: tally{rejected: map[string]int{}},
	}
}

func (r *rig) options(report collectors.Report) Options {
	lock := func(f func(*tally)) { r.mu.Lock(); defer r.mu.Unlock(); f(&r.seen) }
	return Options{
		Provider: cloud, Version: "test", Host: "here", Report: report, Log: zerolog.New(zerolog.NewTestWriter(r.t)),
		Hooks: Hooks{
			Links: func(up, of int) { lock(func(s *tally) { s.up, s.of = up, of }) },
			Held: func(messages, bytes int) {
				lock(func(s *tally) { s.held, s.bytes, s.most = messages, bytes, max(s.most, bytes) })
			},
			Redelivered: func(n int) { lock(func(s *tally) { s.redelivered += n }) },
			Presettled:  func(n int) { lock(func(s *tally) { s.presettled += n }) },
			Rejected:    func(why string, n int) { lock(func(s *tally) { s.rejected[why] += n }) },
			Lost:        func() { lock(func(s *tally) { s.lost++ }) },
			Probe:       func(time.Duration) { lock(func(s *tally) { s.probes++ }) },
		},
	}
}

// run starts the collector; the function that it returns ends it in good order.
func (r *rig) run() (stop func()) {
	r.t.Helper()
	c := &collectors.Collector{
		Provider: cloud, Want: Kind, Candidates: []collectors.Candidate{Candidate(r.cfg, r.options)}, Options: r.limits,
		Deps: collectors.Deps{
			NewWriter: r.newWriter, Memory: r.log, Choices: r.log, Lease: r.leases.For(fmt.Sprintf("%p", r)), Owner: "test",
			Log: zerolog.New(zerolog.NewTestWriter(r.t)),
			Hooks: collectors.Hooks{
				Status: func(s event.Status) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.statuses = append(r.statuses, s)
				},
				Duplicates: func(_ event.Provider, _ event.Source, n int) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.seen.dup += n
				},
			},
		},
	}
	return collectorstest.Run(r.t, c)
}

func (r *rig) newWriter(p event.Provider, s event.Source, fence event.Fence) collectors.Writer {
	w := r.log.NewWriter(p, s, fence)
	if r.wrap != nil {
		return r.wrap(w)
	}
	return w
}

func (r *rig) told() tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seen
	s.rejected = map[string]int{}
	for why, n := range r.seen.rejected {
		s.rejected[why] = n
	}
	return s
}

// status is the last one of the source.
func (r *rig) status() event.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Backward(r.statuses) {
		if s.Source == Kind {
			return s
		}
	}
	return event.Status{}
}

// eventually waits for something that has to come about.
func (r *rig) eventually(what string, check func() bool) {
	r.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !check() {
		select {
		case <-look.C:
		case <-limit.C:
			r.t.Fatalf("waited in vain for: %s; the last state is %+v; told was %+v", what, r.status(), r.told())
		}
	}
}

func (r *rig) live() {
	r.t.Helper()
	r.eventually("to be live", func() bool { return r.status().State == event.StateLive })
}

// wantIDs waits until exactly these are collected, in this order.
func (r *rig) wantIDs(want []string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d events", len(want)), func() bool { return len(r.log.IDs(cloud)) >= len(want) })
	got := r.ids()
	if slices.Equal(got, want) {
		return
	}
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			r.t.Fatalf("%d events, want %d; the %dth is %s", len(got), len(want), i, got[i])
		}
	}
}

func (r *rig) ids() []string {
	var ids []string
	for _, id := range r.log.IDs(cloud) {
		ids = append(ids, string(id))
	}
	return ids
}

// notified is a notification over AMQP 1.0.
func notified(id string) string {
	return fmt.Sprintf(`{"request": {"oslo.version": "2.0", "oslo.message": "{\"message_id\": \"%s\", \"publisher_id\": \"compute.h1\", `+
		`\"event_type\": \"compute.instance.update\", \"payload\": {\"instance_id\": \"i-1\"}, \"timestamp\": \"%s\"}"}, "context": {}}`,
		id, time.Now().UTC().Format("2006-01-02 15:04:05.000000"))
}

// queue is a durable queue of a broker, and who puts notifications into it, one after the other, confirmed.
type queue struct {
	t    *testing.T
	name string
	ch   *amqp091.Channel
	n    int
}

func newQueue(t *testing.T, broker *rabbitmqtest.Broker, vhost, name string) *queue {
	t.Helper()
	ch, err := broker.Dial(t, vhost).Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err == nil {
		_, err = ch.QueueDeclare(name, true, false, false, false, amqp091.Table{"x-single-active-consumer": true})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &queue{t: t, name: name, ch: ch}
}

// put puts n more notifications into it and returns their identities.
func (q *queue) put(n int) []string {
	q.t.Helper()
	var ids []string
	var waits []*amqp091.DeferredConfirmation
	for range n {
		q.n++
		id := fmt.Sprintf("%s-%06d", q.name, q.n)
		c, err := q.ch.PublishWithDeferredConfirm("", q.name, false, false, amqp091.Publishing{
			Body: []byte(notified(id)), DeliveryMode: amqp091.Persistent, ContentType: "application/json",
		})
		if err != nil {
			q.t.Fatal(err)
		}
		ids, waits = append(ids, id), append(waits, c)
	}
	for _, c := range waits {
		if ok, err := c.WaitContext(q.t.Context()); !ok || err != nil {
			q.t.Fatalf("not confirmed: %v", err)
		}
	}
	return ids
}

// ready is how many messages wait in it.
func (q *queue) ready() int {
	q.t.Helper()
	found, err := q.ch.QueueDeclarePassive(q.name, true, false, false, false, nil)
	if err != nil {
		q.t.Fatal(err)
	}
	return found.Messages
}
