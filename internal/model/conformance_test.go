package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

const (
	tooLarge  = 300_000
	largest   = 256 << 10
	roomBytes = 512 << 10
)

// answer is what an operation says, as far as the model claims to know it.
type answer struct {
	Sequence event.StreamSeq
	Kind     event.Kind
	Last     event.StreamSeq // of a refusal
	// Cursor is what is read back after it, for both sources.
	Cursors [2]event.StreamSeq
	Batches [2]string
}

// either is the model or the real thing.
type either interface {
	Append(ctx context.Context, b event.Batch) (event.StreamSeq, error)
	ReadCursor(ctx context.Context, subject string, atLeast event.StreamSeq) (event.Stored, bool, error)
}

var sources = [2]event.Source{"panko", "amqp"}

func answerOf(t *testing.T, log either, b event.Batch) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seq, err := log.Append(ctx, b)
	a := answer{Sequence: seq, Kind: event.KindOf(err)}
	var known *event.Error
	if errors.As(err, &known) && known.Kind == event.Fenced {
		a.Last = known.Last
	}
	for i, s := range sources {
		m, ok, err := log.ReadCursor(ctx, event.RawCursorSubject(cloud, s), 0)
		if err != nil {
			t.Fatalf("read the cursor: %v", err)
		}
		if ok {
			var c event.RawCursor
			if err := event.DecodeRecord(m, &c); err != nil {
				t.Fatal(err)
			}
			a.Cursors[i], a.Batches[i] = m.Sequence, c.Batch
		}
	}
	return a
}

// twins runs the same operations on the model and on a real server, and compares the answers.
type twins struct {
	t     *testing.T
	model *stream
	c     *jetstream.Client
	real  *jetstream.Log
	n     int
}

func newTwins(t *testing.T) *twins {
	server := jetstreamtest.Server(t, jetstreamtest.MaxPayload(largest), jetstreamtest.Layout(func(l *jetstream.Layout) {
		l.Raw.MaxBytes = roomBytes
	}))
	model := newStream(event.StreamRaw, epoch)
	model.maxBytes, model.maxSize = roomBytes, largest
	return &twins{t: t, model: model, c: server.Client(t)}
}

func (w *twins) append(what string, b event.Batch) answer {
	w.t.Helper()
	w.n++
	w.real = w.c.Raw() // which expects no next batch: the cursor that one written ahead begins with is none of the model's
	want, got := answerOf(w.t, direct{w.model}, b), answerOf(w.t, w.real, b)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("operation %d, %s (-model +server):\n%s\n%s", w.n, what, diff, w.model)
	}
	return got
}

// batch is one of n messages with bodies of a size.
func (w *twins) batch(s event.Source, n, bytes int, expect event.StreamSeq) event.Batch {
	id := fmt.Sprintf("batch %d", w.n)
	body, err := json.Marshal(event.RawCursor{Batch: id})
	if err != nil {
		w.t.Fatal(err)
	}
	b := event.Batch{ID: id, Cursor: event.Message{Subject: event.RawCursorSubject(cloud, s), Body: body}, Expect: expect}
	for i := range n {
		raw := event.Raw{ID: event.ID(fmt.Sprintf("%s %d", id, i)), Received: epoch, Body: make([]byte, bytes)}
		b.Messages = append(b.Messages, raw.Message(cloud, s, event.Seq(i+1), event.BodyRef{}))
	}
	return b
}

func (w *twins) choice(expect event.StreamSeq) event.Batch {
	return event.Batch{ID: "choice", Cursor: event.Message{Subject: event.ChoiceSubject(cloud), Body: []byte("{}")}, Expect: expect}
}

// setBack is one that replaces a cursor and, behind it, the choice.
func (w *twins) setBack(s event.Source, expect, choice event.StreamSeq) event.Batch {
	cursor := w.batch(s, 0, 0, expect).Cursor
	cursor.Header = event.Header{}
	b := w.choice(choice)
	b.Fence = event.Fence{Subject: cursor.Subject, Sequence: expect}
	b.Messages = []event.Message{cursor, {Subject: event.RawCommandsSubject(cloud, s), Header: event.Header{}, Body: []byte("{}")}}
	return b
}

func fencedBy(b event.Batch, seq event.StreamSeq) event.Batch {
	b.Fence = event.Fence{Subject: event.ChoiceSubject(cloud), Sequence: seq}
	return b
}

