package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/event"
)

const (
	provider event.Provider = "cloud-1"
	source   event.Source   = "panko"
)

var epoch = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

// at is the time of the n-th thing.
func at(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

// rawWorld is a source with a fixed number of events, and the stream they must end in.
type rawWorld struct {
	t      *rapid.T
	events []event.Raw
	wild   *wild
	bodies *memoryBodies
	limits Limits
}

func (w *rawWorld) choice() event.Fence {
	subject := event.ChoiceSubject(provider)
	return event.Fence{Subject: subject, Sequence: w.wild.last(subject, w.wild.end())}
}

// progress is what the source says behind its first n events.
func progress(n int) event.Progress {
	return event.Progress{Cursor: json.RawMessage(strconv.Itoa(n)), Watermark: at(n), Newest: at(n)}
}

// other commits one event as another process would, undisturbed.
func (w *rawWorld) other() {
	other := NewRaw(w.wild.stream, w.bodies, provider, source, w.choice(), Options{Owner: "other", Limits: w.limits})
	c, err := other.Open(context.Background())
	if err != nil {
		w.t.Fatalf("other writer: %v", err)
	}
	n := int(c.Position)
	if n == len(w.events) {
		return
	}
	if _, err := other.Commit(context.Background(), w.events[n:n+1], progress(n+1)); err != nil {
		w.t.Fatalf("other writer: %v", err)
	}
}

// collect is what a process does: it opens and commits until all is done (true), or it is fenced or dies (false).
func (w *rawWorld) collect() bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.wild.die = cancel
	raw := NewRaw(w.wild, w.bodies, provider, source, w.choice(), Options{Limits: w.limits})
	atOnce(&raw.writer)
	for {
		c, err := raw.Open(ctx)
		if err != nil {
			return false
		}
		n := int(c.Position)
		for n < len(w.events) {
			k := rapid.IntRange(0, len(w.events)-n).Draw(w.t, "events in commit")
			at, err := raw.Commit(ctx, w.events[n:n+k], progress(n+k))
			switch {
			case err == nil:
				w.stored(w.events[n:n+k], at)
				n += k
				continue
			case ctx.Err() != nil:
				if !errors.Is(err, context.Canceled) {
					w.t.Fatalf("commit after the context ended: %v", err)
				}
				return false
			case event.KindOf(err) != event.Fenced:
				w.t.Fatalf("commit: %v", err)
			}
			if _, err := raw.Commit(ctx, nil, event.Progress{}); event.KindOf(err) != event.Invalid {
				w.t.Fatalf("a fenced writer commits again without Open: %v", err)
			}
			break
		}
		if n == len(w.events) {
			return true
		}
		if w.choice() != raw.fence {
			return false
		}
	}
}

// stored checks what a successful Commit returned.
func (w *rawWorld) stored(events []event.Raw, at []event.StreamSeq) {
	if len(at) != len(events) {
		w.t.Fatalf("%d sequences for %d events", len(at), len(events))
	}
	for i, seq := range at {
		if seq == 0 || seq > w.wild.end() {
			w.t.Fatalf("event %q is said to be at %d of %d", events[i].ID, seq, w.wild.end())
		}
		if id := w.wild.messages[seq-1].Header.Get(event.HeaderID); id != string(events[i].ID) {
			w.t.Fatalf("event %q is said to be at %d, where %q is", events[i].ID, seq, id)
		}
	}
}

// check reads the stream from its beginning: the first events of the source, each once and in order, in batches within
// the limits, and behind every batch a cursor that says exactly what is before it. It returns how many events there are.
func (w *rawWorld) check() int {
	count, inBatch, bytesInBatch := 0, 0, 0
	var before event.RawCursor
	for _, m := range w.wild.messages {
		switch m.Subject {
		case event.RawSubject(provider, source):
			r, err := event.ParseRaw(m)
			if err != nil {
				w.t.Fatalf("message %d: %v", m.Sequence, err)
			}
			if count == len(w.events) || r.ID != w.events[count].ID {
				w.t.Fatalf("message %d is event %q, after %d events", m.Sequence, r.ID, count)
			}
			body, err := w.bodies.whole(m.Message)
			if err != nil || !bytes.Equal(body, w.events[count].Body) {
				w.t.Fatalf("event %q has another body: %v", r.ID, err)
			}
			count++
			inBatch++
			bytesInBatch += len(m.Body)
			if int(r.Seq) != count {
				w.t.Fatalf("event %d has Evt-Seq %d", count, r.Seq)
			}
			if !r.Watermark.IsZero() && !r.Watermark.Equal(at(count)) {
				w.t.Fatalf("event %d carries the watermark %v", count, r.Watermark)
			}
		case event.RawCursorSubject(provider, source):
			var c event.RawCursor
			if err := event.DecodeRecord(m, &c); err != nil {
				w.t.Fatal(err)
			}
			var read int
			if c.Cursor != nil {
				if err := json.Unmarshal(c.Cursor, &read); err != nil {
					w.t.Fatal(err)
				}
			}
			if int(c.Position) != count || read > count || c.Watermark.After(at(count)) || c.Watermark.Before(before.Watermark) {
				w.t.Fatalf("behind %d events the cursor is %+v", count, c)
			}
			if count > 0 && !c.Received.Equal(w.events[count-1].Received) {
				w.t.Fatalf("behind event %d the cursor says received %v", count, c.Received)
			}
			if inBatch > w.limits.Events || inBatch > 1 && bytesInBatch > w.limits.Bytes {
				w.t.Fatalf("a batch of %d events with %d bytes", inBatch, bytesInBatch)
			}
			before, inBatch, bytesInBatch = c, 0, 0
		}
	}
	if inBatch != 0 {
		w.t.Fatalf("%d events with no cursor behind them", inBatch)
	}
	return count
}

func TestRawEachEventOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &rawWorld{t: t, bodies: newBodies(), limits: Limits{Events: 3, Bytes: 2000, MaxBody: 1500}}
		for i := range rapid.IntRange(1, 12).Draw(t, "events") {
			body := bytes.Repeat([]byte{byte('a' + i)}, rapid.SampledFrom([]int{0, 10, 700, 1200, 3000}).Draw(t, "size"))
			w.events = append(w.events, event.Raw{ID: event.ID(fmt.Sprintf("e%d", i)), Received: at(i), Body: body})
		}
		s := &stream{maxBody: rapid.SampledFrom([]int{0, 600}).Draw(t, "largest body the server takes")}
		w.wild = &wild{stream: s, t: t, faults: rapid.IntRange(0, 25).Draw(t, "faults")}
		w.wild.other = w.other
		w.wild.choose = func() { s.put(event.Message{Subject: event.ChoiceSubject(provider)}) }
		w.bodies.fail = func() error {
			if w.wild.draw(stored, stored, unavailable) == unavailable {
				return &event.Error{Kind: event.Unavailable, Op: "put"}
			}
			return nil
		}
		for !w.collect() {
			w.check()
		}
		for _, b := range w.wild.late {
			_, _ = s.Append(context.Background(), b)
		}
		if n := w.check(); n != len(w.events) {
			t.Fatalf("%d of %d events are stored", n, len(w.events))
		}
	})
}
