package letters_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/letters"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/normalizer"
	"stackstream/publisher"
)

const prod event.Provider = "prod"

// converter converts bodies, once it is mended.
type converter struct{ mended *atomic.Bool }

func (c converter) Name() string { return "test/1" }

func (c converter) Convert(raw event.Raw) (normalizer.Converted, error) {
	if strings.HasPrefix(string(raw.Body), "panics") && !c.mended.Load() {
		panic("at the disco")
	}
	if !c.mended.Load() || strings.HasPrefix(string(raw.Body), "never") {
		return normalizer.Converted{}, errors.New("not mended")
	}
	return normalizer.Converted{Events: []event.Event{{
		MessageID: string(raw.ID), EventType: raw.Header["Evt-Type"], Timestamp: event.NewTimestamp(raw.Received),
		Payload: fmt.Appendf(nil, "%d", len(raw.Body)),
	}}}, nil
}

// rig is a server with a normalizer at work.
type rig struct {
	*jetstream.Client
	server *jetstreamtest.Single
	mended atomic.Bool
}

const maxBody = 10_000 // larger ones go to objects

func newRig(t *testing.T) *rig {
	server := jetstreamtest.Server(t)
	r := &rig{Client: server.Client(t), server: server}
	service, err := normalizer.New(normalizer.Config{
		Converters: map[string]normalizer.Converter{"test": converter{&r.mended}},
		Committer: func(p event.Provider) normalizer.Committer {
			return publisher.NewNormalized(r.Normalized(), r.Bodies(), p, publisher.Options{Limits: publisher.Limits{MaxBody: maxBody}})
		},
		Feed: feed{r.Feed()}, Bodies: r.Bodies(), Lease: jetstream.NoLease{}, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = service.Run(ctx, prod) })
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return r
}

type feed struct{ *jetstream.Feed }

func (f feed) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (normalizer.Reader, error) {
	r, err := f.Feed.Open(ctx, p, from)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *rig) writer(source event.Source) *publisher.Raw {
	return publisher.NewRaw(r.Raw(), r.Bodies(), prod, source, event.Fence{}, publisher.Options{Limits: publisher.Limits{MaxBody: maxBody}})
}

// collect puts raw events into RAW.
func (r *rig) collect(t *testing.T, events ...event.Raw) {
	t.Helper()
	w := r.writer("http")
	if _, err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context(), events, event.Progress{}); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) job(t *testing.T) *letters.Job {
	t.Helper()
	j := &letters.Job{
		Provider: &letters.Provider{Name: prod, Streams: r.Letters(), Bodies: r.Bodies()}, Writer: r.writer(event.SourceRedrive), By: "ada", Why: "test",
	}
	if err := j.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return j
}

func (r *rig) await(t *testing.T, n int) {
	t.Helper()
	jetstreamtest.Eventually(t, fmt.Sprintf("for %d dead letters", n), func() bool {
		got := 0
		err := r.Letters().Each(t.Context(), prod, func(event.Letter) error { got++; return nil })
		return err == nil && got == n
	})
}

