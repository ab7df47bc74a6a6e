package poison

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
	"stackstream/normalizer"
	"stackstream/normalizer/ceilometer"
	"stackstream/normalizer/normalizertest"
	"stackstream/normalizer/oslo"
	"stackstream/publisher"
)

const provider = event.Provider("cloud")

// openServer starts an embedded server with streams of the given size each, and connects to it.
func openServer(t *testing.T, size int64) *jetstream.Client {
	t.Helper()
	server, err := embedded.Open(jetstream.EmbeddedConfig{
		Dir: filepath.Join(t.TempDir(), "store"), MaxFile: 4*size + 64<<20,
	}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := jetstream.Connect(t.Context(), jetstream.Config{Name: t.Name(), Embedded: server}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	layout := jetstream.DefaultLayout(1)
	layout.Budget = 4 * size
	if _, err := client.Provision(t.Context(), layout, jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	return client
}

// converters are those of the product.
func converters(t testing.TB) map[string]normalizer.Converter {
	rules := normalizertest.Rules(t)
	return map[string]normalizer.Converter{oslo.Format: oslo.New(rules), ceilometer.Format: ceilometer.New(rules)}
}

// pipeline is the product's for one provider, with what differs given to it. It ends with the test, or when stop is called.
func pipeline(
	t *testing.T, client *jetstream.Client, candidate collectors.Candidate, c map[string]normalizer.Converter,
) (stop func()) {
	t.Helper()
	opts := publisher.Options{Limits: publisher.Limits{MaxBody: int(client.Conn().MaxPayload()) - publisher.Reserve}}
	raw, bodies := client.Raw(), client.Bodies()
	collector := &collectors.Collector{
		Provider: provider, Want: candidate.Kind, Candidates: []collectors.Candidate{candidate},
		Deps: collectors.Deps{
			NewWriter: func(p event.Provider, s event.Source, fence event.Fence) collectors.Writer {
				return publisher.NewRaw(raw, bodies, p, s, fence, opts)
			},
			Memory: client.Memory(), Choices: client.Choices(), Lease: jetstream.NoLease{},
		},
	}
	normalized := client.Normalized()
	service, err := normalizer.New(normalizer.Config{
		Converters: c,
		Committer: func(p event.Provider) normalizer.Committer {
			return publisher.NewNormalized(normalized, bodies, p, opts)
		},
		Feed: feed{client.Feed()}, Bodies: bodies,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	for _, loop := range []func() error{
		func() error { return collector.Run(ctx) },
		func() error { return service.Run(ctx, provider) },
	} {
		loops.Go(func() {
			if err := loop(); err != nil {
				t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		loops.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// feed lets the normalizer see its own Reader in what jetstream returns.
type feed struct{ *jetstream.Feed }

func (f feed) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (normalizer.Reader, error) {
	r, err := f.Feed.Open(ctx, p, from)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// awaitNormalized waits until that many raw events are dealt with, and fails the test if there is no progress for a while.
func awaitNormalized(t *testing.T, client *jetstream.Client, want func() int) {
	t.Helper()
	const patience = 2 * time.Minute
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last event.Seq
	since := time.Now()
	for {
		marks, err := client.Watermarks(t.Context(), provider)
		var at event.Seq
		for _, m := range marks {
			at += m.Normalized
		}
		switch {
		case err == nil && want() > 0 && at >= event.Seq(want()):
			return
		case at > last:
			last, since = at, time.Now()
		case time.Since(since) > patience:
			t.Fatalf("nothing was normalized for %v: %+v, %v; want %d", patience, marks, err, want())
		}
		<-tick.C
	}
}
