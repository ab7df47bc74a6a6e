package checker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"stackstream/chaos/checker"
	"stackstream/event"
	streams "stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/normalizer"
	"stackstream/normalizer/oslo"
	"stackstream/normalizer/rules"
	"stackstream/publisher"
	"stackstream/subscribe"
)

// feed is a Feed as the normalizer wants it.
type feed struct{ *streams.Feed }

func (f feed) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (normalizer.Reader, error) {
	return f.Feed.Open(ctx, p, from)
}

// What the real pipeline writes is what the checker has been taught: without faults it finds none.
func TestThePipelineItself(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	nc := dial(t, server.URL()).Conn()
	c := checker.New(checker.Options{Marker: marker})
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()

	plain := c.Subscribe(checker.Subscriber{Name: "plain", Promise: checker.Plain})
	if _, err := nc.Subscribe("events.normalized.*", func(m *nats.Msg) {
		plain.Saw(checker.Message{Subject: m.Subject, Header: m.Header, Body: m.Data})
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(limit); err != nil { // what is published before is not seen
		t.Fatal(err)
	}
	durable := c.Subscribe(checker.Subscriber{Name: "durable", Dead: true})
	sub, err := subscribe.New(nc, subscribe.Options{Durable: "durable", OnDead: func(_ context.Context, d subscribe.Dead) error {
		durable.Saw(checker.Message{Subject: event.DeadSubject(d.Provider), Header: d.Header, Body: d.Body, Sequence: uint64(d.Sequence)})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	group.Go(func() {
		if err := sub.Run(ctx, func(_ context.Context, e subscribe.Event) error {
			durable.Saw(checker.Message{Subject: event.NormalizedSubject(e.Provider), Header: e.Header, Body: e.Body, Sequence: uint64(e.Sequence)})
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	readers := map[string]func(checker.Message){raw: c.Raw, normalized: c.Normalized, dead: c.Dead}
	all := map[string]*checker.Reader{}
	for name := range readers {
		all[name] = &checker.Reader{JS: dial(t, server.URL()), Stream: name}
	}

	shared, err := rules.New(rules.Config{})
	if err != nil {
		t.Fatal(err)
	}
	limits := publisher.Options{Limits: publisher.Limits{Events: 7, MaxBody: 4 << 10}}
	service, err := normalizer.New(normalizer.Config{
		Converters: map[string]normalizer.Converter{oslo.Format: oslo.New(shared)},
		Committer: func(p event.Provider) normalizer.Committer {
			return publisher.NewNormalized(client.Normalized(), client.Bodies(), p, limits)
		},
		Feed: feed{client.Feed()}, Bodies: client.Bodies(), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	group.Go(func() { _ = service.Run(ctx, "cloud0", "cloud1") })
	handOver(t, c, client.Raw(), client.Bodies(), limits)

	defer func() {
		if t.Failed() {
			t.Logf("not seen: %d by durable, %d by plain\n%v", durable.Missing(), plain.Missing(), c.Verdict())
		}
	}()
	jetstreamtest.Eventually(t, "for everything to have been seen", func() bool {
		for name, take := range readers {
			if err := toEnd(t, all[name], take); err != nil {
				t.Fatal(err)
			}
		}
		p := c.Progress()
		return p.Handed == p.Collected && p.Raw == p.Dealt && p.Dead == p.DeadStream && durable.Missing() == 0 && plain.Missing() == 0
	})
	objects, err := all[raw].JS.ObjectStore(t.Context(), event.BucketBodies)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Objects() {
		body, err := objects.GetBytes(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		c.Object(name, body)
	}
	v := c.Verdict()
	if !v.OK() || v.Handed != 240 || v.Normalized == 0 || v.Dead == 0 {
		t.Fatal(v)
	}
}

// handOver has two sources of each of two clouds store events, and tells the checker.
func handOver(t *testing.T, c *checker.Checker, log publisher.Log, bodies publisher.Bodies, opts publisher.Options) {
	t.Helper()
	for _, p := range []event.Provider{"cloud0", "cloud1"} {
		for _, s := range []event.Source{"amqp-nova", "amqp-glance"} {
			w := publisher.NewRaw(log, bodies, p, s, event.Fence{}, opts)
			if _, err := w.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			for window := range 3 {
				var events []event.Raw
				for i := range 20 {
					id := fmt.Sprintf("%s %s %d", s, p, window*20+i)
					body := fmt.Appendf(nil, `{"message_id": %q, "event_type": "x.y", "timestamp": "2026-11-22 06:06:06.755824", "payload": {"t": "%s%d%s", "pad": "%s"}}`,
						id, marker, window*20+i, s, strings.Repeat("x", i%5*2000))
					fate := checker.Normal
					if i%7 == 0 {
						body, fate = body[:len(body)-1], checker.DeadLetter
					}
					now := time.Now()
					c.Handed(checker.Handed{Provider: string(p), ID: id, Body: body, Lane: id[:len(s)+len(p)+1], Window: window, Fate: fate, Confirmed: now})
					events = append(events, event.Raw{ID: event.ID(id), Received: now, Format: oslo.Format, Body: body})
				}
				if _, err := w.Commit(t.Context(), events, event.Progress{Watermark: time.Now()}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
