package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
	"stackstream/jetstream/jetstreamtest"
)

func open(t *testing.T, c *jetstream.Client, from event.NormalizedCursor) *jetstream.Reader {
	t.Helper()
	r, err := c.Feed().Open(testContext(t), prov, from)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(r.Close)
	return r
}

// read reads n events and checks that they are those of one source, numbered from first.
func read(t *testing.T, r *jetstream.Reader, source event.Source, first, n int) event.StreamSeq {
	t.Helper()
	var last event.StreamSeq
	for want := first; want < first+n; {
		batch, err := r.Next(testContext(t), 100, 1<<20)
		if err != nil {
			t.Fatalf("waiting for event %d: %v", want, err)
		}
		for _, m := range batch {
			if got := m.Header.Get(event.HeaderID); got != fmt.Sprintf("%s-%d", source, want) {
				t.Fatalf("got %s, want %s-%d", got, source, want)
			}
			last = m.Sequence
			want++
		}
	}
	return last
}

// normalized is the cursor of a normalizer that has dealt with everything up to seq and position.
func normalized(r *jetstream.Reader, seq event.StreamSeq, source event.Source, position event.Seq) event.NormalizedCursor {
	return event.NormalizedCursor{
		RawSeq: seq, RawCreated: r.Stream().Created, Sequence: 1,
		Sources: map[event.Source]event.SourcePosition{source: {Position: position}},
	}
}

func TestFeedReadsInOrderAndGoesOnBehindTheCursor(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	r := open(t, client, event.NormalizedCursor{}) // the stream is empty
	cursor := mustAppend(t, client.Raw(), rawBatch("panko", 1, 500, 0))
	cursor = mustAppend(t, client.Raw(), rawBatch("panko", 501, 500, cursor))
	read(t, r, "panko", 1, 1000)
	r.Close()

	r = open(t, client, normalized(r, 300, "panko", 300))
	read(t, r, "panko", 301, 700)
	mustAppend(t, client.Raw(), rawBatch("panko", 1001, 5, cursor))
	read(t, r, "panko", 1001, 5)
}

// What a reader holds, and has asked for, while nobody takes it is bounded: in events, and in bytes.
func TestFeedIsNotFarAhead(t *testing.T) {
	for name, test := range map[string]struct{ events, body, least, below int }{
		"small ones": {events: 2000, body: 10, least: 500, below: 1000},
		"large ones": {events: 300, body: 100_000, least: 20, below: 120}, // 2 MiB and the largest message
	} {
		t.Run(name, func(t *testing.T) {
			client := jetstreamtest.Server(t).Client(t)
			var cursor event.StreamSeq
			for first := 1; first <= test.events; first += 100 {
				b := rawBatch("panko", first, 100, cursor)
				for i := range b.Messages {
					b.Messages[i].Body = make([]byte, test.body)
				}
				cursor = mustAppend(t, client.Raw(), b)
			}
			r := open(t, client, event.NormalizedCursor{})
			js, err := natsjs.New(client.Conn())
			if err != nil {
				t.Fatal(err)
			}
			consumer, err := js.Consumer(testContext(t), event.StreamRaw, jetstream.ConsumerName(prov))
			if err != nil {
				t.Fatal(err)
			}
			for {
				info, err := consumer.Info(testContext(t))
				if err != nil {
					t.Fatal(err)
				}
				delivered := int(info.Delivered.Consumer)
				if delivered >= test.below {
					t.Fatalf("%d of %d events are delivered that nobody asked for", delivered, test.events)
				}
				if delivered >= test.least && info.NumWaiting == 0 {
					break
				}
			}
			read(t, r, "panko", 1, test.events)
		})
	}
}

