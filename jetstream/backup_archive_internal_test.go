package jetstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"

	"stackstream/event"
)

// storedAt is a message of a snapshot: its sequence, subject and number.
type storedAt struct {
	seq     uint64
	subject string
	number  int
}

func (m storedAt) header() []byte {
	if m.number == 0 {
		return nil
	}
	return fmt.Appendf(nil, "NATS/1.0\r\nEvt-Id: x\r\nEvt-Seq: %d\r\n\r\n", m.number)
}

// snapshotOf is what a server sends of a stream with these messages, whose last sequence is last.
func snapshotOf(t testing.TB, last uint64, messages ...storedAt) []byte {
	t.Helper()
	var out bytes.Buffer
	packed := s2.NewWriter(&out)
	w := archive.NewWriter(packed)
	put := func(h archive.Header, body []byte) {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	first := last + 1
	if len(messages) > 0 {
		first = messages[0].seq
	}
	state := fmt.Appendf(nil, `{"messages":%d,"first_seq":%d,"last_seq":%d}`, len(messages), first, last)
	put(archive.Header{Name: stateName, PayloadSize: int64(len(state))}, state)
	for _, m := range messages {
		put(archive.Header{
			Name: m.subject, Sequence: m.seq, Timestamp: int64(m.seq), HeaderSize: int64(len(m.header())), PayloadSize: 2,
		}, append(m.header(), "{}"...))
	}
	put(archive.Header{}, nil)
	if err := errors.Join(w.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func cursorAt(seq uint64, subject string, position int) record {
	return record{Subject: subject, Sequence: seq, Time: time.Unix(0, int64(seq)), Data: fmt.Appendf(nil, `{"position":%d}`, position)}
}

const (
	rowA, rowB       = "events.raw.p.a", "events.raw.p.b"
	cursorA, cursorB = "events.cursor.raw.p.a", "events.cursor.raw.p.b"
)

// What a snapshot has behind the cursors that were read before does not count; cursors that were replaced while it was made
// are put back in their place.
func TestCursorsCutASnapshot(t *testing.T) {
	cursors := []record{
		cursorAt(4, cursorA, 2), cursorAt(1, "events.cursor.raw.p", 0), cursorAt(6, cursorB, 1),
	}
	snapshot := snapshotOf(t, 12,
		// The choice at 1 and the cursors at 4 and 6 were replaced.
		storedAt{2, rowA, 1}, storedAt{3, rowA, 2}, storedAt{5, rowB, 1}, storedAt{7, "events.cursor.raw.p._.commands", 0},
		storedAt{8, rowA, 3}, storedAt{9, cursorA, 0}, storedAt{10, rowB, 2}, storedAt{11, "events.cursor.raw.p.b.commands", 0},
		storedAt{12, "something.else", 0},
	)
	var rewritten bytes.Buffer
	if err := newScan(event.StreamRaw, cursors).write(bytes.NewReader(snapshot), &rewritten, rewrite{last: 100}); err != nil {
		t.Fatal(err)
	}
	again := newScan("", nil)
	var got []uint64
	again.take = func(m *message) error { got = append(got, m.seq); return nil }
	if err := again.read(&rewritten); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{1, 2, 3, 4, 5, 6, 12}; !slices.Equal(got, want) {
		t.Errorf("what counts is %d, want %d", got, want)
	}
	if again.held.First != 1 || again.held.Last != 100 {
		t.Errorf("the stream goes from %d to %d", again.held.First, again.held.Last)
	}
	scan := newScan(event.StreamRaw, cursors)
	if err := scan.read(bytes.NewReader(snapshot)); err != nil {
		t.Fatal(err)
	}
	want := Held{
		Messages: 7, Bytes: scan.held.Bytes, First: 1, Last: 12, FirstTime: time.Unix(0, 1).UTC(), LastTime: time.Unix(0, 12).UTC(),
		Through: 6,
	}
	if diff := cmp.Diff(want, scan.held); diff != "" {
		t.Error(diff)
	}
}

// Of what stands behind a cursor only that counts which was written with it, by the command that set it.
func TestATraceBehindItsCursorCounts(t *testing.T) {
	const traceA = cursorA + ".commands"
	batched := func(id, seq string) []byte {
		return []byte("NATS/1.0\r\nNats-Batch-Id: " + id + "\r\nNats-Batch-Sequence: " + seq + "\r\n\r\n")
	}
	cursor := cursorAt(4, cursorA, 1)
	behind := message{subject: traceA, seq: 5, header: batched("x", "2")}
	for name, c := range map[string]struct {
		change func(cursor *record, behind *message)
		counts bool
	}{
		"the trace":                      {func(*record, *message) {}, true},
		"of another batch":               {func(_ *record, m *message) { m.header = batched("y", "2") }, false},
		"another of the batch":           {func(_ *record, m *message) { m.header = batched("x", "3") }, false},
		"further behind":                 {func(_ *record, m *message) { m.seq++ }, false},
		"of another source":              {func(_ *record, m *message) { m.subject = cursorB + ".commands" }, false},
		"an event":                       {func(_ *record, m *message) { m.subject = rowA }, false},
		"no batch":                       {func(c *record, m *message) { c.Header, m.header = nil, nil }, false},
		"behind a cursor that is no set": {func(c *record, _ *message) { c.Header = batched("x", "4") }, false},
	} {
		at, m := cursor, behind
		at.Header = batched("x", "1")
		c.change(&at, &m)
		s := newScan(event.StreamRaw, []record{at})
		s.held.Through = m.seq
		counted := false
		s.take = func(*message) error { counted = true; return nil }
		if err := s.message(&m); err != nil || counted != c.counts || (s.held.Through == m.seq) != c.counts {
			t.Errorf("%s: it counts %t, through %d (%v)", name, counted, s.held.Through, err)
		}
	}
}

// A lone event of a cluster has the cursor before it once more in front of it.
func TestTheCursorBeforeDoesNotCutASnapshot(t *testing.T) {
	scan := newScan(event.StreamRaw, []record{cursorAt(4, cursorA, 1)})
	err := scan.read(bytes.NewReader(snapshotOf(t, 4, storedAt{2, cursorA, 0}, storedAt{3, rowA, 1}, storedAt{4, cursorA, 0})))
	if err != nil || scan.held.Through != 4 || scan.held.Messages != 2 {
		t.Errorf("%d messages count, through %d (%v)", scan.held.Messages, scan.held.Through, err)
	}
}

func TestASnapshotTellsWhatIsMissing(t *testing.T) {
	scan := newScan(event.StreamRaw, []record{cursorAt(3, cursorA, 5)})
	if err := scan.read(bytes.NewReader(snapshotOf(t, 3, storedAt{1, rowA, 1}, storedAt{2, rowA, 3}))); err != nil {
		t.Fatal(err)
	}
	if len(scan.held.Doubts) != 2 {
		t.Errorf("it tells %q", scan.held.Doubts)
	}
	err := newScan(event.StreamRaw, []record{cursorAt(9, cursorA, 1)}).read(bytes.NewReader(snapshotOf(t, 3, storedAt{1, rowA, 1})))
	if event.KindOf(err) != event.Unavailable {
		t.Errorf("a snapshot that ends before a cursor: %v", err)
	}
	bodies := newScan(streamBodies, nil)
	bodies.want([]string{"$O.EVENTS_BODIES.M.a", "$O.EVENTS_BODIES.M.b"})
	if err := bodies.read(bytes.NewReader(snapshotOf(t, 9, storedAt{2, "$O.EVENTS_BODIES.M.b", 0}))); err != nil {
		t.Fatal(err)
	}
	if got := bodies.missing(); !slices.Equal(got, []string{"$O.EVENTS_BODIES.M.a"}) {
		t.Errorf("missing are %q", got)
	}
}

func TestASnapshotThatIsCutShortIsNone(t *testing.T) {
	whole := snapshotOf(t, 3, storedAt{1, rowA, 1}, storedAt{2, rowA, 2})
	var plain bytes.Buffer
	if _, err := io.Copy(&plain, s2.NewReader(bytes.NewReader(whole))); err != nil {
		t.Fatal(err)
	}
	for n := range plain.Len() {
		var short bytes.Buffer
		w := s2.NewWriter(&short)
		if _, err := w.Write(plain.Bytes()[:n]); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := newScan(event.StreamDead, nil).read(&short); !errors.Is(err, errNoSnapshot) {
			t.Fatalf("%d of %d bytes: %v", n, plain.Len(), err)
		}
	}
}

func TestCopiesLoseTheirIdentity(t *testing.T) {
	for have, want := range map[string]string{
		"EVENTS_NORMALIZED 7 events.dead.* events.dead.* events.dead.p Xk3": "EVENTS_NORMALIZED 7 events.dead.* events.dead.* events.dead.p",
		"EVENTS_NORMALIZED 7 > > events.dead.p":                             "EVENTS_NORMALIZED 7 > > events.dead.p",
		"EVENTS_NORMALIZED 7":                                               "EVENTS_NORMALIZED 7",
	} {
		m := message{header: []byte("NATS/1.0\r\nEvt-Seq: 1\r\nNats-Stream-Source: " + have + "\r\n\r\n")}
		if err := dropIdentity(&m); err != nil {
			t.Fatal(err)
		}
		if got := headerValue(m.header, headerSource); got != want || headerValue(m.header, event.HeaderSeq) != "1" {
			t.Errorf("of %q stays %q", have, got)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(snapshotOf(f, 3, storedAt{1, rowA, 1}, storedAt{3, cursorA, 0}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		scan := newScan(event.StreamRaw, []record{cursorAt(2, cursorA, 1)})
		if err := scan.write(bytes.NewReader(data), io.Discard, rewrite{
			durables: []Durable{}, change: func(m *message) error { return setRawCreated(m, time.Unix(1, 0)) },
		}); err == nil && scan.held.Messages == 0 {
			t.Error("the cursor is gone")
		}
	})
}
