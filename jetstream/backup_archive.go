package jetstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server/archive"

	"stackstream/event"
)

// A snapshot of a stream that is written to has the messages up to the last one at its beginning, as far as they are still
// there when it comes to them. A cursor that was replaced meanwhile is not, nor is its successor: with the events alone
// nobody could go on. So the cursors are read before the snapshot is made, and of every row of events that has a cursor
// only what comes before that counts. Rows are independent of one another, so it does not matter that each is cut at a moment
// of its own. What was written down of a command that set a source back stands behind the cursor, and goes with it: see
// publisher.SetBack.

const (
	cursorPrefix   = "events.cursor."
	cursorSubjects = cursorPrefix + ">"
	bodySubjects   = "$O." + event.BucketBodies + ".M.*"
	headerSource   = "Nats-Stream-Source"
	stateName      = "state.json"
	consumerPrefix = "consumers/"
)

// isCursor tells cursors and choices, of which the newest counts, from what is told of commands below them.
func isCursor(subject string) bool {
	return strings.HasPrefix(subject, cursorPrefix) && !event.IsCommands(subject)
}

// cursorOf is the subject of the cursor that stands behind what is on subject; "" for none.
func cursorOf(subject string) string {
	if event.IsCommands(subject) {
		of := subject[:strings.LastIndexByte(subject, '.')]
		if p, found := strings.CutSuffix(of, "._"); found {
			return p // of the choice
		}
		return of
	}
	p, s, ok := event.SubjectProvider(subject)
	switch {
	case !ok || isCursor(subject):
		return ""
	case s != "":
		return event.RawCursorSubject(p, s)
	default:
		return event.NormalizedCursorSubject(p)
	}
}

func find(records []record, subject string) *record {
	for i := range records {
		if records[i].Subject == subject {
			return &records[i]
		}
	}
	return nil
}

// Held is what counts of a snapshot.
type Held struct {
	Messages  uint64    `json:"messages"`
	Bytes     uint64    `json:"bytes"`
	First     uint64    `json:"first_seq"`
	Last      uint64    `json:"last_seq"` // of the snapshot, whether it counts or not
	FirstTime time.Time `json:"first_time,omitzero"`
	LastTime  time.Time `json:"last_time,omitzero"`
	// Through: all that the stream held up to this sequence counts.
	Through uint64 `json:"through_seq"`
	// Copied is, for each subject of a stream that copies another, the last sequence there that it has a copy of.
	Copied map[string]uint64 `json:"copied,omitempty"`
	// Doubts are what a reader of the stream would stumble over. A backup has it as it was.
	Doubts []string `json:"doubts,omitempty"`
}

const (
	maxDoubts = 10
	// maxStored is more than any server takes in one message.
	maxStored = 128 << 20
)

// message is an entry of a snapshot. Its bytes are valid until the next one.
type message struct {
	subject string
	seq     uint64
	time    int64
	header  []byte // as stored
	body    []byte
}

// scan goes through a snapshot.
type scan struct {
	stream  string
	cursors []record // by sequence
	held    Held
	// total is how many messages the snapshot is to have, seen those that it had so far; others may look meanwhile.
	total, seen atomic.Uint64

	behind map[string]uint64    // the sequence of each cursor, by subject
	traces map[string]string    // the batch whose second message is a cursor's trace, by that cursor's subject
	rows   map[string]event.Seq // the last number of each row, by the cursor's subject
	wanted map[string]bool      // subjects that were not seen yet
	began  func(state streamState) error
	take   func(*message) error
}

func newScan(stream string, cursors []record) *scan {
	s := &scan{stream: stream, rows: map[string]event.Seq{}, traces: map[string]string{}, wanted: map[string]bool{}}
	if cursors != nil {
		s.behind = make(map[string]uint64, len(cursors))
	}
	s.cursors = slices.SortedFunc(slices.Values(cursors), func(a, b record) int { return int(int64(a.Sequence) - int64(b.Sequence)) })
	for _, m := range cursors {
		s.behind[m.Subject] = m.Sequence
		if id := headerValue(m.Header, headerBatchID); id != "" && headerValue(m.Header, headerBatchSequence) == "1" {
			s.traces[m.Subject] = id
		}
	}
	return s
}

// want has missing return those of the subjects that the snapshot does not have.
func (s *scan) want(subjects []string) {
	for _, subject := range subjects {
		s.wanted[subject] = true
	}
}