// redrive sends what the filter wants, and tells what became of it.
func (r *rig) redrive(t *testing.T, f *letters.Filter) (letters.Picked, letters.Sent, letters.Outcome) {
	t.Helper()
	j := r.job(t)
	picked, err := j.Pick(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := j.Send(t.Context(), picked, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if done, err := j.Await(limited, func(event.Seq, event.NormalizedCursor) {}); err != nil || !done {
		t.Fatalf("done %t, %v", done, err)
	}
	outcome, err := j.Outcome(t.Context(), sent.Letters)
	if err != nil {
		t.Fatal(err)
	}
	return picked, sent, outcome
}

// Bodies in objects, headers in objects, messages that no collector wrote, panics, and bodies that are gone: all that a dead letter
// may be, against a real server.
func TestLettersOfAllKinds(t *testing.T) {
	r := newRig(t)
	large, gone := []byte(strings.Repeat("large ", 5000)), []byte("gone"+strings.Repeat(".", 20_000))
	raw := func(id string, body []byte) event.Raw {
		return event.Raw{ID: event.ID(id), Format: "test", Received: time.Unix(5, 0), Header: map[string]string{"Evt-Type": "a b"}, Body: body}
	}
	headers := raw("headers", []byte("headers"))
	for i := range 8 {
		headers.Header[fmt.Sprint("Evt-H-", i)] = strings.Repeat("ö", 2000)
	}
	r.collect(t, raw("small", []byte("small")), raw("large", large), raw("panics", []byte("panics")), headers, raw("gone", gone), raw("never", []byte("never")))
	r.await(t, 6)
	js, err := natsjs.New(r.Conn())
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.ObjectStore(t.Context(), event.BucketBodies)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(t.Context(), event.NewBodyRef(gone).Object); err != nil {
		t.Fatal(err)
	}
	r.collect(t, raw("gone-2", gone)) // its object is stored anew, and then gone for good
	_ = bucket.Delete(t.Context(), event.NewBodyRef(gone).Object)

	// A message of somebody else, which has an id and a format.
	foreign := event.Message{Subject: event.RawSubject(prod, "other"), Header: event.Header{"Evt-Id": {"foreign"}, "Evt-Format": {"test"}, "Evt-Type": {"x"}}, Body: []byte("foreign")}
	_, err = r.Raw().Append(t.Context(), event.Batch{ID: "b", Messages: []event.Message{foreign}, Cursor: event.Message{Subject: event.RawCursorSubject("x", "y"), Header: event.Header{}, Body: []byte("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	r.await(t, 8)
	r.mended.Store(true)

	picked, sent, outcome := r.redrive(t, &letters.Filter{State: letters.Open})
	lost := picked.Lost + sent.Lost
	if lost != 2 || len(sent.Letters) != 6 || outcome.Redriven != 5 || len(outcome.Dead) != 1 || outcome.Waiting != 0 {
		t.Fatalf("picked %+v, sent %+v, %+v", picked, sent, outcome)
	}
	// Each has its type, and as many bytes as it had.
	want := map[string]string{"small": "a b 5", "large": fmt.Sprint("a b ", len(large)), "panics": "a b 6", "headers": "a b 7", "foreign": "x 7"}
	events := r.events(t)
	for id, text := range want {
		if events[id] != text {
			t.Errorf("%s became %q, want %q", id, events[id], text)
		}
	}
	if len(events) != len(want) {
		t.Errorf("events %v", events)
	}

	// What is dead again is redriven under its own number, and is of its first source.
	never := outcome.Dead[0]
	_, _, again := r.redrive(t, &letters.Filter{State: letters.Open, Numbers: letters.Numbers{{From: never, To: never}}})
	if len(again.Dead) != 1 || again.Dead[0] <= never {
		t.Fatalf("again: %+v", again)
	}
	var record *letters.Record
	j := r.job(t)
	err = j.Each(t.Context(), &letters.Filter{Numbers: letters.Numbers{{From: again.Dead[0], To: again.Dead[0]}}}, func(l *event.Letter, _ string) error {
		return j.Records(t.Context(), []letters.Place{letters.PlaceOf(l)}, jetstream.Copied, func(r *letters.Record) error { record = r; return nil })
	})
	if err != nil || record == nil {
		t.Fatalf("%+v, %v", record, err)
	}
	if record.Source != "http" || record.Origin.Seq != 6 || record.Redriven != never || record.Made.Source != event.SourceRedrive || string(record.Body.Bytes) != "never" {
		t.Errorf("%+v", record)
	}
}

// events are the canonical events: type and payload, by id.
func (r *rig) events(t *testing.T) map[string]string {
	t.Helper()
	js, err := natsjs.New(r.Conn())
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(t.Context(), event.StreamNormalized, natsjs.OrderedConsumerConfig{FilterSubjects: []string{"events.normalized.*"}})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.FetchNoWait(1000)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for m := range batch.Messages() {
		var e event.Event
		if err := json.Unmarshal(m.Data(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Source != "http" && e.MessageID != "foreign" || m.Headers().Get(event.HeaderRedriven) == "" {
			t.Errorf("%s is of source %s, was letter %q", e.MessageID, e.Source, m.Headers().Get(event.HeaderRedriven))
		}
		if found[e.MessageID] != "" {
			t.Errorf("%s comes twice", e.MessageID)
		}
		found[e.MessageID] = e.EventType + " " + string(e.Payload)
	}
	return found
}

// The server goes away between two batches and comes back: what was begun goes on, each letter once.
func TestAServerThatIsAwayIsWaitedFor(t *testing.T) {
	r := newRig(t)
	const n = 600 // two batches
	events := make([]event.Raw, n)
	for i := range events {
		events[i] = event.Raw{
			ID: event.ID(fmt.Sprint("id-", i)), Format: "test", Received: time.Unix(5, 0), Header: map[string]string{"Evt-Type": "x"}, Body: []byte("b"),
		}
	}
	r.collect(t, events...)
	r.await(t, n)
	r.mended.Store(true)
	j := r.job(t)
	away := 0
	j.Again = func(ctx context.Context, err error) error {
		if event.KindOf(err) != event.Unavailable {
			t.Errorf("it is asked about %v", err)
		}
		if away++; away == 1 {
			r.server.Restart(t)
		}
		select {
		case <-time.After(50 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return err
		}
	}
	picked, err := j.Pick(t.Context(), &letters.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	sent, err := j.Send(t.Context(), picked, func(int) {
		if !stopped {
			stopped = true
			r.server.Shutdown()
		}
	})
	if err != nil || len(sent.Letters) != n || sent.Others+sent.Lost+sent.Gone > 0 || away == 0 {
		t.Fatalf("it sent %d, %d others, %d lost, %d gone, and asked %d times: %v", len(sent.Letters), sent.Others, sent.Lost, sent.Gone, away, err)
	}
	limited, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if done, err := j.Await(limited, func(event.Seq, event.NormalizedCursor) {}); err != nil || !done {
		t.Fatalf("done %t, %v", done, err)
	}
	if outcome, err := j.Outcome(t.Context(), sent.Letters); err != nil || outcome.Redriven != n {
		t.Errorf("%d of %d are events, %d are dead again, %d wait: %v", outcome.Redriven, n, len(outcome.Dead), outcome.Waiting, err)
	}
}