// The model answers as the server does.
func TestModelIsTrue(t *testing.T) {
	w := newTwins(t)
	choice := w.append("the first choice", w.choice(0)).Sequence
	w.append("a choice that somebody made before", w.choice(0))
	cursor := w.append("the first batch", w.batch("panko", 3, 10, 0)).Sequence
	w.append("a batch of nothing but the cursor", w.batch("amqp", 0, 0, 0))
	cursor = w.append("the next batch", w.batch("panko", 1, 10, cursor)).Sequence
	w.append("an older cursor", w.batch("panko", 1, 10, cursor-2))
	w.append("a cursor that is not there yet", w.batch("panko", 1, 10, cursor+5))
	w.append("an older cursor, without messages", w.batch("panko", 0, 10, cursor-2))
	w.append("no cursor", w.batch("panko", 2, 10, 0))
	w.append("another choice", fencedBy(w.batch("panko", 2, 10, cursor), choice+1))
	w.append("no choice", fencedBy(w.batch("panko", 2, 10, cursor), 0))
	w.append("another choice and an older cursor", fencedBy(w.batch("panko", 2, 10, cursor-2), choice+1))
	w.append("another choice, and no message to look at it", fencedBy(w.batch("panko", 0, 10, cursor), choice+1))
	cursor = w.model.last(event.RawCursorSubject(cloud, "panko"), w.model.end())
	cursor = w.append("the choice that there is", fencedBy(w.batch("panko", 2, 10, cursor), choice)).Sequence
	w.append("a source that is set back under another choice", w.setBack("panko", cursor, choice+1))
	w.append("a source that is set back and has written since", w.setBack("panko", cursor-1, choice))
	before := choice
	choice = w.append("a source that is set back", w.setBack("panko", cursor, choice)).Sequence
	w.append("who wrote behind the cursor that was set back", fencedBy(w.batch("panko", 2, 10, cursor), choice))
	cursor = choice - 2
	w.append("who wrote under the choice then", fencedBy(w.batch("panko", 2, 10, cursor), before))
	cursor = w.append("who has read both", fencedBy(w.batch("panko", 2, 10, cursor), choice)).Sequence
	w.append("a message that is too large", w.batch("panko", 3, tooLarge, cursor))
	w.append("one that is too large with an older cursor", w.batch("panko", 3, tooLarge, cursor-1))
	cursor = w.append("much of what there is room for", w.batch("panko", 2, 200_000, cursor)).Sequence
	w.append("more than there is room for", w.batch("panko", 1, 200_000, cursor))
	w.append("more than there is room for, in all", w.batch("panko", 4, 60_000, cursor))
	w.append("a little more", w.batch("panko", 1, 100, cursor))

	for _, atLeast := range []event.StreamSeq{w.model.end(), w.model.end() + 1} {
		_, _, err := w.real.ReadCursor(t.Context(), event.RawCursorSubject(cloud, "panko"), atLeast)
		if got, want := event.KindOf(err) == event.Regressed, atLeast > w.model.end(); got != want {
			t.Errorf("reading at %d of %d: %v", atLeast, w.model.end(), err)
		}
	}
}

// It does so whatever comes.
func TestModelIsTrueOfAnything(t *testing.T) {
	w := newTwins(t)
	random := rand.New(rand.NewPCG(1, 2))
	const operations = 300
	kinds := map[event.Kind]int{}
	for range operations {
		s := sources[random.IntN(2)]
		guess := func(subject string) event.StreamSeq {
			right := w.model.last(subject, w.model.end())
			switch random.IntN(8) {
			case 0:
				return 0
			case 1:
				return event.StreamSeq(random.Uint64N(uint64(w.model.end()) + 2))
			}
			return right
		}
		var b event.Batch
		switch random.IntN(20) {
		case 0, 1:
			b = w.choice(guess(event.ChoiceSubject(cloud)))
		case 2:
			b = w.setBack(s, guess(event.RawCursorSubject(cloud, s)), guess(event.ChoiceSubject(cloud)))
		default:
			b = w.batch(s, random.IntN(4), random.IntN(300), guess(event.RawCursorSubject(cloud, s)))
			if random.IntN(3) > 0 {
				b = fencedBy(b, guess(event.ChoiceSubject(cloud)))
			}
		}
		kinds[w.append("any", b).Kind]++
	}
	if kinds[0] < operations/4 || kinds[event.Fenced] < operations/10 {
		t.Errorf("hardly anything was compared: %v", kinds)
	}
}