func (s *scan) missing() []string {
	var found []string
	for subject := range s.wanted {
		found = append(found, subject)
	}
	slices.Sort(found)
	return found
}

var errNoSnapshot = errors.New("is not a whole snapshot of a stream")

// read goes through a snapshot to its end.
func (s *scan) read(from io.Reader) error {
	r := archive.NewReader(s2.NewReader(from))
	head, err := r.Next()
	if err != nil || head.Name != stateName {
		return fmt.Errorf("%w: %w", errNoSnapshot, errors.Join(err, errors.New("it does not begin with the stream's state")))
	}
	var state streamState
	if err := json.NewDecoder(r).Decode(&state); err != nil {
		return fmt.Errorf("%w: %w", errNoSnapshot, err)
	}
	if len(s.cursors) > 0 {
		// It was the first message and is replaced.
		state.FirstSeq = min(state.FirstSeq, s.cursors[0].Sequence)
	}
	s.held.First, s.held.Last, s.held.Through = state.FirstSeq, state.LastSeq, state.LastSeq
	s.total.Store(state.Msgs)
	if s.began != nil {
		if err := s.began(state); err != nil {
			return err
		}
	}
	var buf []byte
	pending := s.cursors
	for {
		head, err := r.Next()
		if err != nil {
			return fmt.Errorf("%w: %w", errNoSnapshot, noEnd(err))
		}
		if strings.HasPrefix(head.Name, consumerPrefix) && head.Sequence == 0 {
			continue
		}
		if head.Sequence == 0 {
			break // the end
		}
		if head.HeaderSize+head.PayloadSize > maxStored {
			return fmt.Errorf("%w: message %d has %d bytes", errNoSnapshot, head.Sequence, head.HeaderSize+head.PayloadSize)
		}
		buf = slices.Grow(buf[:0], int(head.HeaderSize+head.PayloadSize))[:head.HeaderSize+head.PayloadSize]
		if _, err := io.ReadFull(r, buf); err != nil && len(buf) > 0 {
			return fmt.Errorf("%w: %w", errNoSnapshot, noEnd(err))
		}
		for len(pending) > 0 && pending[0].Sequence <= head.Sequence {
			if err := s.cursor(&pending[0]); err != nil {
				return err
			}
			pending = pending[1:]
		}
		s.seen.Add(1)
		m := message{
			subject: head.Name, seq: head.Sequence, time: head.Timestamp, header: buf[:head.HeaderSize], body: buf[head.HeaderSize:],
		}
		if err := s.message(&m); err != nil {
			return err
		}
	}
	for i := range pending {
		if err := s.cursor(&pending[i]); err != nil {
			return err
		}
	}
	s.compare()
	return nil
}

func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cursor takes one of the cursors in its place.
func (s *scan) cursor(c *record) error {
	if c.Sequence > s.held.Last {
		return unavailable("read a snapshot of "+s.stream, fmt.Errorf("it ends at %d, the cursor %s was there at %d",
			s.held.Last, c.Subject, c.Sequence))
	}
	return s.keep(&message{subject: c.Subject, seq: c.Sequence, time: c.Time.UnixNano(), header: c.Header, body: c.Data})
}

// message takes a message of the snapshot, if it counts.
func (s *scan) message(m *message) error {
	delete(s.wanted, m.subject)
	if s.behind != nil {
		row := cursorOf(m.subject)
		switch {
		case isCursor(m.subject):
			if m.seq > s.behind[m.subject] { // one before it may be there still, see takeTurn
				s.held.Through = min(s.held.Through, m.seq-1)
			}
			return nil // as it was read before, or newer
		case row != "" && m.seq > s.behind[row] && !s.isTrace(row, m):
			s.held.Through = min(s.held.Through, m.seq-1)
			return nil
		case row != "" && headerValue(m.header, event.HeaderSeq) != "":
			s.follow(row, m)
		}
	}
	if s.stream == event.StreamDead {
		s.copied(m)
	}
	return s.keep(m)
}

// isTrace tells whether a message, which stands behind the cursor of its row, was written with that as what is told of it.
func (s *scan) isTrace(row string, m *message) bool {
	id := s.traces[row]
	return id != "" && event.IsCommands(m.subject) && m.seq == s.behind[row]+1 &&
		headerValue(m.header, headerBatchID) == id && headerValue(m.header, headerBatchSequence) == "2"
}

