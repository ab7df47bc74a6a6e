package webhook

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
)

// sender posts events in order, a few at a time, each as often as it takes.
type sender struct {
	url string

	mu    sync.Mutex
	n     int
	queue []event.ID
	fails int
}

func (s *sender) put(n int) []event.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []event.ID
	for range n {
		s.n++
		ids = append(ids, event.ID(fmt.Sprint("m-", s.n)))
	}
	s.queue = append(s.queue, ids...)
	return ids
}

func (s *sender) next() []event.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue[:min(3, len(s.queue))]
}

func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		ids := s.next()
		ok := false
		if len(ids) > 0 {
			answer, err := postTo(ctx, http.DefaultClient, s.url, ceilometerBody(ids...))
			ok = err == nil && answer.status == http.StatusOK
		}
		s.mu.Lock()
		if ok && s.fails > 0 { // the answer is lost
			s.fails, ok = s.fails-1, false
		}
		if ok {
			s.queue = s.queue[len(ids):]
		}
		s.mu.Unlock()
		if ok {
			continue
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// house is a front that can be shut.
type house struct {
	front *front
	at    string

	end    func()
	ended  chan struct{}
	others net.Listener // have taken the address
}

func (h *house) open() {
	ctx, cancel := context.WithCancel(context.Background())
	h.end, h.ended = cancel, make(chan struct{})
	go func() { defer close(h.ended); h.front.serve(ctx) }()
}

func (h *house) close() { h.end(); <-h.ended }

// shut has somebody else take the address.
func (h *house) shut(t *testing.T, down bool) {
	if !down {
		_ = h.others.Close()
		return
	}
	h.close()
	var err error
	if h.others, err = net.Listen("tcp", h.at); err != nil {
		t.Error(err)
		return
	}
	go func(l net.Listener) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}(h.others)
	h.open()
}

func TestConformance(t *testing.T) {
	t.Parallel()
	collectorstest.TestSource(t, func(t *testing.T) collectorstest.Harness {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := free.Addr().String()
		_ = free.Close()
		cfg := config(formatCeilometer, func(c *Config) { c.Listen, c.Limits.AnswerTime = at, 300*time.Millisecond })
		h := &house{front: newFront(cfg, options(nil)), at: at}
		h.open()
		s := &sender{url: "http://" + at + cfg.Path}
		ctx, cancel := context.WithCancel(context.Background())
		var sending sync.WaitGroup
		sending.Go(func() { s.run(ctx) })
		t.Cleanup(func() { cancel(); sending.Wait(); h.close() })
		return collectorstest.Harness{
			Source: func() (collectors.Source, error) {
				return &Source{cfg: cfg, front: h.front, beat: 20 * time.Millisecond}, nil
			},
			Spec: cfg.Spec(), Forgets: true,
			Put: s.put,
			Fail: func(n int) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.fails = n
			},
			Down: func(down bool) { h.shut(t, down) },
		}
	})
}
