package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"stackstream/event"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/subscribe"
)

const limit = 60 * time.Second

// stand is a server with the streams, and a writer of NORMALIZED.
type stand struct {
	t      *testing.T
	server *jetstreamtest.Single // nil with a cluster
	url    string
	nc     *nats.Conn
	js     natsjs.JetStream
	last   map[event.Provider]event.Seq
}

func newStand(t *testing.T) *stand {
	t.Helper()
	server := jetstreamtest.Server(t)
	s := standAt(t, server.URL())
	s.server = server
	return s
}

func standAt(t *testing.T, url string) *stand {
	t.Helper()
	s := &stand{t: t, url: url, last: map[event.Provider]event.Seq{}}
	s.nc = dial(t, url)
	var err error
	if s.js, err = natsjs.New(s.nc, natsjs.WithDefaultTimeout(3*time.Second)); err != nil {
		t.Fatal(err)
	}
	return s
}

// dial connects like a program of its own would.
func dial(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}, opts...)
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// message is one event as the normalizer writes it. The number is given by publish.
func message(p event.Provider, eventType string, n int) *nats.Msg {
	e := event.Event{
		MessageID: fmt.Sprintf("%s-%d", p, n), EventType: eventType, Provider: p, Source: "panko",
		Timestamp: event.NewTimestamp(time.Unix(1_700_000_000+int64(n), 0)), Payload: []byte(`{"n":` + strconv.Itoa(n) + `}`),
	}
	body, err := e.Encode()
	if err != nil {
		panic(err)
	}
	return &nats.Msg{Subject: "ingest.normalized." + string(p), Data: body, Header: nats.Header{
		"ce-type": {event.EncodeHeader(eventType)}, event.HeaderRawSource: {"panko"},
	}}
}

func (s *stand) publish(p event.Provider, m *nats.Msg) event.StreamSeq {
	s.t.Helper()
	s.last[p]++
	m.Header.Set(event.HeaderSeq, strconv.FormatUint(uint64(s.last[p]), 10))
	// What was stored although its acknowledgement was lost is refused when it is sent again.
	m.Header.Set(natsjs.MsgIDHeader, nuid.Next())
	var seq event.StreamSeq
	eventually(s.t, "for a publish to be stored", func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Second)
		defer cancel()
		ack, err := s.js.PublishMsg(ctx, m)
		if err != nil {
			return false
		}
		seq = event.StreamSeq(ack.Sequence)
		return true
	})
	return seq
}

// events publishes n more events of a provider and returns their ids.
func (s *stand) events(p event.Provider, n int) []string {
	s.t.Helper()
	var ids []string
	for range n {
		number := int(s.last[p]) + 1
		s.publish(p, message(p, "compute.instance.create.end", number))
		ids = append(ids, fmt.Sprintf("%s-%d", p, number))
	}
	return ids
}

func (s *stand) stream() natsjs.Stream {
	s.t.Helper()
	stream, err := s.js.Stream(within(s.t), event.StreamNormalized)
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

// log is what a program handled.
type log struct {
	mu     sync.Mutex
	events []subscribe.Event
	more   chan struct{}
}

func newLog() *log { return &log{more: make(chan struct{}, 1)} }

func (l *log) handle(_ context.Context, e subscribe.Event) error {
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return nil
}

func (l *log) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, e := range l.events {
		ids = append(ids, e.MessageID)
	}
	return ids
}

func (l *log) all() []subscribe.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]subscribe.Event(nil), l.events...)
}

// wait returns when n events are handled.
func (l *log) wait(t *testing.T, n int) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		if len(l.ids()) >= n {
			return
		}
		select {
		case <-l.more:
		case <-deadline.C:
			t.Fatalf("handled %d events, want %d", len(l.ids()), n)
		}
	}
}

// program is a running Subscriber.
type program struct {
	t    *testing.T
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func start(t *testing.T, nc *nats.Conn, opts subscribe.Options, handle subscribe.Handler) *program {
	t.Helper()
	s, err := subscribe.New(nc, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t: t, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = s.Run(ctx, handle)
	}()
	t.Cleanup(func() { cancel(); <-p.done })
	return p
}

// ended waits for the end of Run and returns its error.
func (p *program) ended() error {
	p.t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		p.t.Fatal("Run does not end")
		return nil
	}
}

// stopped ends the program in good order.
func (p *program) stopped() {
	p.t.Helper()
	p.stop()
	if err := p.ended(); err != nil {
		p.t.Fatalf("Run returned %v after its context ended", err)
	}
}

// eventually polls until done.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s: %s", limit, what)
		}
	}
}

// acked waits until everything is acknowledged.
func (s *stand) acked(durable string) {
	s.t.Helper()
	eventually(s.t, "for everything to be acknowledged", func() bool {
		cons, err := s.js.Consumer(within(s.t), event.StreamNormalized, durable)
		return err == nil && cons.CachedInfo().NumPending == 0 && cons.CachedInfo().NumAckPending == 0
	})
}

func mustBe(t *testing.T, err error, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}
