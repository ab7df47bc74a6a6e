package subscribe_test

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/subscribe"
)

// proxy stands between a program and its server, as a network does.
type proxy struct {
	listener net.Listener
	server   string
	losing   atomic.Bool                   // what the server says is lost
	slowness atomic.Pointer[time.Duration] // pause before each 64 KiB of what the server says

	mu    sync.Mutex
	conns []net.Conn
	all   sync.WaitGroup
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: strings.TrimPrefix(server, "nats://")}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.all.Go(func() { p.pass(client, server, false) })
		p.all.Go(func() { p.pass(server, client, true) })
	}
}

func (p *proxy) pass(from, to net.Conn, fromServer bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if fromServer {
			if p.losing.Load() {
				continue
			}
			if slowness := p.slowness.Load(); slowness != nil {
				<-time.After(*slowness)
			}
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// cut breaks all connections there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// What was delivered into a connection that broke comes again as soon as there is a new one, not only when the server
// has waited for its acknowledgement in vain.
func TestWhatWasLostWithAConnectionComesAtOnce(t *testing.T) {
	s := newStand(t)
	want := s.events("p", 2)
	network := newProxy(t, s.server.URL())
	l := newLog()
	retries := make(chan error, 100)
	start(t, dial(t, network.url()), subscribe.Options{
		Durable: "d", OnRetry: func(err error, _ time.Duration) { retries <- err },
	}, l.handle)
	l.wait(t, 2)
	s.acked("d")

	network.losing.Store(true)
	want = append(want, s.events("p", 1)...)
	eventually(t, "for the event to be on its way", func() bool {
		cons, err := s.js.Consumer(within(t), event.StreamNormalized, "d")
		return err == nil && cons.CachedInfo().NumAckPending == 1
	})
	network.cut()
	network.losing.Store(false)
	l.wait(t, 3)
	if got := l.ids(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := <-retries; !strings.Contains(err.Error(), "the connection was made again") {
		t.Errorf("it was found out by other means: %v", err)
	}
}

// A large body takes its time where the network is slow.
func TestLargeBodyOverASlowNetwork(t *testing.T) {
	s := newStand(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 2<<20/16)
	m := message("p", "t", 1)
	e := []byte(strings.Replace(string(m.Data), `"payload":{"n":1}`, `"payload":{"text":"`+string(body)+`"}`, 1))
	ref := event.NewBodyRef(e)
	store, err := s.js.ObjectStore(within(t), event.BucketBodies)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(within(t), natsjs.ObjectMeta{Name: ref.Object}, bytes.NewReader(e)); err != nil {
		t.Fatal(err)
	}
	referring := event.Message{Header: event.Header(m.Header)}
	event.SetBodyRef(&referring, ref)
	s.publish("p", m)

	network := newProxy(t, s.server.URL())
	slowness := 200 * time.Millisecond
	network.slowness.Store(&slowness)
	l := newLog()
	start(t, dial(t, network.url()), subscribe.Options{
		Durable: "d", OnRetry: func(err error, _ time.Duration) { t.Errorf("it is given up: %v", err) },
	}, l.handle)
	l.wait(t, 1)
	if got := l.all()[0].Body; !bytes.Equal(got, e) {
		t.Errorf("the body has %d bytes, %d were stored", len(got), len(e))
	}
}

// A cluster loses requests to a durable that was just made.
func TestAResetThatIsLostIsSentAgain(t *testing.T) {
	s := newStand(t)
	want := s.events("p", 3)
	var resets atomic.Int64
	network := jetstreamtest.NewSieve(t, s.server.URL(), func(subject string) bool {
		return strings.HasPrefix(subject, "$JS.API.CONSUMER.RESET.") && resets.Add(1) == 1
	})
	l := newLog()
	start(t, dial(t, network.URL()), subscribe.Options{
		Durable: "d", OnRetry: func(err error, _ time.Duration) { t.Errorf("it begins again: %v", err) },
	}, l.handle)
	l.wait(t, 3)
	if got := l.ids(); !slices.Equal(got, want) || resets.Load() < 2 {
		t.Errorf("got %v after %d resets, want %v", got, resets.Load(), want)
	}
}
