package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/backfill"
	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/publisher"
)

const sky event.Provider = "sky"

// past is a service that shows all it has, in pages of ten.
type past struct {
	events []event.Raw
	behind func() // is called after each page
}

func (past) Available(context.Context) error { return nil }

func (p past) ReadPast(ctx context.Context, _ event.From, emit collectors.Emit) error {
	for events := range slices.Chunk(p.events, 10) {
		if err := emit(ctx, collectors.Batch{Events: events, Cursor: event.Cursor(`"read"`)}); err != nil {
			return err
		}
		if p.behind != nil {
			p.behind()
		}
	}
	return nil
}

// streams are those of a provider whose live source is panko, and has promised not to hand over again what is before a time.
type streams struct {
	t        *testing.T
	c        *jetstream.Client
	from, to time.Time
}

func newStreams(t *testing.T) *streams {
	noon := time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)
	w := &streams{t: t, c: jetstreamtest.Server(t).Client(t), from: noon, to: noon.Add(time.Hour)}
	w.choose()
	return w
}

func (w *streams) choose() {
	w.t.Helper()
	if _, err := w.c.Choices().WriteChoice(w.t.Context(), sky, event.Choice{Kind: "panko", Why: "a test"}); err != nil {
		w.t.Fatal(err)
	}
}

// events are those with numbers from one to another, a second apart.
func (w *streams) events(first, last int) (events []event.Raw) {
	for i := first; i <= last; i++ {
		events = append(events, event.Raw{
			ID: event.ID(fmt.Sprintf("e%03d", i)), Time: w.from.Add(time.Duration(i) * time.Second), Received: time.Now().UTC(), Format: "ceilometer",
			Body: []byte("{}"),
		})
	}
	return events
}

func (w *streams) writer(s event.Source, fence event.Fence) *publisher.Raw {
	return publisher.NewRaw(w.c.Raw(), w.c.Bodies(), sky, s, fence, publisher.Options{})
}

