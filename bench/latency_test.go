//go:build bench

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"

	"stackstream/bench/measure"
	"stackstream/event"
)

// slowPace is how many events a second come in a cloud where little happens.
const slowPace = 100

// latencyRow is how long events took, from when they were due to be handed over to the broker to their arrival at a subscriber
// with a durable consumer.
type latencyRow struct {
	Name    string          `json:"name"`
	Pace    float64         `json:"events_per_second"`
	Latency measure.Latency `json:"latency"`
}

// latency hands over events at a pace that does not wait: to the chain and the pipeline where little happens, and to the pipeline at
// a share of what it can do.
func latency(t *testing.T, w *world, report *report) {
	r := newRates(t, w)
	r.pipeline.warmUp(t, 2*batchOfOurs)
	seconds := w.opt.Latency.Seconds()
	n := max(int(slowPace*seconds), 1)
	first, second := r.startChain(t, n)
	report.Latency = append(report.Latency, latencyRow{partChain, slowPace,
		w.paced(t, r.chain, slowPace, n, r.plain, chainEnd, chainEnd, messageID)})
	r.endChain(t, first, second)

	report.Latency = append(report.Latency, latencyRow{"two bare commits", slowPace, r.bareCommits(t, slowPace, n)})

	collector, normalizer := r.pipeline.both(t)
	through := func(pace float64) {
		report.Latency = append(report.Latency, latencyRow{partTwoHops, pace, w.paced(t, r.pipeline.vhost, pace,
			max(int(pace*seconds), 1), r.synced, event.StreamNormalized, event.NormalizedSubject(cloud), ceID)})
	}
	through(slowPace)
	report.Capacity = r.pipeline.capacity(t, w.opt.Events)
	through(w.opt.Share * report.Capacity)
	collector.stop(t)
	normalizer.stop(t)
}

