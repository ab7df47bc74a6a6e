package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// jointRounds is how long batches are made up at most.
const jointRounds = 4 * time.Second

// jointWorld is what a stream holds of some sources, as those know who were told what became of their batches.
type jointWorld struct {
	c      *jetstream.Client
	log    *jetstream.Log
	tail   event.StreamSeq // the last cursor that anybody was told of
	shared map[event.Provider]event.StreamSeq
	choice map[event.Provider]event.StreamSeq
	at     map[row]event.StreamSeq // of the cursors
	want   map[row][]string        // the events, in order
	tried  int
}

func newJointWorld(ctx context.Context, t *testing.T, c *jetstream.Client) *jointWorld {
	t.Helper()
	w := &jointWorld{
		c: c, log: c.Raw(), shared: map[event.Provider]event.StreamSeq{}, choice: map[event.Provider]event.StreamSeq{},
		at: map[row]event.StreamSeq{}, want: map[row][]string{},
	}
	for _, p := range []event.Provider{"p", "q", "r"} {
		choice, err := c.Choices().WriteChoice(ctx, p, event.Choice{Kind: "amqp"})
		if err != nil {
			t.Fatal(err)
		}
		w.choice[p] = choice.Sequence
	}
	return w
}

type row struct {
	p event.Provider
	s event.Source
}

// harm is what is the matter with a batch.
type harm string

const (
	none       harm = ""
	overtaken  harm = "another writer has moved the cursor"
	fenced     harm = "the choice was made anew"
	behind     harm = "another source has replaced the shared record"
	ended      harm = "nobody waits for it any more"
	impossible harm = "the server does not take it"
)

type jointTry struct {
	row
	events []string
	harm   harm
	shares bool
	fence  bool
	jetstream.Together
}

func (w *jointWorld) draw(ctx context.Context, t *rapid.T) *jointTry {
	try := &jointTry{
		row: row{
			event.Provider(rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "provider")),
			event.Source(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "source")),
		},
		harm: rapid.SampledFrom([]harm{none, none, none, none, none, overtaken, fenced, behind, ended, impossible}).Draw(t, "harm"),
	}
	try.fence = try.harm == fenced || rapid.Bool().Draw(t, "fence")
	try.shares = try.harm == behind || rapid.IntRange(0, 2).Draw(t, "shares") == 0
	b := event.Batch{Cursor: event.Message{Subject: event.RawCursorSubject(try.p, try.s)}, Expect: w.at[try.row]}
	if try.harm == overtaken {
		b.Expect = w.stale(t, b.Expect)
	}
	if try.fence {
		b.Fence = event.Fence{Subject: event.ChoiceSubject(try.p), Sequence: w.choice[try.p]}
		if try.harm == fenced {
			b.Fence.Sequence = w.stale(t, b.Fence.Sequence)
		}
	}
	if try.shares {
		b.Shared, b.SharedExpect = event.Message{Subject: event.SharedSubject(try.p), Body: []byte("{}")}, w.shared[try.p]
		if try.harm == behind {
			b.SharedExpect = w.stale(t, b.SharedExpect)
		}
	}
	for range rapid.IntRange(1, 5).Draw(t, "events") {
		w.tried++
		id := fmt.Sprint("e", w.tried)
		h := event.Header{"Test-Id": {id}}
		if try.harm == impossible {
			h["Test-Long"] = []string{strings.Repeat("x", 70_000)}
		}
		try.events = append(try.events, id)
		b.Messages = append(b.Messages, event.Message{Subject: event.RawSubject(try.p, try.s), Header: h})
	}
	b.Cursor.Body = []byte(try.events[len(try.events)-1])
	try.Ctx, try.Batch = ctx, b
	return try
}

// stale is another sequence than the right one.
func (w *jointWorld) stale(t *rapid.T, right event.StreamSeq) event.StreamSeq {
	return event.StreamSeq(rapid.Uint64Range(0, uint64(w.tail)+3).Filter(func(n uint64) bool { return n != uint64(right) }).Draw(t, "stale"))
}

// lands tells whether the next batch is to be stored.
func (w *jointWorld) lands(try *jointTry) bool {
	b := &try.Batch
	return try.harm != impossible && b.Expect == w.at[try.row] && (!try.fence || b.Fence.Sequence == w.choice[try.p]) &&
		(!try.shares || b.SharedExpect == w.shared[try.p])
}

func (w *jointWorld) stored(try *jointTry, at event.StreamSeq) {
	w.at[try.row], w.tail = at, max(w.tail, at)
	if try.shares {
		w.shared[try.p] = at - 1
	}
	w.want[try.row] = append(w.want[try.row], try.events...)
}

