package amqp

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/internal/broker"
	"stackstream/internal/rabbitmqtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait for brokers more than they work
		panic(err)
	}
	os.Exit(rabbitmqtest.Main(m))
}

const cloud event.Provider = "cloud"

// rig is a Collector with sources of this package over a real broker, and a model of the streams.
type rig struct {
	t      *testing.T
	log    *collectorstest.Log
	leases *collectorstest.Leases
	cfg    Config
	// gate, if set, is what commits of events have to pass.
	gate *gate
	// host is in the names of its connections.
	host string
	// limits are the loop's.
	limits collectors.Options

	mu       sync.Mutex
	statuses []event.Status
	seen     tally
	written  strings.Builder // the log
}

// tally is what the hooks were told.
type tally struct {
	connected   []string
	ready       int
	consumers   int
	prefetch    []int
	missing     int
	blocked     bool
	redelivered int
	dropped     map[string]int
	gaps        []Gap
	skew        time.Duration
	unknown     int
	probes      int
	filtered    int
	repeated    int
}

// newRig is for a vhost of a broker; change may change the configuration.
func newRig(t *testing.T, broker *rabbitmqtest.Broker, vhost string, change ...func(*Config)) *rig {
	t.Helper()
	cfg := Default()
	cfg.Hosts, cfg.VHost, cfg.User, cfg.Password = []string{broker.Addr()}, vhost, "guest", "guest"
	cfg.Exchanges = []string{"nova", "glance"}
	cfg.Probe = time.Second
	for _, f := range change {
		f(&cfg)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatalf("the configuration: %+v", problems)
	}
	return &rig{
		t: t, cfg: cfg, host: "here", log: collectorstest.NewLog(), leases: new(collectorstest.Leases),
		seen: tally{dropped: map[string]int{}},
	}
}

// with is another process on the same streams.
func (r *rig) with(change func(*Config)) *rig {
	other := &rig{t: r.t, cfg: r.cfg, host: "there", limits: r.limits, log: r.log, leases: r.leases, seen: tally{dropped: map[string]int{}}}
	change(&other.cfg)
	return other
}

func (r *rig) options(name event.Source, report collectors.Report) Options {
	lock := func(f func(*tally)) { r.mu.Lock(); defer r.mu.Unlock(); f(&r.seen) }
	return Options{
		Provider: cloud, Version: "test", Host: r.host, Report: report, Log: r.logger(),
		Cursors: func(ctx context.Context) (map[event.Source]event.RawCursor, error) { return r.log.Cursors(ctx, cloud) },
		Hooks: Hooks{
			Connected:   func(host string) { lock(func(s *tally) { s.connected = append(s.connected, host) }) },
			Queue:       func(ready, consumers int) { lock(func(s *tally) { s.ready, s.consumers = ready, consumers }) },
			Prefetch:    func(n int) { lock(func(s *tally) { s.prefetch = append(s.prefetch, n) }) },
			Missing:     func(n int) { lock(func(s *tally) { s.missing = n }) },
			Blocked:     func(b bool) { lock(func(s *tally) { s.blocked = b }) },
			Redelivered: func(n int) { lock(func(s *tally) { s.redelivered += n }) },
			Dropped:     func(why string, n int) { lock(func(s *tally) { s.dropped[why] += n }) },
			Gap:         func(g Gap) { lock(func(s *tally) { s.gaps = append(s.gaps, g) }) },
			Skew:        func(d time.Duration) { lock(func(s *tally) { s.skew = d }) },
			Unknown:     func(n int) { lock(func(s *tally) { s.unknown += n }) },
			Probe:       func(time.Duration) { lock(func(s *tally) { s.probes++ }) },
		},
	}
}

// Write keeps what is logged.
func (r *rig) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written.Write(line)
}

func (r *rig) logger() zerolog.Logger {
	return zerolog.New(zerolog.MultiLevelWriter(zerolog.NewTestWriter(r.t), r))
}

// logged returns the lines of the log that have the text in them.
func (r *rig) logged(text string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for line := range strings.Lines(r.written.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// run starts the collector; the function that it returns ends it in good order.
func (r *rig) run() (stop func()) {
	r.t.Helper()
	c := &collectors.Collector{
		Provider: cloud, Want: Kind, Candidates: []collectors.Candidate{Candidate(r.cfg, r.options)}, Options: r.limits,
		Deps: collectors.Deps{
			NewWriter: r.newWriter, Memory: r.log, Choices: r.log, Lease: r.leases.For(fmt.Sprintf("%p", r)), Owner: "test",
			Log: r.logger(),
			Hooks: collectors.Hooks{
				Status: func(s event.Status) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.statuses = append(r.statuses, s)
				},
				Filtered: func(_ event.Provider, _ event.Source, n int) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.seen.filtered += n
				},
				Duplicates: func(_ event.Provider, _ event.Source, n int) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.seen.repeated += n
				},
			},
		},
	}
	return collectorstest.Run(r.t, c)
}

