package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// entry is one event as a stream or a subscriber shows it.
type entry struct {
	id       string
	seq      uint64 // Evt-Seq
	stream   uint64 // stream sequence
	previous uint64 // Nats-Last-Sequence, where the message says it
	body     []byte
	// watermark is that of the source behind a raw event, where the message says it.
	watermark time.Time
	subject   string
	header    nats.Header
}

// dump reads everything a stream holds on the given subjects, in order.
func dump(t *testing.T, nc *nats.Conn, stream string, subjects ...string) []entry {
	t.Helper()
	var all []entry
	each(t, nc, stream, subjects, func(e entry) { all = append(all, e) })
	return all
}

// each reads everything a stream holds on the given subjects, in order, without keeping it.
func each(t *testing.T, nc *nats.Conn, stream string, subjects []string, f func(e entry)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.OrderedConsumer(ctx, stream, natsjs.OrderedConsumerConfig{FilterSubjects: subjects})
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.NumPending == 0 {
		return
	}
	messages, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(natsjs.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		e := newEntry(m.Headers(), m.Data(), meta.Sequence.Stream)
		e.subject = m.Subject()
		f(e)
		if meta.NumPending == 0 {
			return
		}
	}
}

func newEntry(h nats.Header, body []byte, stream uint64) entry {
	e := entry{id: first(h, event.HeaderID), stream: stream, body: body, header: h}
	if e.id == "" {
		e.id = first(h, "ce-id")
	}
	e.seq, _ = strconv.ParseUint(first(h, event.HeaderSeq), 10, 64)
	e.previous, _ = strconv.ParseUint(first(h, "Nats-Last-Sequence"), 10, 64)
	e.watermark, _ = time.Parse(time.RFC3339Nano, first(h, event.HeaderWatermark))
	return e
}

func first(h nats.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// subscriber is a plain NATS subscriber on events.normalized.*: it sees what core NATS shows it and keeps it.
type subscriber struct {
	mu  sync.Mutex
	all []entry
}

func plainSubscriber(t *testing.T, nc *nats.Conn) *subscriber {
	t.Helper()
	s := &subscriber{}
	sub, err := nc.Subscribe("events.normalized.*", func(m *nats.Msg) {
		stream, _ := strconv.ParseUint(first(m.Header, "Nats-Sequence"), 10, 64)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, newEntry(m.Header, m.Data, stream))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *subscriber) seen() []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]entry(nil), s.all...)
}

// checkOnce finds fault unless got has every id of want, none twice and none that is not in want. Order is not its
// business.
func checkOnce(want map[string]bool, got []entry) error {
	count := make(map[string]int, len(got))
	for _, e := range got {
		count[e.id]++
	}
	var problems []error
	for id, n := range count {
		if n > 1 {
			problems = append(problems, fmt.Errorf("%s comes %d times", id, n))
		}
		if !want[id] {
			problems = append(problems, fmt.Errorf("%s was never handed out", id))
		}
	}
	for id := range want {
		if count[id] == 0 {
			problems = append(problems, fmt.Errorf("%s is lost", id))
		}
	}
	return summary(problems)
}

// checkContiguous finds fault unless Evt-Seq counts 1, 2, 3, ….
func checkContiguous(got []entry) error {
	var problems []error
	for i, e := range got {
		if e.seq != uint64(i+1) {
			problems = append(problems, fmt.Errorf("entry %d (%s) has Evt-Seq %d", i+1, e.id, e.seq))
		}
	}
	return summary(problems)
}

// checkCommitted finds fault unless each of got is among those that were committed, whatever their order.
func checkCommitted(committed, got []entry) error {
	known := make(map[string]bool, len(committed))
	for _, e := range committed {
		known[e.id] = true
	}
	var problems []error
	for _, e := range got {
		if !known[e.id] {
			problems = append(problems, fmt.Errorf("%s was never committed", e.id))
		}
	}
	return summary(problems)
}

// checkSameOrder finds fault unless got has the ids of want in the order of want; a subscriber may have missed some.
func checkSameOrder(want, got []entry) error {
	place := make(map[string]int, len(want))
	for i, e := range want {
		place[e.id] = i
	}
	var problems []error
	last := -1
	for _, e := range got {
		at, ok := place[e.id]
		switch {
		case !ok:
			problems = append(problems, fmt.Errorf("%s was never committed", e.id))
		case at <= last:
			problems = append(problems, fmt.Errorf("%s is out of order or comes twice", e.id))
		default:
			last = at
		}
	}
	return summary(problems)
}

// checkCanonical finds fault unless every body is a canonical event with the id of its header.
func checkCanonical(got []entry) error {
	var problems []error
	for _, e := range got {
		var ev event.Event
		switch err := json.Unmarshal(e.body, &ev); {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", e.id, err))
		case ev.MessageID != e.id || ev.EventType == "" || ev.Timestamp.IsZero() || len(ev.Payload) == 0:
			problems = append(problems, fmt.Errorf("%s: not a canonical event: %.200s", e.id, e.body))
		}
	}
	return summary(problems)
}

// summary is nil without problems; else it has their number and the first of them.
func summary(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	shown := problems
	if len(shown) > 10 {
		shown = shown[:10]
	}
	return fmt.Errorf("%d problems, among them:\n%w", len(problems), errors.Join(shown...))
}

// expect fails the test if there is an error, and goes on.
func expect(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