// collect has the live source collect events, and the normalizer convert them.
func (w *streams) collect(events []event.Raw) {
	w.t.Helper()
	before, at := w.store(events)
	var outcomes []event.Outcome
	for i, e := range events {
		outcomes = append(outcomes, event.Outcome{
			Raw: event.StoredRaw{
				Raw: e, Provider: sky, Source: "panko", Seq: before + event.Seq(i) + 1, Sequence: at[i],
			},
			Converter: "oslo/1",
			Events: []event.Event{{
				MessageID: string(e.ID), EventType: "x", Timestamp: event.NewTimestamp(e.Time), Payload: []byte("{}"),
			}},
		})
	}
	normalized := publisher.NewNormalized(w.c.Normalized(), w.c.Bodies(), sky, publisher.Options{})
	_, err := normalized.Open(w.t.Context())
	if err == nil {
		_, err = normalized.Commit(w.t.Context(), outcomes, event.RawStream{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// store has the live source collect events. before is the number of its last one until then, and at is where they are in RAW.
func (w *streams) store(events []event.Raw) (before event.Seq, at []event.StreamSeq) {
	w.t.Helper()
	raw := w.writer("panko", event.Fence{})
	cursor, err := raw.Open(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	progress := event.Progress{Cursor: event.Cursor(`"live"`), Floor: w.to, Watermark: w.to}
	at, err = raw.Commit(w.t.Context(), events, progress)
	if err != nil {
		w.t.Fatal(err)
	}
	progress.DedupeFrom = at[len(at)-1] + 1 // it shows none of them again
	if _, err := raw.Commit(w.t.Context(), nil, progress); err != nil {
		w.t.Fatal(err)
	}
	return cursor.Position, at
}

// backfill runs a job that is to ask for the range.
func (w *streams) backfill(service backfill.Service) (backfill.Progress, error) {
	job := &backfill.Job{
		Provider: sky, Name: "gap", Kind: "panko", From: w.from, To: w.to, Service: service,
		Deps: backfill.Deps{
			NewWriter: func(_ event.Provider, s event.Source, fence event.Fence) collectors.Writer { return w.writer(s, fence) },
			Memory:    w.c.Memory(), Choices: w.c.Choices(), Archive: w.c.Archive(), Promised: promised, Log: zerolog.Nop(),
			Live: func(string) []event.Source { return []event.Source{"panko"} },
		},
	}
	outlook, err := job.Look(w.t.Context())
	if err != nil {
		return backfill.Progress{}, err
	}
	return job.Run(w.t.Context(), outlook)
}

// added are the identities that the job has added to RAW, in order.
func (w *streams) added() (ids []string) {
	w.t.Helper()
	err := w.c.Memory().Identities(w.t.Context(), sky, 0, 0, func(e event.Seen) {
		if e.Source.Backfill() != "" {
			ids = append(ids, string(e.ID))
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// RAW was lost and made anew, so that its sequences are given once more: what NORMALIZED has of the one before is known all the
// same, whatever the sequences are.
func TestABackfillAfterRawWasMadeAnew(t *testing.T) {
	t.Parallel()
	w := newStreams(t)
	w.collect(w.events(1, 40))
	js, err := natsjs.New(w.c.Conn())
	if err == nil {
		err = js.DeleteStream(t.Context(), event.StreamRaw)
	}
	if err == nil {
		_, err = w.c.Provision(t.Context(), jetstream.DefaultLayout(1).Within(1<<30), jetstream.CreateMissing)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.choose()
	w.collect(w.events(43, 50))
	done, err := w.backfill(past{events: w.events(1, 52)})
	if err != nil || done.Shown != 52 || done.There != 48 || done.Added != 4 {
		t.Errorf("%+v, %v", done, err)
	}
	if got := w.added(); !slices.Equal(got, []string{"e041", "e042", "e051", "e052"}) {
		t.Errorf("it added %v", got)
	}
}

// Whoever rewinds the live source while a job is at work fences it: it looks again, and what it had added the live source knows.
func TestABackfillWhoseLiveSourceIsRewound(t *testing.T) {
	t.Parallel()
	w := newStreams(t)
	w.collect(w.events(1, 5))
	rewind := func(to time.Time) {
		recall, err := w.c.Recall(t.Context(), sky, "panko", to)
		if err == nil {
			_, err = publisher.SetBack(t.Context(), w.c.Raw(), sky, "panko", publisher.Options{Owner: "ada"},
				func(c *event.RawCursor, _ bool) (event.Command, error) {
					c.Rewind(to, recall.From, 0)
					return event.Command{Verb: event.VerbRewind}, nil
				})
		}
		if err != nil {
			t.Error(err)
		}
	}
	pages := 0
	done, err := w.backfill(past{events: w.events(1, 200), behind: func() {
		switch pages++; pages {
		case 2:
			rewind(w.to.Add(time.Minute)) // behind the range, which is none of the job's business
		case 12:
			rewind(w.from.Add(7 * time.Second))
		}
	}})
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "the live source panko will read what is later than") {
		t.Fatalf("%+v, %v", done, err)
	}
	added := w.added()
	if n := len(added); n == 0 || n >= 195 || int(done.Added) != n {
		t.Errorf("it added %d, and says %d", n, done.Added)
	}
	cursors, err := w.c.Memory().Cursors(t.Context(), sky)
	if err != nil {
		t.Fatal(err)
	}
	known := map[event.ID]bool{}
	at := cursors["panko"]
	if err := w.c.Memory().Identities(t.Context(), sky, at.DedupeFrom, at.Sequence, func(e event.Seen) { known[e.ID] = true }); err != nil {
		t.Fatal(err)
	}
	for _, id := range added {
		if id >= "e007" && !known[event.ID(id)] {
			t.Errorf("the live source does not know %s, which the job has added and it may show", id)
		}
	}
}