func (r *rig) newWriter(p event.Provider, s event.Source, fence event.Fence) collectors.Writer {
	w := r.log.NewWriter(p, s, fence)
	if r.gate == nil {
		return w
	}
	return &gated{Writer: w, gate: r.gate}
}

// told returns a copy of what the hooks were told.
func (r *rig) told() tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seen
	s.gaps = slices.Clone(s.gaps)
	s.dropped = maps.Clone(s.dropped)
	s.connected = slices.Clone(s.connected)
	s.prefetch = slices.Clone(s.prefetch)
	return s
}

// status is the last one of a source.
func (r *rig) status(name event.Source) event.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Backward(r.statuses) {
		if s.Source == name {
			return s
		}
	}
	return event.Status{}
}

// state is what a source's cursor says.
func (r *rig) state(name event.Source) state {
	r.t.Helper()
	st, err := readState(r.log.Cursor(cloud, name).Cursor)
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

// eventually waits for something that has to come about.
func (r *rig) eventually(what string, check func() bool) {
	r.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !check() {
		select {
		case <-look.C:
		case <-limit.C:
			told := r.told()
			r.mu.Lock()
			defer r.mu.Unlock()
			last := r.statuses[max(0, len(r.statuses)-6):]
			r.t.Fatalf("waited in vain for: %s; the last states %+v; told %+v", what, last, told)
		}
	}
}

// live waits until the queue is bound to the exchanges, which must be there, and a probe came through it.
func (r *rig) live(name event.Source, exchanges ...string) {
	r.t.Helper()
	probes := r.told().probes
	r.eventually(fmt.Sprintf("%s bound to %v", name, exchanges), func() bool {
		claims := r.state(name).Claims
		for _, x := range exchanges {
			if !claims[x].Bound || !claims[x].Lost.IsZero() {
				return false
			}
		}
		return r.status(name).State == event.StateLive && r.told().probes > probes
	})
}

// wantIDs waits until exactly these are collected, in this order.
func (r *rig) wantIDs(want []string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d events", len(want)), func() bool { return len(r.log.IDs(cloud)) >= len(want) })
	var got []string
	for _, id := range r.log.IDs(cloud) {
		got = append(got, string(id))
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("collected %s", difference(got, want))
	}
}

// difference says where two lists part.
func difference(got, want []string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	return fmt.Sprintf("%d, want %d; from the %dth on %s, want %s",
		len(got), len(want), i, strings.Join(got[i:min(i+5, len(got))], " "), strings.Join(want[i:min(i+5, len(want))], " "))
}

// tlsSettings has another name here, where a broker is one that runs.
type tlsSettings = broker.TLS

// notified is a v2 body.
func notified(id, eventType string) []byte {
	return fmt.Appendf(nil, `{"oslo.version": "2.0", "oslo.message": "{\"message_id\": \"%s\", \"publisher_id\": \"compute.h1\", `+
		`\"event_type\": \"%s\", \"priority\": \"INFO\", \"payload\": {\"instance_id\": \"i-1\"}, \"timestamp\": \"%s\"}"}`,
		id, eventType, time.Now().UTC().Format("2006-01-02 15:04:05.000000"))
}

// service is a plain publisher: one connection, an exchange, confirms.
type service struct {
	t        *testing.T
	ch       *amqp091.Channel
	exchange string
	n        int
}

func newService(t *testing.T, broker *rabbitmqtest.Broker, vhost, exchange string, durable bool) *service {
	t.Helper()
	ch, err := broker.Dial(t, vhost).Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare(exchange, "topic", durable, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	return &service{t: t, ch: ch, exchange: exchange}
}

// notify publishes n notifications and returns their identities, all of them confirmed.
func (s *service) notify(n int) []string {
	s.t.Helper()
	return s.notifySized(n, 0)
}

// notifySized is notify with bodies of about that size.
func (s *service) notifySized(n, size int) []string {
	s.t.Helper()
	var ids []string
	var last *amqp091.DeferredConfirmation
	for range n {
		s.n++
		id := fmt.Sprintf("%s-%06d", s.exchange, s.n)
		ids = append(ids, id)
		body := append(notified(id, "compute.instance.update"), bytes.Repeat([]byte{' '}, size)...)
		last = s.publish("notifications.info", amqp091.Publishing{Body: body})
	}
	if last != nil && !last.Wait() {
		s.t.Fatal("the broker refused a notification")
	}
	return ids
}

func (s *service) publish(key string, p amqp091.Publishing) *amqp091.DeferredConfirmation {
	s.t.Helper()
	p.ContentType, p.ContentEncoding = "application/json", "utf-8"
	return s.publishAsIs(key, p)
}

// publishAsIs leaves the properties as they are.
func (s *service) publishAsIs(key string, p amqp091.Publishing) *amqp091.DeferredConfirmation {
	s.t.Helper()
	p.DeliveryMode = amqp091.Persistent
	confirm, err := s.ch.PublishWithDeferredConfirmWithContext(s.t.Context(), s.exchange, key, false, false, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return confirm
}
