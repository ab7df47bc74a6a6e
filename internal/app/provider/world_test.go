package provider_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/app/provider"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/normalizer"
	"stackstream/publisher"
	"stackstream/subscribe"
)

// world is a server, and a process that takes leases as all do.
type world struct {
	t      *testing.T
	url    string
	client *jetstream.Client
	leases map[event.Role]*jetstream.Leases
}

func newWorld(t *testing.T) *world {
	server := jetstreamtest.Server(t)
	w := &world{t: t, url: server.URL(), client: server.Client(t), leases: map[event.Role]*jetstream.Leases{}}
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	for _, role := range []event.Role{event.RoleCollector, event.RoleNormalizer} {
		l := jetstream.NewLeases(w.client, role, "host/1")
		w.leases[role] = l
		loops.Go(func() { _ = l.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); loops.Wait() })
	return w
}

// shown is a source that shows events once, in order, and has its place in them for a cursor.
type shown []string

func (s shown) Available(context.Context) error { return nil }

func (s shown) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	for _, id := range s {
		cursor, _ := json.Marshal(map[string]string{"after": id})
		e := event.Raw{ID: event.ID(id), Format: "test", Body: []byte(`{}`)}
		if err := emit(ctx, collectors.Batch{Events: []event.Raw{e}, Cursor: cursor}); err != nil {
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

// work has the source of a provider show events, and returns when they are normalized: position is what the last of them has in
// RAW. What it is asked from is returned.
func (w *world) work(p event.Provider, position event.Seq, ids ...string) (stop func()) {
	w.t.Helper()
	stop = w.begin(p, ids...)
	jetstreamtest.Eventually(w.t, fmt.Sprintf("for %s to have %d events normalized", p, position), func() bool {
		h := w.look(p)
		return h.Sources["test"].Position == position && h.Unnormalized() == 0
	})
	return stop
}

// begin has somebody collect and normalize for a provider whose source shows events.
func (w *world) begin(p event.Provider, ids ...string) (stop func()) {
	w.t.Helper()
	opts := publisher.Options{Limits: publisher.Limits{MaxBody: int(w.client.Conn().MaxPayload()) - publisher.Reserve}}
	raw, normalized, bodies := w.client.Raw(), w.client.Normalized(), w.client.Bodies()
	collector := &collectors.Collector{
		Provider: p, Want: "test",
		Candidates: []collectors.Candidate{{Kind: "test", Shards: []collectors.Shard{{
			Name: "test", Spec: collectors.Spec{Repeats: 100},
			New: func(collectors.Report) (collectors.Source, error) { return shown(ids), nil },
		}}}},
		Deps: collectors.Deps{
			NewWriter: func(p event.Provider, s event.Source, fence event.Fence) collectors.Writer {
				return publisher.NewRaw(raw, bodies, p, s, fence, opts)
			},
			Memory: w.client.Memory(), Choices: w.client.Choices(), Lease: w.leases[event.RoleCollector],
		},
	}
	service, err := normalizer.New(normalizer.Config{
		Converters: map[string]normalizer.Converter{"test": converter{}},
		Committer: func(p event.Provider) normalizer.Committer {
			return publisher.NewNormalized(normalized, bodies, p, opts)
		},
		Feed: feed{w.client.Feed()}, Bodies: bodies, Lease: w.leases[event.RoleNormalizer], Log: zerolog.New(zerolog.NewTestWriter(w.t)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() { _ = collector.Run(ctx) })
	loops.Go(func() { _ = service.RunProvider(ctx, p) })
	stop = sync.OnceFunc(func() { cancel(); loops.Wait() })
	w.t.Cleanup(stop)
	return stop
}

// works is work that has ended.
func (w *world) works(p event.Provider, position event.Seq, ids ...string) {
	w.t.Helper()
	w.work(p, position, ids...)()
	w.idle(p)
}

// idle waits until nobody works for a provider.
func (w *world) idle(p event.Provider) {
	w.t.Helper()
	jetstreamtest.Eventually(w.t, "for nobody to work for "+string(p), func() bool { return len(w.look(p).AtWork(time.Now())) == 0 })
}

func (w *world) look(p event.Provider) *jetstream.Holding {
	w.t.Helper()
	all, err := w.client.Holdings(context.Background(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	return all[p]
}

// raw are the identities of the raw events that are stored for a provider.
func (w *world) raw(p event.Provider) []string {
	w.t.Helper()
	ids := []string{}
	err := w.client.Memory().Identities(w.t.Context(), p, 0, 0, func(e event.Seen) {
		if e.Seq > 0 { // else it has another name
			ids = append(ids, string(e.ID))
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

func (w *world) wantRaw(p event.Provider, want ...string) {
	w.t.Helper()
	if got := w.raw(p); !slices.Equal(got, want) {
		w.t.Errorf("%s has the raw events %v, want %v", p, got, want)
	}
}

// subscriber reads everything from now on.
func (w *world) subscriber() (seen func() []string) {
	w.t.Helper()
	s, err := subscribe.New(w.client.Conn(), subscribe.Options{Durable: "reader"})
	if err != nil {
		w.t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(_ context.Context, e subscribe.Event) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s %s %d", e.Provider, e.MessageID, e.Seq))
			return nil
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the subscriber ended with %v", err)
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

func (w *world) remove(p event.Provider, purge bool) error {
	return provider.Remove(w.t.Context(), w.client, p, provider.Removal{
		Operator: by, Purge: purge, Remembers: func(event.Provider, event.Source) int { return 0 },
	})
}

func (w *world) rename(from, to event.Provider) error {
	return provider.Rename(w.t.Context(), w.client, from, to, by)
}

var by = provider.Operator{By: "ann@host", Why: "a test"}

type converter struct{}

func (converter) Name() string { return "test/1" }

func (converter) Convert(raw event.Raw) (normalizer.Converted, error) {
	return normalizer.Converted{Events: []event.Event{{
		MessageID: string(raw.ID), EventType: "test", Timestamp: event.NewTimestamp(raw.Received), Payload: raw.Body,
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

func wantProblem(t *testing.T, err error, what string) {
	t.Helper()
	var problem *provider.Problem
	if !errors.As(err, &problem) || !strings.Contains(err.Error(), what) || problem.WayOut == "" {
		t.Errorf("got %v, want a problem with %q", err, what)
	}
}

// plant stores events of a provider and normalizes all but the last left of them, without anybody at work.
func (w *world) plant(p event.Provider, left int, ids ...string) {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := w.client.Choices().WriteChoice(ctx, p, event.Choice{Kind: "test"}); err != nil {
		w.t.Fatal(err)
	}
	raw := publisher.NewRaw(w.client.Raw(), w.client.Bodies(), p, "test", event.Fence{}, publisher.Options{})
	normalized := publisher.NewNormalized(w.client.Normalized(), w.client.Bodies(), p, publisher.Options{})
	if _, err := raw.Open(ctx); err != nil {
		w.t.Fatal(err)
	}
	if _, err := normalized.Open(ctx); err != nil {
		w.t.Fatal(err)
	}
	var events []event.Raw
	for _, id := range ids {
		events = append(events, event.Raw{ID: event.ID(id), Format: "test", Body: []byte(`{}`), Received: time.Now()})
	}
	cursor, _ := json.Marshal(map[string]string{"after": ids[len(ids)-1]})
	at, err := raw.Commit(ctx, events, event.Progress{Cursor: cursor})
	if err != nil {
		w.t.Fatal(err)
	}
	var outcomes []event.Outcome
	for i := range events[:len(events)-left] {
		made, _ := converter{}.Convert(events[i])
		made.Events[0].Provider, made.Events[0].Source = p, "test"
		outcomes = append(outcomes, event.Outcome{
			Raw:    event.StoredRaw{Raw: events[i], Provider: p, Source: "test", Seq: event.Seq(i + 1), Sequence: at[i]},
			Events: made.Events, Converter: "test/1",
		})
	}
	if _, err := normalized.Commit(ctx, outcomes, event.RawStream{}); err != nil {
		w.t.Fatal(err)
	}
}