// capacity is how many events a second come to a subscriber while there are always more to hand over: who does that and who
// subscribes share the machine, as they do where latency is looked at.
func (p *pipeline) capacity(t *testing.T, events int) float64 {
	t.Helper()
	var arrived atomic.Int64
	stop := p.on.subscribe(t, event.StreamNormalized, natsjs.ConsumerConfig{FilterSubject: event.NormalizedSubject(cloud)},
		func(natsjs.Msg) { arrived.Add(1) })
	defer stop()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	handed, count := make(chan int, 1), beyond(t, p.normalized)
	go func() { handed <- p.flood(ctx, t, count) }()
	reach := func(n int64) time.Time {
		eventually(t, "events to arrive", func(context.Context) error {
			if got := arrived.Load(); got < n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
		return time.Now()
	}
	begun, before := reach(int64(events/4)), arrived.Load() // by then as much waits as will
	took, after := reach(before+int64(events)).Sub(begun), arrived.Load()
	end()
	reach(int64(<-handed))
	return float64(after-before) / took.Seconds()
}

// bareCommits is what the disk alone makes of lone events: each is written behind a cursor into one stream, and then into another, by
// who does nothing else. From when an event was due to the second answer.
func (r *rates) bareCommits(t testing.TB, pace float64, n int) measure.Latency {
	t.Helper()
	hops := []string{"BENCH_FIRST", "BENCH_SECOND"}
	for _, stream := range hops {
		r.w.stream(t, r.synced, stream)
	}
	defer r.synced.remove(t, hops...)
	due, took := make([]time.Time, n), make([]time.Duration, n)
	between := make(chan int, n)
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error {
		defer close(between)
		return measure.Pace(ctx, pace, n, func(i int, at time.Time) error {
			due[i] = at
			if err := commitLone(ctx, r.synced.nc, hops[0], r.w.bodies.body(i)); err != nil {
				return err
			}
			between <- i
			return nil
		})
	})
	group.Go(func() error {
		for i := range between {
			if err := commitLone(ctx, r.synced.nc, hops[1], r.w.bodies.body(i)); err != nil {
				return err
			}
			took[i] = time.Since(due[i])
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatalf("bare commits: %v", err)
	}
	return measure.LatencyOf(took)
}

// commitLone writes one event and something behind it, as an atomic batch.
func commitLone(ctx context.Context, nc *nats.Conn, subject string, body []byte) error {
	id := nuid.Next()
	for i, header := range []nats.Header{{}, {"Nats-Batch-Commit": {"1"}}} {
		header["Nats-Batch-Id"], header["Nats-Batch-Sequence"] = []string{id}, []string{strconv.Itoa(i + 1)}
		answer, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
		if err != nil {
			return err
		}
		if bytes.Contains(answer.Data, []byte(`"error"`)) {
			return errors.New(string(answer.Data))
		}
		body = body[:min(len(body), 300)] // a cursor is small
	}
	return nil
}

// paced hands events over to a virtual host, and waits until all have arrived.
func (w *world) paced(
	t testing.TB, vhost string, pace float64, n int, at *servers, stream, subject string, identify func(natsjs.Msg) string,
) measure.Latency {
	t.Helper()
	first := w.handed + 1
	w.handed += n
	due, took := make([]time.Time, n), make([]time.Duration, n)
	var mu sync.Mutex
	arrived, all := 0, make(chan struct{})
	stop := at.subscribe(t, stream, natsjs.ConsumerConfig{FilterSubject: subject}, func(m natsjs.Msg) {
		now := time.Now()
		i, known := index(identify(m))
		mu.Lock()
		defer mu.Unlock()
		if i -= first; !known || i < 0 || i >= n || took[i] != 0 {
			return
		}
		took[i] = max(now.Sub(due[i]), 1)
		if arrived++; arrived == n {
			close(all)
		}
	})
	defer stop()
	p, conn := w.publisher(t, vhost)
	defer conn.Close()
	err := measure.Pace(t.Context(), pace, n, func(i int, at time.Time) error {
		mu.Lock()
		due[i] = at
		mu.Unlock()
		return p.send(t.Context(), w.bodies.body(first+i))
	})
	if err != nil {
		t.Fatalf("hand over events: %v", err)
	}
	select {
	case <-all:
	case <-time.After(patience):
		mu.Lock()
		defer mu.Unlock()
		t.Fatalf("%d of %d events have arrived", arrived, n)
	}
	return measure.LatencyOf(took)
}

// subscribe reads what is stored from now on through a durable consumer of its own, until stop is called.
func (s *servers) subscribe(t testing.TB, stream string, cfg natsjs.ConsumerConfig, handle func(natsjs.Msg)) (stop func()) {
	t.Helper()
	cfg.Durable, cfg.DeliverPolicy = "bench-"+nuid.Next(), natsjs.DeliverNewPolicy
	cfg.AckPolicy, cfg.MaxAckPending = natsjs.AckAllPolicy, -1
	var reading natsjs.ConsumeContext
	eventually(t, "a durable consumer", func(ctx context.Context) error {
		consumer, err := s.js.CreateOrUpdateConsumer(ctx, stream, cfg)
		if err != nil {
			return err
		}
		n := 0
		reading, err = consumer.Consume(func(m natsjs.Msg) {
			handle(m)
			if n++; n%100 == 0 {
				_ = m.Ack() // what is not acknowledged comes again, and was seen
			}
		}, natsjs.PullHeartbeat(time.Second))
		return err
	})
	s.awaitAsked(t, stream, cfg.Durable)
	return func() {
		reading.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.js.DeleteConsumer(ctx, stream, cfg.Durable); err != nil {
			t.Errorf("remove consumer %s: %v", cfg.Durable, err)
		}
	}
}

// awaitAsked waits until a server has a request for messages of a consumer: what comes before would wait for it.
func (s *servers) awaitAsked(t testing.TB, stream, consumer string) {
	t.Helper()
	eventually(t, "consumer "+consumer, func(ctx context.Context) error {
		c, err := s.js.Consumer(ctx, stream, consumer)
		if err == nil && c.CachedInfo().NumWaiting == 0 {
			err = errors.New("nobody reads through it")
		}
		return err
	})
}

// ceID finds the identity of a canonical event.
func ceID(m natsjs.Msg) string { return m.Headers().Get("ce-id") }

// messageID finds the identity of what the chain makes.
func messageID(m natsjs.Msg) string {
	const before = `{"message_id":"`
	if len(m.Data()) < len(before)+len(id(0)) {
		return fmt.Sprintf("%.20q", m.Data())
	}
	return string(m.Data()[len(before) : len(before)+len(id(0))])
}
