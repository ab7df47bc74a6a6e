package normalizer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
)

const testProvider = event.Provider("cloud")

var rawCreated = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// world is RAW and NORMALIZED of one provider in memory, and everything that a Service needs to work on them.
type world struct {
	t testing.TB

	mu       sync.Mutex
	raw      []event.Stored
	numbers  map[event.Source]event.Seq
	bodies   map[string][]byte
	cursor   event.NormalizedCursor
	outcomes []event.Outcome // committed, in order
	batches  [][]event.Outcome
	acked    event.StreamSeq
	statuses []event.Status
	gaps     []string
	skipped  int
	fenced   int
	changed  chan struct{}

	// What may go wrong; nil: nothing does. onCommit runs before a batch is stored, afterCommit behind that.
	onOpen      func(ctx context.Context) error
	onFeed      func(from event.NormalizedCursor) error
	onNext      func(next []event.Stored) ([]event.Stored, error)
	onCommit    func(ctx context.Context, outcomes []event.Outcome) error
	afterCommit func() error
	onBody      func(ref event.BodyRef) error
	beat        func(event.Provider)
}

func newWorld(t testing.TB) *world {
	return &world{
		t: t, numbers: map[event.Source]event.Seq{}, bodies: map[string][]byte{}, changed: make(chan struct{}),
	}
}

func (w *world) change() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// add puts a raw event of a source into RAW. Its body says what the converter makes of it.
func (w *world) add(s event.Source, format, body string) event.StreamSeq {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.numbers[s]++
	id := event.ID(fmt.Sprintf("%s-%d", s, w.numbers[s]))
	r := event.Raw{ID: id, Received: time.Now(), Format: format, Body: []byte(body)}
	ref := event.BodyRef{}
	if format == "object" {
		ref = event.NewBodyRef([]byte(body))
		w.bodies[ref.Object] = []byte(body)
		r.Format = "test"
	}
	return w.store(r.Message(testProvider, s, w.numbers[s], ref))
}

// lose takes a number away from a source without an event: what has it is missing from RAW.
func (w *world) lose(s event.Source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.numbers[s]++
}

func (w *world) addMessage(m event.Message) event.StreamSeq {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store(m)
}

func (w *world) store(m event.Message) event.StreamSeq {
	seq := event.StreamSeq(2*len(w.raw) + 3) // others write to the stream, too
	w.raw = append(w.raw, event.Stored{Message: m, Sequence: seq, Time: time.Now()})
	w.change()
	return seq
}

// await blocks until done says so, or ctx ends.
func (w *world) await(ctx context.Context, what string, done func() bool) {
	w.t.Helper()
	for {
		w.mu.Lock()
		ok, changed := done(), w.changed
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (w *world) allDone() bool {
	return len(w.raw) > 0 && w.cursor.RawSeq == w.raw[len(w.raw)-1].Sequence
}

func (w *world) service(converters map[string]Converter) *Service {
	w.t.Helper()
	if converters == nil {
		converters = map[string]Converter{"test": testConverter{}}
	}
	s, err := New(Config{
		Converters: converters,
		Committer:  func(event.Provider) Committer { return &worldCommitter{w: w} },
		Feed:       worldFeed{w},
		Bodies:     worldBodies{w},
		Log:        zerolog.Nop(),
		Hooks: Hooks{
			Status:  func(s event.Status) { w.note(func() { w.statuses = append(w.statuses, s) }) },
			Skipped: func(_ event.Provider, n int) { w.note(func() { w.skipped += n }) },
			Fenced:  func(event.Provider) { w.note(func() { w.fenced++ }) },
			SequenceGap: func(_ event.Provider, s event.Source, expected, found event.Seq) {
				w.note(func() { w.gaps = append(w.gaps, fmt.Sprintf("%s %d %d", s, expected, found)) })
			},
			Beat: w.beat,
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.change()
}

func (w *world) states() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, s := range w.statuses {
		out = append(out, string(s.State))
	}
	return out
}

// run runs a service until f returns.
func (w *world) run(s *Service, f func(ctx context.Context)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 24*time.Hour)
	defer cancel()
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(serving, testProvider) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()
	f(ctx)
}

// check says whether every raw event became what its body says, once and in order.
func (w *world) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.outcomes) != len(w.raw) {
		return fmt.Errorf("%d outcomes of %d raw events", len(w.outcomes), len(w.raw))
	}
	for i, o := range w.outcomes {
		m := w.raw[i]
		if o.Raw.Sequence != m.Sequence {
			return fmt.Errorf("outcome %d is of raw event %d, want %d", i, o.Raw.Sequence, m.Sequence)
		}
		body := m.Body
		if ref := event.BodyRefOf(m.Header); ref.Object != "" {
			body = w.bodies[ref.Object]
		}
		if got, want := describe(o), expected(m, body); got != want {
			return fmt.Errorf("raw event %d became %q, want %q", m.Sequence, got, want)
		}
	}
	if last := w.raw[len(w.raw)-1].Sequence; w.cursor.RawSeq != last || w.acked > last {
		return fmt.Errorf("cursor at %d, acknowledged %d, want %d", w.cursor.RawSeq, w.acked, last)
	}
	return nil
}

// describe and expected say the same of an outcome and of the raw event it is made from.
func describe(o event.Outcome) string {
	if o.Dead != nil {
		return "dead " + string(o.Dead.Reason)
	}
	out := "events"
	for _, e := range o.Events {
		out += fmt.Sprintf(" %s@%s/%s", e.MessageID, e.Provider, e.Source)
	}
	return out
}

func expected(m event.Stored, body []byte) string {
	r, err := event.ParseRaw(m)
	switch {
	case err != nil:
		return "dead malformed"
	case r.BodyRef.Object != "" && body == nil:
		return "dead body-lost"
	case r.Format != "test":
		return "dead no-converter"
	}
	switch string(body) {
	case "malformed", "none", "no id":
		return "dead malformed"
	case "panic":
		return "dead panic"
	}
	out := "events"
	for i := range max(1, len(body)%3) {
		out += fmt.Sprintf(" %s/%d@%s/%s", r.ID, i, testProvider, r.Source)
	}
	return out
}

// testConverter does what the body says.
type testConverter struct{}

func (testConverter) Name() string { return "test/1" }

func (testConverter) Convert(raw event.Raw) (Converted, error) {
	switch string(raw.Body) {
	case "malformed":
		return Converted{}, errors.New("body: not what it should be")
	case "panic":
		deepInTheConverter(nil)
	case "none":
		return Converted{}, nil
	case "no id":
		return Converted{Events: []event.Event{{EventType: "x", Timestamp: event.NewTimestamp(raw.Received)}}}, nil
	}
	var c Converted
	for i := range max(1, len(raw.Body)%3) {
		c.Events = append(c.Events, event.Event{
			MessageID: string(raw.ID) + "/" + strconv.Itoa(i), EventType: "x.y", Timestamp: event.NewTimestamp(raw.Received),
		})
	}
	return c, nil
}

func deepInTheConverter(m map[string]int) { m["x"] = 1 }