// holds compares the stream with what was told.
func (w *jointWorld) holds(ctx context.Context, t *testing.T) {
	t.Helper()
	for p := range w.choice {
		got := map[row][]string{}
		r := w.c.RawRange(p, time.Time{}, 1, w.tail)
		for {
			m, err := r.Next(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			_, s, _ := event.SubjectProvider(m.Subject)
			got[row{p, s}] = append(got[row{p, s}], m.Header.Get("Test-Id"))
		}
		for at, want := range w.want {
			if at.p == p && !slices.Equal(got[at], want) {
				t.Fatalf("of %v there is %v, want %v", at, got[at], want)
			}
		}
	}
}

// Whatever is the matter with some of the batches that go together: each is stored whole where it was told to be, or not at all and
// told so, exactly as if they came one after the other; and events are there once, in order.
func TestEachThatGoesTogetherIsToldItsOwnAnswer(t *testing.T) {
	for name, client := range map[string]func(*testing.T) *jetstream.Client{
		"one server": func(t *testing.T) *jetstream.Client { return jetstreamtest.Server(t).Client(t) },
		"a cluster":  func(t *testing.T) *jetstream.Client { return jetstreamtest.Cluster(t).Client(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ctx := client(t), testContext(t)
			w := newJointWorld(ctx, t, c)
			end := time.Now().Add(jointRounds)
			rapid.Check(t, func(t *rapid.T) {
				if time.Now().Before(end) {
					w.round(ctx, t)
				}
			})
			w.holds(ctx, t)
		})
	}
}

func (w *jointWorld) round(ctx context.Context, t *rapid.T) {
	var tries []*jointTry
	var waits []*jetstream.Together
	short, end := context.WithCancel(ctx)
	defer end()
	for range rapid.IntRange(2, 8).Draw(t, "batches") {
		try := w.draw(ctx, t)
		if try.harm == ended {
			try.Ctx = short
		}
		tries, waits = append(tries, try), append(waits, &try.Together)
	}
	if err := w.log.AppendTogether(end, waits...); err != nil {
		t.Fatal(err)
	}
	for _, try := range tries {
		kind := event.KindOf(try.Err)
		switch {
		case try.harm == ended && kind == event.Unknown:
			// It may be stored, and others that were to be refused then were.
			m, ok, err := w.log.ReadCursor(ctx, try.Batch.Cursor.Subject, 0)
			if err != nil {
				t.Fatal(err)
			}
			if ok && string(m.Body) == string(try.Batch.Cursor.Body) {
				w.stored(try, m.Sequence)
			}
		case try.harm == ended && kind == event.Unavailable:
		default:
			w.told(t, try)
		}
	}
	w.found(ctx, t, tries...)
}

// told takes what the batch was told.
func (w *jointWorld) told(t *rapid.T, try *jointTry) {
	kind := event.KindOf(try.Err)
	switch {
	case w.lands(try):
		if try.Err != nil {
			t.Fatalf("%v with %q is told %v", try.row, try.harm, try.Err)
		}
		w.stored(try, try.At)
	case try.Err == nil || kind != event.Fenced && kind != event.Invalid:
		t.Fatalf("%v with %q is told %d, %v", try.row, try.harm, try.At, try.Err)
	}
}

// found compares the cursors with what was told.
func (w *jointWorld) found(ctx context.Context, t *rapid.T, tries ...*jointTry) {
	for _, try := range tries {
		m, ok, err := w.log.ReadCursor(ctx, try.Batch.Cursor.Subject, w.at[try.row])
		if err != nil || m.Sequence != w.at[try.row] || ok && string(m.Body) != w.want[try.row][len(w.want[try.row])-1] {
			t.Fatalf("the cursor of %v is %q at %d (%v), want %v at %d", try.row, m.Body, m.Sequence, err, w.want[try.row], w.at[try.row])
		}
	}
}

// What is lost on the way of one that goes with others is lost for all of them: nobody is told that anything is stored, nothing is,
// and all can be sent again.
func TestWhatIsLostOfThoseThatGoTogether(t *testing.T) {
	cluster := jetstreamtest.Cluster(t)
	var lose atomic.Value
	lose.Store("")
	sieve := jetstreamtest.NewSieve(t, cluster.URLs()[0], func(subject string) bool { return subject == lose.Load() })
	c, err := jetstream.Connect(testContext(t), jetstream.Config{URLs: []string{sieve.URL()}}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Conn().Close)
	log, providers := c.Raw(), []event.Provider{"p", "q", "r"}
	together := func(ctx context.Context) (all []*jetstream.Together) {
		t.Helper()
		for _, p := range providers {
			all = append(all, &jetstream.Together{Ctx: ctx, Batch: oneSource(p, 1, 2, 0, event.Fence{})})
		}
		if err := log.AppendTogether(nil, all...); err != nil {
			t.Fatal(err)
		}
		return all
	}
	for subject, patience := range map[string]time.Duration{
		"ingest.raw.q.s":        time.Minute, // in the middle, where the server notices
		"ingest.cursor.raw.r.s": time.Second, // what commits
	} {
		lose.Store(subject)
		ctx, cancel := context.WithTimeout(testContext(t), patience)
		for _, b := range together(ctx) {
			wantKind(t, b.Err, event.Unknown, "")
		}
		cancel()
	}
	if last := lastSequence(t, cluster.Client(t), event.StreamRaw); last != 0 {
		t.Fatalf("the stream is at %d", last)
	}
	lose.Store("")
	for i, b := range together(testContext(t)) {
		if b.Err != nil || b.At != event.StreamSeq(3*i+3) {
			t.Errorf("%s is told %d, %v", providers[i], b.At, b.Err)
		}
	}
}

// A right that the server refuses is told to whom it concerns.
func TestOneOfThoseThatGoTogetherHasNoRight(t *testing.T) {
	connect := serverWithUsers(t, map[string][]string{"few": {
		"ingest.raw.p.>", "ingest.cursor.raw.p.>", "ingest.raw.q.>", "ingest.cursor.raw.q.>", "$JS.API.STREAM.INFO.EVENTS_RAW",
	}})
	var all []*jetstream.Together
	for _, p := range []event.Provider{"p", "r", "q"} {
		all = append(all, &jetstream.Together{Ctx: testContext(t), Batch: oneSource(p, 1, 2, 0, event.Fence{})})
	}
	if err := connect("few").Raw().AppendTogether(nil, all...); err != nil {
		t.Fatal(err)
	}
	wantKind(t, all[1].Err, event.Invalid, "ingest.raw.r.s")
	if all[0].Err != nil || all[2].Err != nil || all[0].At+all[2].At != 3+6 {
		t.Errorf("the others are told %d, %v and %d, %v", all[0].At, all[0].Err, all[2].At, all[2].Err)
	}
}
