package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
)

// normWorld is a number of outcomes, and the stream they must end in.
type normWorld struct {
	t        *rapid.T
	outcomes []event.Outcome
	// want has the subject and the id of every message that the outcomes give, and until[i] how many those of the
	// first i outcomes are.
	want   []message
	until  []int
	wild   *wild
	bodies *memoryBodies
	limits Limits
}

type message struct{ subject, id string }

var rawStream = event.RawStream{Created: epoch}

func (w *normWorld) draw(n int) {
	seqs := map[event.Source]event.Seq{}
	w.until = []int{0}
	for i := range n {
		s := rapid.SampledFrom([]event.Source{"panko", "amqp-nova"}).Draw(w.t, "source")
		kind := rapid.SampledFrom([]string{"events", "dead", "unwritable", "nothing", "too many"}).Draw(w.t, "outcome")
		if kind != "nothing" { // which is what becomes of a raw event that was dealt with before
			seqs[s]++
		}
		o := event.Outcome{Converter: "test/1", Raw: event.StoredRaw{
			Raw:      event.Raw{ID: event.ID(fmt.Sprintf("r%d", i)), Received: at(i), Body: w.body(i)},
			Provider: provider, Source: s, Seq: seqs[s], Sequence: event.StreamSeq(3*i + 2),
		}}
		dead := message{event.DeadSubject(provider), string(o.Raw.ID)}
		switch kind {
		case "dead":
			o.Dead = &event.DeadLetter{Reason: event.ReasonMalformed, Detail: "no\r\nreason"}
			w.want = append(w.want, dead)
		case "unwritable":
			o.Events = []event.Event{{MessageID: "fine"}, {MessageID: "bad", Payload: []byte("{")}}
			w.want = append(w.want, dead)
		case "too many":
			o.Events = make([]event.Event, maxEvents+1)
			w.want = append(w.want, dead)
		case "events":
			for j := range rapid.IntRange(1, 5).Draw(w.t, "events") {
				id := fmt.Sprintf("r%d.%d", i, j)
				payload, _ := json.Marshal(string(w.body(i)))
				o.Events = append(o.Events, event.Event{MessageID: id, EventType: "test", Payload: payload})
				w.want = append(w.want, message{event.NormalizedSubject(provider), id})
			}
		}
		w.outcomes = append(w.outcomes, o)
		w.until = append(w.until, len(w.want))
	}
}

func (w *normWorld) body(i int) []byte {
	return bytes.Repeat([]byte{byte('a' + i)}, rapid.SampledFrom([]int{0, 10, 900, 4000}).Draw(w.t, "size"))
}

// after is how many outcomes lie behind a cursor.
func (w *normWorld) after(c event.NormalizedCursor) int {
	n := 0
	for n < len(w.outcomes) && w.outcomes[n].Raw.Sequence <= c.RawSeq {
		n++
	}
	return n
}

func (w *normWorld) other() {
	other := NewNormalized(w.wild.stream, w.bodies, provider, Options{Owner: "other", Limits: w.limits})
	c, err := other.Open(context.Background())
	if err != nil {
		w.t.Fatalf("other writer: %v", err)
	}
	n := w.after(c)
	if n == len(w.outcomes) {
		return
	}
	if _, err := other.Commit(context.Background(), w.outcomes[n:n+1], rawStream); err != nil {
		w.t.Fatalf("other writer: %v", err)
	}
}

// normalize is what a process does: it opens and commits until all is done (true), or it dies (false).
func (w *normWorld) normalize() bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.wild.die = cancel
	norm := NewNormalized(w.wild, w.bodies, provider, Options{Limits: w.limits})
	atOnce(&norm.writer)
	for {
		c, err := norm.Open(ctx)
		if err != nil {
			return false
		}
		n := w.after(c)
		for n < len(w.outcomes) {
			k := rapid.IntRange(0, len(w.outcomes)-n).Draw(w.t, "outcomes in commit")
			c, err := norm.Commit(ctx, w.outcomes[n:n+k], rawStream)
			if err == nil {
				n += k
				if w.after(c) != n || int(c.Position) != w.until[n] || c.Sequence > w.wild.end() {
					w.t.Fatalf("after %d outcomes the cursor is %+v", n, c)
				}
				continue
			}
			if ctx.Err() != nil {
				return false
			}
			if event.KindOf(err) != event.Fenced {
				w.t.Fatalf("commit: %v", err)
			}
			break
		}
		if n == len(w.outcomes) {
			return true
		}
	}
}

