package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/normalizer"
	"stackstream/publisher"
	"stackstream/replay"
)

const (
	cloud   = event.Provider("cloud")
	jobName = event.ReplayName("fix")
)

var midnight = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// stream has the rules of atomic batches: a batch is stored whole or not at all, behind the cursor that it names.
type stream struct {
	messages []event.Stored
	// before is called before a batch is stored, after behind that; an error of them is what the writer gets.
	before, after func(b *event.Batch) error
}

func (s *stream) last(subject string) (event.Stored, bool) {
	for i := len(s.messages) - 1; i >= 0; i-- {
		if s.messages[i].Subject == subject {
			return s.messages[i], true
		}
	}
	return event.Stored{}, false
}

func (s *stream) put(m event.Message) event.StreamSeq {
	seq := event.StreamSeq(len(s.messages) + 1)
	s.messages = append(s.messages, event.Stored{Message: m, Sequence: seq, Time: midnight.Add(time.Duration(seq) * time.Second)})
	return seq
}

func (s *stream) Append(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if s.before != nil {
		if err := s.before(&b); err != nil {
			return 0, err
		}
	}
	if last, _ := s.last(b.Cursor.Subject); last.Sequence != b.Expect {
		return 0, &event.Error{Kind: event.Fenced, Op: "append", Last: last.Sequence}
	}
	for _, m := range b.Messages {
		s.put(m)
	}
	seq := s.put(b.Cursor)
	if s.after != nil {
		if err := s.after(&b); err != nil {
			return 0, err
		}
	}
	return seq, nil
}

func (s *stream) ReadCursor(ctx context.Context, subject string, _ event.StreamSeq) (event.Stored, bool, error) {
	m, ok := s.last(subject)
	return m, ok, ctx.Err()
}

// world is RAW of one provider, and what jobs write.
type world struct {
	raw     stream
	out     stream
	numbers map[event.Source]event.Seq
	bodies  map[string][]byte
	// expired is the last sequence that RAW no longer has.
	expired event.StreamSeq
}

func newWorld() *world {
	return &world{numbers: map[event.Source]event.Seq{}, bodies: map[string][]byte{}}
}

func (w *world) GetBody(_ context.Context, ref event.BodyRef) ([]byte, error) {
	body, ok := w.bodies[ref.Object]
	if !ok {
		return nil, &event.Error{Kind: event.Expired, Op: "read body"}
	}
	return body, nil
}

func (w *world) PutBody(_ context.Context, ref event.BodyRef, body []byte) error {
	w.bodies[ref.Object] = bytes.Clone(body)
	return nil
}

// add puts a raw event into RAW. Its body says what becomes of it.
func (w *world) add(s event.Source, body string, repair *event.Repair) event.StreamSeq {
	w.numbers[s]++
	r := event.Raw{
		ID: event.ID(fmt.Sprintf("%s-%d", s, w.numbers[s])), Received: midnight, Format: "test", Body: []byte(body), Repair: repair,
	}
	seq := w.raw.put(r.Message(cloud, s, w.numbers[s], event.BodyRef{}))
	w.raw.put(event.Message{Subject: event.RawCursorSubject(cloud, s)})
	return seq
}

// span is a job for a part of RAW, as it is looked up when the job is made.
func (w *world) span(from, to event.StreamSeq) event.Replay {
	r := event.Replay{
		Provider: cloud, From: from, To: to, RawSeq: from - 1, Sources: map[event.Source]event.ReplaySource{},
		State: event.ReplayRunning,
	}
	for _, m := range w.raw.messages {
		raw, err := event.ParseRaw(m)
		if err != nil || m.Sequence < from || m.Sequence > to {
			continue
		}
		at := r.Sources[raw.Source]
		if at.First == 0 {
			at.First, at.Position = raw.Seq, raw.Seq-1
		}
		at.Last = raw.Seq
		r.Sources[raw.Source] = at
	}
	return r
}

