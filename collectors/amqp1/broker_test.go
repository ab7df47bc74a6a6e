package amqp1

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/notification"
	"stackstream/internal/rabbitmqtest"
)

// failingWriter fails a few times, before or after it has stored what it was given.
type failingWriter struct {
	collectors.Writer
	n *atomic.Int64
}

var errKilled = errors.New("killed, by order of the test")

func (w failingWriter) Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
	n := w.n.Add(1)
	if n == 3 || n == 11 {
		return nil, errKilled
	}
	seqs, err := w.Writer.Commit(ctx, events, p)
	if err == nil && (n == 6 || n == 14) {
		return nil, errKilled
	}
	return seqs, err
}

// Whatever breaks, the connection or the process, thousands of messages come once each, and in order.
func TestOnceAndInOrderWhateverBreaks(t *testing.T) {
	t.Parallel()
	broker := sharedBroker(t)
	vhost := broker.VHost(t)
	proxy := rabbitmqtest.NewProxy(t, broker.Addr())
	q := newQueue(t, broker, vhost, "events")
	r := newRig(t, brokerConfig(proxy.Addr(), vhost, "events"))
	var commits atomic.Int64
	r.wrap = func(w collectors.Writer) collectors.Writer { return failingWriter{w, &commits} }
	var want []string
	stop := r.run()
	for range 8 {
		want = append(want, q.put(500)...)
		switch rand.IntN(3) {
		case 0:
			proxy.Cut()
		case 1: // what a process that is killed leaves is what one leaves that is cut off and ended
			proxy.Refuse(true)
			proxy.Cut()
			stop()
			proxy.Refuse(false)
			stop = r.run()
		default:
			stop()
			stop = r.run()
		}
	}
	r.wantIDs(want)
	r.eventually("all to be settled", func() bool { return r.told().held == 0 && q.ready() == 0 })
	stop()
	if n := q.ready(); n != 0 {
		t.Errorf("%d messages are in the queue again", n)
	}
}

// Nothing is accepted before it is durable, and while nothing becomes durable the peer gets no more credit. What was not
// accepted at the end is released.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	broker := sharedBroker(t)
	vhost := broker.VHost(t)
	q := newQueue(t, broker, vhost, "events")
	cfg := brokerConfig(broker.Addr(), vhost, "events")
	cfg.Prefetch = 50
	cfg.Probe = time.Minute // over a question RabbitMQ 3.10 sends more than the credit, by what is on its way
	r := newRig(t, cfg)
	r.limits.Drain = time.Second
	opened := make(chan struct{})
	r.wrap = func(w collectors.Writer) collectors.Writer { return &heldWriter{w, opened} }
	want := q.put(500)
	stop := r.run()
	r.eventually("as many as may be held", func() bool { return r.told().held >= 50 })
	r.eventually("the rest to stay in the queue", func() bool { return q.ready()+r.told().held == 500 })
	if held := r.told().held; held >= 2*50 {
		t.Errorf("%d are held", held)
	}
	stop()
	r.eventually("all of them to be back", func() bool { return q.ready() == 500 })
	if n := len(r.log.IDs(cloud)); n != 0 {
		t.Fatalf("%d were stored", n)
	}
	stop = r.run()
	defer stop()
	r.eventually("as many as may be held", func() bool { return r.told().held >= 50 })
	close(opened)
	r.wantIDs(want)
	r.eventually("all to be settled", func() bool { return r.told().held == 0 && q.ready() == 0 })
}

// heldWriter stores nothing until it is opened.
type heldWriter struct {
	collectors.Writer
	opened <-chan struct{}
}

func (w *heldWriter) Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
	if len(events) > 0 {
		select {
		case <-w.opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return w.Writer.Commit(ctx, events, p)
}

// A provider that an operator has paused takes nothing, and goes on where it was.
func TestPaused(t *testing.T) {
	t.Parallel()
	broker := sharedBroker(t)
	vhost := broker.VHost(t)
	q := newQueue(t, broker, vhost, "events")
	r := newRig(t, brokerConfig(broker.Addr(), vhost, "events"))
	var paused atomic.Bool
	r.wrap = func(w collectors.Writer) collectors.Writer { return pausedWriter{w, &paused} }
	stop := r.run()
	defer stop()
	want := q.put(30)
	r.wantIDs(want)
	paused.Store(true)
	want = append(want, q.put(30)...)
	r.eventually("the pause", func() bool { return r.status().State == event.StatePaused })
	r.eventually("all of them to be back", func() bool { return q.ready() == 30 })
	paused.Store(false)
	r.wantIDs(want)
}

type pausedWriter struct {
	collectors.Writer
	paused *atomic.Bool
}

func (w pausedWriter) Open(ctx context.Context) (event.RawCursor, error) {
	if w.paused.Load() {
		return event.RawCursor{}, errPaused()
	}
	return w.Writer.Open(ctx)
}

func (w pausedWriter) Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
	if w.paused.Load() {
		return nil, errPaused()
	}
	return w.Writer.Commit(ctx, events, p)
}