// check reads the stream from its beginning: what the first outcomes give, each once and in order, numbered without a
// gap, and behind every batch a cursor that says exactly which outcomes are before it. It returns how many messages
// there are.
func (w *normWorld) check() int {
	count, inBatch := 0, 0
	for _, m := range w.wild.messages {
		if m.Subject == event.NormalizedCursorSubject(provider) {
			w.checkCursor(m, count)
			inBatch = 0
			continue
		}
		if count == len(w.want) || m.Subject != w.want[count].subject {
			w.t.Fatalf("message %d is on %s, after %d others", m.Sequence, m.Subject, count)
		}
		body, err := w.bodies.whole(m.Message)
		if err != nil {
			w.t.Fatal(err)
		}
		id := m.Header.Get(event.HeaderID)
		if m.Subject == event.NormalizedSubject(provider) {
			var e event.Event
			if err := json.Unmarshal(body, &e); err != nil {
				w.t.Fatal(err)
			}
			if id = e.MessageID; id != m.Header.Get(ceID) || string(e.Payload) == "null" {
				w.t.Fatalf("message %d with ce-id %q has the event %s", m.Sequence, m.Header.Get(ceID), body)
			}
		}
		if id != w.want[count].id {
			w.t.Fatalf("message %d is %q, want %q", m.Sequence, id, w.want[count].id)
		}
		count++
		inBatch++
		if m.Header.Get(event.HeaderSeq) != fmt.Sprint(count) {
			w.t.Fatalf("message %d of the provider has Evt-Seq %s", count, m.Header.Get(event.HeaderSeq))
		}
	}
	if inBatch != 0 {
		w.t.Fatalf("%d messages with no cursor behind them", inBatch)
	}
	return count
}

func (w *normWorld) checkCursor(m event.Stored, count int) {
	var c event.NormalizedCursor
	if err := event.DecodeRecord(m, &c); err != nil {
		w.t.Fatal(err)
	}
	n := w.after(c)
	if int(c.Position) != count || w.until[n] != count || !c.RawCreated.Equal(rawStream.Created) {
		w.t.Fatalf("behind %d messages the cursor is %+v", count, c)
	}
	want := map[event.Source]event.Seq{}
	for _, o := range w.outcomes[:n] {
		if o.Raw.Seq > 0 {
			want[o.Raw.Source] = o.Raw.Seq
		}
	}
	if len(c.Sources) != len(want) {
		w.t.Fatalf("behind %d outcomes the cursor has the sources %v", n, c.Sources)
	}
	for s, seq := range want {
		if c.Sources[s].Position != seq {
			w.t.Fatalf("behind %d outcomes the cursor has %s at %d, want %d", n, s, c.Sources[s].Position, seq)
		}
	}
}

func TestNormalizedEachResultOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &normWorld{t: t, bodies: newBodies(), limits: Limits{Events: 4, Bytes: 3000, MaxBody: 2500}}
		w.draw(rapid.IntRange(1, 8).Draw(t, "raw events"))
		s := &stream{maxBody: rapid.SampledFrom([]int{0, 700}).Draw(t, "largest body the server takes")}
		w.wild = &wild{stream: s, t: t, faults: rapid.IntRange(0, 25).Draw(t, "faults")}
		w.wild.other = w.other
		w.wild.choose = func() {} // this hop has no choice
		for !w.normalize() {
			w.check()
		}
		for _, b := range w.wild.late {
			_, _ = s.Append(context.Background(), b)
		}
		if n := w.check(); n != len(w.want) {
			t.Fatalf("%d of %d messages are stored", n, len(w.want))
		}
	})
}