// part is a Range over a stream in memory.
type part struct {
	s       *stream
	match   func(subject string) bool
	next    event.StreamSeq
	to      event.StreamSeq
	expired *event.StreamSeq
	fail    func() error
}

func (p *part) Next(ctx context.Context) (event.Stored, error) {
	if ctx.Err() != nil {
		return event.Stored{}, ctx.Err()
	}
	if p.fail != nil {
		if err := p.fail(); err != nil {
			return event.Stored{}, err
		}
	}
	p.next = max(p.next, *p.expired+1)
	for ; p.next <= p.to && int(p.next) <= len(p.s.messages); p.next++ {
		if m := p.s.messages[p.next-1]; p.match(m.Subject) {
			p.next++
			return m, nil
		}
	}
	return event.Stored{}, io.EOF
}

func (p *part) Reopen(last event.StreamSeq) { p.next = last + 1 }
func (p *part) Close()                      {}

func isRaw(subject string) bool { return strings.HasPrefix(subject, "events.raw.") }

// converter makes of a body "a,b" an event of type a and one of type b; "bad" it can't convert, at "panic" it panics, and "large" is an event
// that does not fit a message.
type converter struct{ version string }

func (c converter) Name() string { return "test/" + c.version }

func (c converter) Convert(raw event.Raw) (normalizer.Converted, error) {
	var out normalizer.Converted
	switch string(raw.Body) {
	case "bad":
		return out, errors.New("bad")
	case "panic":
		panic("oh")
	}
	for i, kind := range strings.Split(string(raw.Body), ",") {
		more := ""
		if kind == "large" {
			more = strings.Repeat("x", 5000)
		}
		out.Events = append(out.Events, event.Event{
			MessageID: string(raw.ID) + "." + strconv.Itoa(i), EventType: kind, Timestamp: event.NewTimestamp(midnight),
			Payload: []byte(`{"version":"` + c.version + `","more":"` + more + `"}`),
		})
	}
	return out, nil
}

func (w *world) conversion() normalizer.Conversion {
	return normalizer.Conversion{Converters: map[string]normalizer.Converter{"test": converter{"2"}}, Bodies: w}
}

// job is a process that works on the job.
func (w *world) job(owner string) *replay.Job {
	return &replay.Job{
		Committer: publisher.NewReplay(&w.out, w, jobName, cloud, publisher.Options{Owner: owner, Limits: publisher.Limits{Events: 3}}),
		Raw: func(r *event.Replay) replay.Range {
			return &part{s: &w.raw, match: isRaw, next: r.RawSeq + 1, to: r.To, expired: &w.expired}
		},
		Conversion: w.conversion(),
	}
}

// begin makes the job or goes on with it.
func begin(made event.Replay) func(event.Replay, bool) (event.Replay, error) {
	return func(record event.Replay, exists bool) (event.Replay, error) {
		if exists {
			return record, nil
		}
		return made, nil
	}
}

// written are the messages of the job but for its records, in order.
func (w *world) written() []event.Stored {
	var all []event.Stored
	for _, m := range w.out.messages {
		if strings.HasPrefix(m.Subject, "events.replay.") {
			all = append(all, m)
		}
	}
	return all
}

// line is what a message says: which raw event it was made of, and what it is.
func line(m event.Stored) string {
	what := event.DecodeHeader(m.Header.Get("ce-type"))
	if m.Subject == event.ReplayDeadSubject(jobName, cloud) {
		what = "dead " + m.Header.Get(event.HeaderReason)
	}
	return m.Header.Get(event.HeaderRawSeq) + " " + what
}

func lines(messages []event.Stored) []string {
	var out []string
	for _, m := range messages {
		out = append(out, line(m))
	}
	return out
}

func checkNumbers(t testing.TB, messages []event.Stored) {
	t.Helper()
	for i, m := range messages {
		if got := m.Header.Get(event.HeaderSeq); got != strconv.Itoa(i+1) {
			t.Errorf("message %d has the number %s", i+1, got)
		}
	}
}
