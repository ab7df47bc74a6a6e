package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/normalizer"
	"stackstream/publisher"
)

// clouds are the providers of a pipeline.
var clouds = []event.Provider{"alpha", "beta"}

// seventh converts all but every seventh event.
type seventh struct{}

func (seventh) Name() string { return "seventh/1" }

func (seventh) Convert(raw event.Raw) (normalizer.Converted, error) {
	if n, _ := strconv.Atoi(string(raw.ID)); n%7 == 0 {
		return normalizer.Converted{}, errors.New("every seventh is dead")
	}
	return normalizer.Converted{Events: []event.Event{{
		MessageID: string(raw.ID), EventType: "t", Timestamp: event.NewTimestamp(time.Unix(1, 0)), Payload: []byte(`{}`),
	}}}, nil
}

type feed struct{ *jetstream.Feed }

func (f feed) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (normalizer.Reader, error) {
	r, err := f.Feed.Open(ctx, p, from)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// pipeline collects numbered events and normalizes them until stop is called.
type pipeline struct {
	t         *testing.T
	client    *jetstream.Client
	collected map[event.Provider]*atomic.Int64
	stop      func()
}

func startPipeline(t *testing.T, c *jetstream.Client, collectors int) *pipeline {
	t.Helper()
	p := &pipeline{t: t, client: c, collected: map[event.Provider]*atomic.Int64{}}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	p.stop = sync.OnceFunc(func() { cancel(); work.Wait() })
	t.Cleanup(p.stop)
	for _, name := range clouds {
		p.collected[name] = &atomic.Int64{}
	}
	for _, name := range clouds {
		for range collectors {
			work.Go(func() { p.collect(ctx, name) })
		}
	}
	service, err := normalizer.New(normalizer.Config{
		Converters: map[string]normalizer.Converter{"numbers": seventh{}},
		Committer: func(name event.Provider) normalizer.Committer {
			return publisher.NewNormalized(c.Normalized(), c.Bodies(), name, publisher.Options{})
		},
		Feed: feed{c.Feed()}, Bodies: c.Bodies(), Log: zerolog.Nop(),
		Hooks: normalizer.Hooks{Status: func(s event.Status) {
			if s.State == event.StateStopped {
				t.Errorf("the normalizer of %s: %s", s.Provider, s.Reason)
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	work.Go(func() { _ = service.Run(ctx, clouds...) })
	return p
}

func (p *pipeline) collect(ctx context.Context, name event.Provider) {
	w := publisher.NewRaw(p.client.Raw(), p.client.Bodies(), name, "s", event.Fence{}, publisher.Options{})
	at, err := w.Open(ctx)
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for ; err == nil; <-pace.C {
		batch := make([]event.Raw, 1+int(at.Position)%19)
		for i := range batch {
			batch[i] = event.Raw{
				ID: event.ID(strconv.Itoa(int(at.Position) + i + 1)), Received: time.Now(), Format: "numbers", Body: []byte(`{}`),
			}
		}
		if _, err = w.Commit(ctx, batch, event.Progress{Cursor: []byte(`{}`)}); err == nil {
			at.Position += event.Seq(len(batch))
			p.collected[name].Store(int64(at.Position))
		}
	}
	if ctx.Err() == nil {
		p.t.Errorf("collect %s: %v", name, err)
	}
}

// more waits until so many more events of each provider are collected.
func (p *pipeline) more(n int64) {
	p.t.Helper()
	for _, name := range clouds {
		want := p.collected[name].Load() + n
		until(p.t, "for more events", func() bool { return p.collected[name].Load() >= want })
	}
}

// messages reads all of a stream.
func messages(t *testing.T, c *jetstream.Client, stream string) []event.Stored {
	t.Helper()
	ctx := testContext(t)
	s, err := jetStream(t, c).Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	cons, err := s.OrderedConsumer(ctx, natsjs.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	left := s.CachedInfo().State.Msgs
	it, err := cons.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	var all []event.Stored
	for ; left > 0; left-- {
		m, err := it.Next(natsjs.NextContext(ctx))
		if err != nil {
			t.Fatalf("%s: %d messages were not read: %v", stream, left, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, event.Stored{
			Message:  event.Message{Subject: m.Subject(), Header: event.Header(m.Headers()), Body: m.Data()},
			Sequence: event.StreamSeq(meta.Sequence.Stream), Time: meta.Timestamp,
		})
	}
	return all
}

// settled waits until all that is collected is normalized and copied, and checks that everything is there once and in
// order. It returns how many events of each provider there are.
func settled(t *testing.T, c *jetstream.Client) map[event.Provider]int {
	t.Helper()
	p := startPipeline(t, c, 0)
	defer p.stop()
	until(t, "for the normalizer", func() bool {
		marks, err := c.Watermarks(testContext(t), "")
		return err == nil && len(marks) > 0 && !slices.ContainsFunc(marks, func(m event.Watermark) bool { return m.LagEvents > 0 })
	})
	counts := map[event.Provider]int{}
	for _, m := range messages(t, c, event.StreamRaw) {
		if p, _, ok := event.SubjectProvider(m.Subject); ok && strings.HasPrefix(m.Subject, "events.raw.") {
			if counts[p]++; m.Header.Get(event.HeaderID) != strconv.Itoa(counts[p]) {
				t.Fatalf("%s at %d has the id %s, want %d", m.Subject, m.Sequence, m.Header.Get(event.HeaderID), counts[p])
			}
		}
	}
	numbers := map[event.Provider]int{}
	var letters, copied []string
	for _, m := range messages(t, c, event.StreamNormalized) {
		p, _, ok := event.SubjectProvider(m.Subject)
		if !ok || strings.HasPrefix(m.Subject, "events.cursor.") {
			continue
		}
		numbers[p]++
		if m.Header.Get(event.HeaderSeq) != strconv.Itoa(numbers[p]) || m.Header.Get(event.HeaderRawEvtSeq) != strconv.Itoa(numbers[p]) {
			t.Fatalf("%s at %d is number %s of raw event %s, want %d", m.Subject, m.Sequence, m.Header.Get(event.HeaderSeq),
				m.Header.Get(event.HeaderRawEvtSeq), numbers[p])
		}
		if m.Subject == event.DeadSubject(p) {
			letters = append(letters, fmt.Sprintf("%s %d", p, numbers[p]))
		}
	}
	for _, p := range clouds {
		if numbers[p] != counts[p] {
			t.Errorf("%d events of %s are normalized, %d collected", numbers[p], p, counts[p])
		}
	}
	until(t, "for the dead letters to be copied", func() bool {
		s, err := jetStream(t, c).Stream(testContext(t), event.StreamDead)
		return err == nil && s.CachedInfo().State.Msgs >= uint64(len(letters))
	})
	for _, m := range messages(t, c, event.StreamDead) {
		p, _, _ := event.SubjectProvider(m.Subject)
		copied = append(copied, fmt.Sprintf("%s %s", p, m.Header.Get(event.HeaderSeq)))
	}
	if !slices.Equal(letters, copied) {
		t.Errorf("%d dead letters were written, and %d copied", len(letters), len(copied))
	}
	return counts
}

func backup(t *testing.T, c *jetstream.Client, streams ...string) *jetstream.Backup {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	if _, err := c.Backup(testContext(t), jetstream.BackupOptions{Dir: dir, Streams: streams, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	b, err := jetstream.OpenBackup(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Verify(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range b.Streams {
		if len(s.Doubts) > 0 {
			t.Errorf("%s: %v", s.Name, s.Doubts)
		}
	}
	return b
}

func restore(t *testing.T, c *jetstream.Client, b *jetstream.Backup, o jetstream.RestoreOptions) []jetstream.RestoredStream {
	t.Helper()
	done, err := c.Restore(testContext(t), b, o)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// A backup that is made while the pipeline works is restored into an empty server: everything is there once, and the pipeline
// goes on behind it without gap.
func TestBackupUnderLoad(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	p := startPipeline(t, client, 1)
	p.more(100)
	// Until a cursor was replaced while its snapshot was made.
	var b *jetstream.Backup
	for cut := false; !cut; {
		b = backup(t, client)
		cut = slices.ContainsFunc(b.Streams, func(s jetstream.BackupStream) bool { return s.Through < s.Last })
	}
	p.more(10)
	p.stop()
	before := settled(t, client)

	target := jetstreamtest.Server(t, jetstreamtest.Bare())
	restored := target.Client(t)
	restore(t, restored, b, jetstream.RestoreOptions{})
	if _, err := restored.Provision(testContext(t), jetstream.DefaultLayout(1).Within(1<<30), jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	p = startPipeline(t, restored, 1)
	p.more(30)
	target.Restart(t)
	p.more(30)
	p.stop()
	t.Logf("%v were there, %v are now", before, settled(t, restored))
}
