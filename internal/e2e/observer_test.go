package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// observer looks at the streams from outside while everything runs.
type observer struct {
	js natsjs.JetStream

	mu     sync.Mutex
	raw    int // events in EVENTS_RAW
	claims map[event.Source][]claim
}

// observe looks at the cursors of the sources, and counts, until the test ends.
func observe(t *testing.T, nc *nats.Conn, sources ...event.Source) *observer {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{js: js, claims: map[event.Source][]claim{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			o.look(ctx, sources)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return o
}

func (o *observer) look(ctx context.Context, sources []event.Source) {
	raw := 0
	for _, source := range sources {
		c, ok := o.cursor(ctx, source)
		if !ok {
			return // no server answers now
		}
		raw += int(c.Position)
		o.mu.Lock()
		if all := o.claims[source]; len(all) == 0 || !all[len(all)-1].watermark.Equal(c.Watermark) {
			o.claims[source] = append(all, claim{c.Watermark, int(c.Position)})
		}
		o.mu.Unlock()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.raw = max(o.raw, raw)
}

// cursor reads a source's cursor; the zero one if it has none yet, and not ok if nobody answers.
func (o *observer) cursor(ctx context.Context, source event.Source) (c event.RawCursor, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stream, err := o.js.Stream(ctx, event.StreamRaw)
	if err != nil {
		return c, false
	}
	m, err := stream.GetLastMsgForSubject(ctx, event.RawCursorSubject("prod", source))
	if err != nil {
		return c, strings.Contains(err.Error(), "not found")
	}
	return c, json.Unmarshal(m.Data, &c) == nil
}

// collected is how many events all sources have collected.
func (o *observer) collected() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.raw
}

// told are the watermarks that the cursors of a source had.
func (o *observer) told(source event.Source) []claim {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]claim(nil), o.claims[source]...)
}

// amqpState is what is of interest of the cursor of a source.
type amqpState struct {
	Claims map[string]struct {
		Bound bool
		Lost  time.Time
	}
	Gaps []struct {
		What     string
		From, To time.Time
	}
	GapsTotal int            `json:"gaps_total"`
	Dropped   map[string]int `json:"dropped"`
}

func (o *observer) state(ctx context.Context, source event.Source) (s amqpState) {
	if c, ok := o.cursor(ctx, source); ok && len(c.Cursor) > 0 {
		_ = json.Unmarshal(c.Cursor, &s)
	}
	return s
}

// awaitBound waits until a source is bound to all these exchanges.
func (o *observer) awaitBound(t *testing.T, source event.Source, exchanges ...string) {
	t.Helper()
	eventually(t, time.Minute, fmt.Sprintf("%s bound to %v", source, exchanges), func() bool {
		s := o.state(t.Context(), source)
		for _, x := range exchanges {
			if c := s.Claims[x]; !c.Bound || !c.Lost.IsZero() {
				return false
			}
		}
		return true
	})
}

// awaitNormalized waits until n events are dealt with: they are normalized, or dead letters.
func (o *observer) awaitNormalized(t *testing.T, limit time.Duration, n int, programs ...*process) {
	t.Helper()
	ctx := t.Context()
	events := func() int {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		stream, err := o.js.Stream(ctx, event.StreamNormalized)
		if err != nil {
			return 0
		}
		m, err := stream.GetLastMsgForSubject(ctx, event.NormalizedCursorSubject("prod"))
		if err != nil {
			return 0
		}
		var c event.NormalizedCursor
		_ = json.Unmarshal(m.Data, &c)
		return int(c.Position)
	}
	eventually(t, limit, fmt.Sprintf("%d events to be dealt with", n), func() bool { return events() >= n }, func() string {
		text := fmt.Sprintf("collected %d, dealt with %d\n", o.collected(), events())
		for _, p := range programs {
			text += p.name + ": " + p.ask("/readyz")
		}
		return text
	})
}

// holder says which process holds the lease of a source, "" if none does.
func (o *observer) holder(ctx context.Context, source event.Source) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	owners, err := o.js.KeyValue(ctx, "OWNERS")
	if err != nil {
		return ""
	}
	entry, err := owners.Get(ctx, "collector.collector.prod."+string(source))
	if err != nil {
		return ""
	}
	var owner struct{ Name string }
	_ = json.Unmarshal(entry.Value(), &owner)
	return owner.Name
}

// holds tells whether a process holds the lease of a source.
func (o *observer) holds(ctx context.Context, source event.Source, p *process) bool {
	return strings.HasSuffix(o.holder(ctx, source), fmt.Sprintf("/%d", p.cmd.Process.Pid))
}
