package amqp1

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	broker := sharedBroker(t)
	collectorstest.TestSource(t, func(t *testing.T) collectorstest.Harness {
		vhost := broker.VHost(t)
		proxy := rabbitmqtest.NewProxy(t, broker.Addr())
		fails := newFailing(t, proxy.Addr())
		queue := newQueue(t, broker, vhost, "events")
		cfg := brokerConfig(fails.addr(), vhost, "events")
		cfg.Prefetch = 7
		return collectorstest.Harness{
			Source: func() (collectors.Source, error) {
				return New(cfg, Options{Provider: cloud, Version: "test", Host: "here", Log: zerolog.Nop()})
			},
			Spec: cfg.Spec(), Forgets: true,
			Put: func(n int) []event.ID {
				var ids []event.ID
				for _, id := range queue.put(n) {
					ids = append(ids, event.ID(id))
				}
				return ids
			},
			Fail: func(n int) { fails.next.Store(int64(n)) },
			Down: func(down bool) {
				proxy.Refuse(down)
				if down {
					proxy.Cut()
				}
			},
		}
	})
}

// failing passes on connections, but hangs up on the next few.
type failing struct {
	listener net.Listener
	next     atomic.Int64
}

func newFailing(t *testing.T, target string) *failing {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp4", target)
			if err != nil || f.next.Add(-1) >= 0 {
				c.Close()
				if err == nil {
					to.Close()
				}
				continue
			}
			go pump(c, to)
			go pump(to, c)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return f
}

func (f *failing) addr() string { return f.listener.Addr().String() }

// pump copies until one side ends, and ends both.
func pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}