// copied notes of which message this is a copy.
func (s *scan) copied(m *message) {
	from := strings.Fields(headerValue(m.header, headerSource))
	if len(from) < 2 || from[0] != event.StreamNormalized {
		return
	}
	if seq, err := strconv.ParseUint(from[1], 10, 64); err == nil {
		if s.held.Copied == nil {
			s.held.Copied = map[string]uint64{}
		}
		s.held.Copied[m.subject] = max(s.held.Copied[m.subject], seq)
	}
}

func (s *scan) keep(m *message) error {
	s.held.Messages++
	s.held.Bytes += uint64(len(m.subject) + len(m.header) + len(m.body))
	s.held.LastTime = time.Unix(0, m.time).UTC()
	if s.held.Messages == 1 {
		s.held.FirstTime = s.held.LastTime
	}
	if s.take != nil {
		return s.take(m)
	}
	return nil
}

// follow looks whether the numbers of a row are without gap.
func (s *scan) follow(row string, m *message) {
	seq, err := strconv.ParseUint(headerValue(m.header, event.HeaderSeq), 10, 64)
	if err != nil {
		s.doubt("the number on %s at %d is none", m.subject, m.seq)
		return
	}
	if last, known := s.rows[row]; known && event.Seq(seq) != last+1 {
		s.doubt("number %d on %s follows number %d, at %d", seq, m.subject, last, m.seq)
	}
	s.rows[row] = event.Seq(seq)
}

// compare looks whether each row ends where its cursor says.
func (s *scan) compare() {
	for _, c := range s.cursors {
		var at struct {
			Position event.Seq `json:"position"`
		}
		last, has := s.rows[c.Subject]
		if has && json.Unmarshal(c.Data, &at) == nil && at.Position != last {
			s.doubt("the cursor %s is at number %d, the last one there is is %d", c.Subject, at.Position, last)
		}
	}
}

func (s *scan) doubt(format string, args ...any) {
	if len(s.held.Doubts) < maxDoubts {
		s.held.Doubts = append(s.held.Doubts, fmt.Sprintf(format, args...))
	}
}

// headerValue returns the value of a header in the form that it is stored in, "" if it is not there.
func headerValue(stored []byte, name string) string {
	_, rest, found := bytes.Cut(stored, []byte("\r\n"+name+":"))
	if !found {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(bytes.TrimSpace(value))
}

// rewrite is what becomes of a snapshot on its way back into a server.
type rewrite struct {
	durables []Durable
	last     uint64 // what the stream's last sequence is to be
	change   func(*message) error
}

// write goes through a snapshot and writes what counts as a snapshot that a server takes.
func (s *scan) write(from io.Reader, to io.Writer, rw rewrite) error {
	packed := s2.NewWriter(to, s2.WriterBlockSize(pieceBytes), s2.WriterConcurrency(1))
	w := archive.NewWriter(packed)
	put := func(head archive.Header, parts ...[]byte) error {
		if err := w.WriteHeader(&head); err != nil {
			return err
		}
		for _, part := range parts {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	}
	s.began = func(state streamState) error {
		state.Consumers = len(rw.durables)
		state.LastSeq = max(state.LastSeq, rw.last)
		if state.Msgs == 0 && len(s.cursors) == 0 {
			state.FirstSeq = state.LastSeq + 1 // as an empty stream has it
		}
		text, err := json.Marshal(state)
		if err != nil {
			return err
		}
		if err := put(archive.Header{Name: stateName, PayloadSize: int64(len(text))}, text); err != nil {
			return err
		}
		for _, d := range rw.durables {
			text, err := json.Marshal(d)
			if err != nil {
				return err
			}
			if err := put(archive.Header{Name: consumerPrefix + d.Config.name(), PayloadSize: int64(len(text))}, text); err != nil {
				return err
			}
		}
		return nil
	}
	s.take = func(m *message) error {
		if rw.change != nil {
			if err := rw.change(m); err != nil {
				return err
			}
		}
		return put(archive.Header{
			Name: m.subject, Timestamp: m.time, Sequence: m.seq, HeaderSize: int64(len(m.header)), PayloadSize: int64(len(m.body)),
		}, m.header, m.body)
	}
	if err := s.read(from); err != nil {
		return err
	}
	if err := put(archive.Header{}); err != nil {
		return err
	}
	return errors.Join(w.Close(), packed.Close())
}