// What was stored when the server took larger messages than it does now is read.
func TestFeedReadsWhatTheServerNoLongerTakes(t *testing.T) {
	dir := t.TempDir()
	on := func(maxPayload int64, do func(*jetstream.Client)) {
		t.Helper()
		server, err := embedded.Open(jetstream.EmbeddedConfig{Dir: dir, MaxFile: 8 << 30, MaxPayload: maxPayload}, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client, err := jetstream.Connect(testContext(t), jetstream.Config{Embedded: server, Name: t.Name()}, zerolog.Nop(), jetstream.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close(testContext(t))
		do(client)
	}
	on(jetstream.MaxPayload, func(client *jetstream.Client) {
		if _, err := client.Provision(testContext(t), jetstream.DefaultLayout(1).Within(1<<30), jetstream.CreateMissing); err != nil {
			t.Fatal(err)
		}
		b := rawBatch("panko", 1, 3, 0)
		b.Messages[1].Body = make([]byte, 8<<20)
		mustAppend(t, client.Raw(), b)
	})
	on(1<<20, func(client *jetstream.Client) {
		r := open(t, client, event.NormalizedCursor{})
		defer r.Close()
		read(t, r, "panko", 1, 3)
	})
}

func TestFeedKeepsToTheLimits(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	b := rawBatch("panko", 1, 10, 0)
	for i := range b.Messages {
		b.Messages[i].Body = make([]byte, 1000)
	}
	b.Messages[9].Body = make([]byte, 50_000)
	mustAppend(t, client.Raw(), b)
	r := open(t, client, event.NormalizedCursor{})
	var sizes []int
	for total := 0; total < 10; {
		batch, err := r.Next(testContext(t), 4, 3500)
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, m := range batch {
			bytes += len(m.Body)
		}
		if len(batch) > 1 && (len(batch) > 4 || bytes > 3500) {
			t.Fatalf("%d events with %d bytes at once, the limits are 4 and 3500", len(batch), bytes)
		}
		total += len(batch)
		sizes = append(sizes, bytes)
	}
	if last := sizes[len(sizes)-1]; last != 50_000 {
		t.Errorf("the large event came together with others: %v", sizes)
	}
}

func TestFeedWaitsAndEndsWithTheContext(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	r := open(t, client, event.NormalizedCursor{})
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if batch, err := r.Next(ctx, 10, 1000); !errors.Is(err, context.Canceled) || batch != nil {
		t.Fatalf("got %v, %v", batch, err)
	}
	mustAppend(t, client.Raw(), rawBatch("panko", 1, 1, 0))
	read(t, r, "panko", 1, 1) // a wait that was given up loses nothing
}

func TestFeedReadsLargeEventsInBoundedMemory(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	var cursor event.StreamSeq
	for i := range 7 {
		b := rawBatch("panko", i+1, 1, cursor)
		b.Messages[0].Body = make([]byte, 4<<20)
		cursor = mustAppend(t, client.Raw(), b)
	}
	read(t, open(t, client, event.NormalizedCursor{}), "panko", 1, 7)
}

func TestFeedAcknowledges(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	mustAppend(t, client.Raw(), rawBatch("panko", 1, 10, 0))
	r := open(t, client, event.NormalizedCursor{})
	read(t, r, "panko", 1, 10)
	for _, seq := range []event.StreamSeq{0, 4, 4, 2, 7} {
		if err := r.Ack(testContext(t), seq); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := jetStream(t, client).Consumer(testContext(t), event.StreamRaw, jetstream.ConsumerName(prov))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "for the acknowledgement", func() bool {
		info, err := consumer.Info(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		return info.AckFloor.Stream == 7 && info.NumAckPending == 3
	})
}

func TestFeedReplacesAConsumerOfOtherSettings(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	mustAppend(t, client.Raw(), rawBatch("panko", 1, 3, 0))
	_, err := jetStream(t, client).CreateConsumer(testContext(t), event.StreamRaw, natsjs.ConsumerConfig{
		Durable: jetstream.ConsumerName(prov), AckPolicy: natsjs.AckExplicitPolicy, DeliverPolicy: natsjs.DeliverNewPolicy,
		MemoryStorage: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	read(t, open(t, client, event.NormalizedCursor{}), "panko", 1, 3)
}

func TestFeedRefusesAStreamThatHoldsLess(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	mustAppend(t, client.Raw(), rawBatch("panko", 1, 10, 0))
	r := open(t, client, event.NormalizedCursor{})
	for name, test := range map[string]struct {
		from event.NormalizedCursor
		text string
	}{
		"it ends before the cursor": {normalized(r, 12, "panko", 10), "EVENTS_RAW ends at 11, the cursor is at 12"},
		"a source has less":         {normalized(r, 10, "panko", 11), "source panko is collected up to event 10, 11 was normalized"},
		"a source is unknown":       {normalized(r, 10, "amqp", 1), "source amqp is collected up to event 0, 1 was normalized"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.Feed().Open(ctx, prov, test.from)
			wantKind(t, err, event.Regressed, test.text)
		})
	}
	cursor := normalized(r, 5, "panko", 5)
	if err := jetStream(t, client).DeleteStream(ctx, event.StreamRaw); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Provision(ctx, smallLayout(1), jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, client.Raw(), rawBatch("panko", 1, 20, 0))
	_, err := client.Feed().Open(ctx, prov, cursor)
	wantKind(t, err, event.Regressed, "EVENTS_RAW was created at")
}

func TestFeedRefusesAStreamThatDroppedWhatWasNotNormalized(t *testing.T) {
	purge := func(t *testing.T, c *jetstream.Client, opts ...natsjs.StreamPurgeOpt) {
		t.Helper()
		s, err := jetStream(t, c).Stream(testContext(t), event.StreamRaw)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Purge(testContext(t), opts...); err != nil {
			t.Fatal(err)
		}
	}
	subject := natsjs.WithPurgeSubject(event.RawSubject(prov, "panko"))
	for name, test := range map[string]struct {
		opts []natsjs.StreamPurgeOpt
		text string // "" if nothing that matters is gone
	}{
		"only what was normalized": {[]natsjs.StreamPurgeOpt{subject, natsjs.WithPurgeSequence(6)}, ""},
		"some":                     {[]natsjs.StreamPurgeOpt{subject, natsjs.WithPurgeSequence(8)}, "events 6 to 7 of source panko"},
		"all":                      {[]natsjs.StreamPurgeOpt{subject}, "events 6 to 10 of source panko"},
	} {
		t.Run(name, func(t *testing.T) {
			client := jetstreamtest.Server(t).Client(t)
			mustAppend(t, client.Raw(), rawBatch("panko", 1, 10, 0))
			r := open(t, client, event.NormalizedCursor{})
			r.Close()
			purge(t, client, test.opts...)
			second, err := client.Feed().Open(testContext(t), prov, normalized(r, 5, "panko", 5))
			if test.text == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer second.Close()
				read(t, second, "panko", 6, 5)
				return
			}
			wantKind(t, err, event.Expired, test.text)
		})
	}
}

func TestFeedOfManyProvidersAtOnce(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	failed := make(chan error, 20)
	for i := range cap(failed) {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			p := event.Provider(fmt.Sprintf("p%d", i))
			_, err := client.Raw().Append(ctx, event.Batch{
				Messages: []event.Message{{Subject: event.RawSubject(p, "s"), Header: event.Header{event.HeaderSeq: {"1"}}}},
				Cursor:   event.Message{Subject: event.RawCursorSubject(p, "s"), Body: []byte(`{"position":1}`)},
			})
			if err != nil {
				failed <- err
				return
			}
			r, err := client.Feed().Open(ctx, p, event.NormalizedCursor{})
			if err != nil {
				failed <- err
				return
			}
			defer r.Close()
			got, err := r.Next(ctx, 10, 1000)
			if err == nil && (len(got) != 1 || got[0].Subject != event.RawSubject(p, "s")) {
				err = fmt.Errorf("%s got %+v", p, got)
			}
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