func errPaused() error {
	return &event.Error{Kind: event.Paused, Op: "open", Err: errors.New("paused")}
}

// Of several addresses each keeps its order, and one that is not there does not hold up the others.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	broker := sharedBroker(t)
	vhost := broker.VHost(t)
	a, b := newQueue(t, broker, vhost, "a"), newQueue(t, broker, vhost, "b")
	r := newRig(t, brokerConfig(broker.Addr(), vhost, "a", "missing", "b"))
	stop := r.run()
	defer stop()
	want := map[string][]string{"a": a.put(300), "b": b.put(300)}
	r.eventually("600 events", func() bool { return len(r.log.IDs(cloud)) >= 600 })
	r.eventually("the one that is missing to be named", func() bool {
		s := r.status()
		return s.State == event.StateDegraded && strings.HasPrefix(s.Reason, "no link to /amq/queue/missing: ") && r.told().up == 2
	})
	missing := newQueue(t, broker, vhost, "missing")
	want["missing"] = missing.put(10)
	r.eventually("all links", func() bool { return r.told().up == 3 && r.status().State == event.StateLive })
	r.eventually("610 events", func() bool { return len(r.log.IDs(cloud)) >= 610 })
	got := map[string][]string{}
	for _, id := range r.ids() {
		queue, _, _ := strings.Cut(id, "-")
		got[queue] = append(got[queue], id)
	}
	for queue := range want {
		if !slices.Equal(got[queue], want[queue]) {
			t.Errorf("%s: got %v", queue, got[queue])
		}
	}
	if _, err := a.ch.QueueDelete("a", false, false, false); err != nil {
		t.Fatal(err)
	}
	r.eventually("the one that was deleted to be named", func() bool {
		return strings.HasPrefix(r.status().Reason, "no link to /amq/queue/a: ")
	})
	want["b"] = append(want["b"], b.put(5)...)
	r.eventually("615 events", func() bool { return len(r.log.IDs(cloud)) >= 615 })
}

// A broker says that it has sent all there was: the watermark follows, and a connection that is half open is noticed.
func TestWatermarkAndSilence(t *testing.T) {
	t.Parallel()
	broker := sharedBroker(t)
	vhost := broker.VHost(t)
	proxy := rabbitmqtest.NewProxy(t, broker.Addr())
	q := newQueue(t, broker, vhost, "events")
	cfg := brokerConfig(proxy.Addr(), vhost, "events")
	cfg.Heartbeat, cfg.ConnectTimeout = 2*time.Second, 2*time.Second
	r := newRig(t, cfg)
	r.limits.Heartbeat = 10 * time.Millisecond
	stop := r.run()
	defer stop()
	want := q.put(20)
	r.wantIDs(want)
	began := time.Now()
	r.eventually("a watermark", func() bool { return r.log.Cursor(cloud, Kind).Watermark.After(began.Add(-settle)) })
	probes := r.told().probes
	r.eventually("more answers", func() bool { return r.told().probes > probes+1 })
	want = append(want, q.put(20)...)
	r.wantIDs(want)
	lost := r.told().lost
	proxy.Freeze()
	r.eventually("the silence to be noticed", func() bool { return r.told().lost > lost })
	proxy.Thaw()
	want = append(want, q.put(20)...)
	r.wantIDs(want)
}

// Events of Ceilometer's agent, as it publishes them on its exchange, are events of their own.
func TestEventsOfCeilometer(t *testing.T) {
	t.Parallel()
	broker := sharedBroker(t)
	vhost := broker.VHost(t)
	q := newQueue(t, broker, vhost, "event.sample")
	cfg := brokerConfig(broker.Addr(), vhost, "event.sample")
	cfg.EventTypes.Exclude = []string{"*.exists"}
	r := newRig(t, cfg)
	stop := r.run()
	defer stop()
	one := func(id, eventType string) string {
		return fmt.Sprintf(`{\"message_id\": \"%s\", \"event_type\": \"%s\", \"generated\": \"2026-11-22T06:26:46\", \"traits\": [[\"a\", 2, 1]]}`,
			id, eventType)
	}
	body := `{"oslo.version": "2.0", "oslo.message": "{\"message_id\": \"envelope\", \"event_type\": \"event\", \"payload\": [` +
		one("e-1", "image.create") + `, ` + one("e-2", "image.exists") + `, ` + one("e-3", "image.delete") + `]}"}`
	for range 2 { // the second time there is nothing new in it
		err := q.ch.PublishWithContext(t.Context(), "", "event.sample", false, false, amqp091.Publishing{Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
	}
	last := q.put(1)
	r.wantIDs(append([]string{"e-1", "e-3"}, last...))
	e := r.log.Events(cloud)[1]
	if e.Format != notification.Ceilometer || e.Header["Evt-Part"] != "3/3" || e.Header["Evt-Envelope-Id"] != "envelope" ||
		e.Header["Evt-Address"] != "/amq/queue/event.sample" || !strings.Contains(string(e.Body), `\"e-3\"`) ||
		strings.Contains(string(e.Body), `\"e-1\"`) {
		t.Errorf("%+v with the body %s", e, e.Body)
	}
}
