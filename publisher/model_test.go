package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"pgregory.net/rapid"

	"stackstream/event"
)

// fakeLog is a Log made of functions.
type fakeLog struct {
	append     func(ctx context.Context, b event.Batch) (event.StreamSeq, error)
	readCursor func(ctx context.Context, subject string, atLeast event.StreamSeq) (event.Stored, bool, error)
}

func (f fakeLog) Append(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
	return f.append(ctx, b)
}

func (f fakeLog) ReadCursor(
	ctx context.Context, subject string, atLeast event.StreamSeq,
) (event.Stored, bool, error) {
	return f.readCursor(ctx, subject, atLeast)
}

// memoryBodies is a Bodies that keeps what it gets and fails as told.
type memoryBodies struct {
	objects map[string][]byte
	fail    func() error
	puts    int
}

func newBodies() *memoryBodies { return &memoryBodies{objects: map[string][]byte{}} }

func (m *memoryBodies) PutBody(_ context.Context, ref event.BodyRef, body []byte) error {
	m.puts++
	if m.fail != nil {
		if err := m.fail(); err != nil {
			return err
		}
	}
	if ref != event.NewBodyRef(body) {
		return fmt.Errorf("object %s is not the name of its body", ref.Object)
	}
	m.objects[ref.Object] = bytes.Clone(body)
	return nil
}

// whole is a message's body, wherever it is.
func (m *memoryBodies) whole(msg event.Message) ([]byte, error) {
	ref := event.BodyRefOf(msg.Header)
	if ref.Object == "" {
		return msg.Body, nil
	}
	body, ok := m.objects[ref.Object]
	if !ok {
		return nil, fmt.Errorf("object %s was not stored before the message that names it", ref.Object)
	}
	return body, nil
}

// stream is a JetStream stream with the rules of atomic batches, and it forgets nothing.
type stream struct {
	messages []event.Stored
	maxBody  int // 0 for no limit
}

// last is the sequence of the last message on a subject up to a position of the stream.
func (s *stream) last(subject string, upTo event.StreamSeq) event.StreamSeq {
	for i := int(upTo) - 1; i >= 0; i-- {
		if s.messages[i].Subject == subject {
			return event.StreamSeq(i + 1)
		}
	}
	return 0
}

func (s *stream) end() event.StreamSeq { return event.StreamSeq(len(s.messages)) }

func (s *stream) Append(_ context.Context, b event.Batch) (event.StreamSeq, error) {
	for _, m := range b.Messages {
		if s.maxBody > 0 && len(m.Body) > s.maxBody {
			return 0, &event.Error{Kind: event.TooLarge, Op: "append"}
		}
	}
	if last := s.last(b.Cursor.Subject, s.end()); last != b.Expect {
		return 0, &event.Error{Kind: event.Fenced, Op: "append", Last: last}
	}
	if b.Fence.Subject != "" && len(b.Messages) > 0 {
		if last := s.last(b.Fence.Subject, s.end()); last != b.Fence.Sequence {
			return 0, &event.Error{Kind: event.Fenced, Op: "append", Last: last}
		}
	}
	if b.Shared.Subject != "" {
		if last := s.last(b.Shared.Subject, s.end()); last != b.SharedExpect {
			return 0, &event.Error{Kind: event.Fenced, Op: "append", Last: last}
		}
	}
	for _, m := range b.Messages {
		s.put(m)
	}
	if b.Shared.Subject != "" {
		s.put(b.Shared)
	}
	return s.put(b.Cursor), nil
}

func (s *stream) put(m event.Message) event.StreamSeq {
	s.messages = append(s.messages, event.Stored{Message: m, Sequence: s.end() + 1})
	return s.end()
}

func (s *stream) ReadCursor(
	_ context.Context, subject string, _ event.StreamSeq,
) (event.Stored, bool, error) {
	return s.readAt(subject, s.end())
}

func (s *stream) readAt(subject string, at event.StreamSeq) (event.Stored, bool, error) {
	seq := s.last(subject, at)
	if seq == 0 {
		return event.Stored{}, false, nil
	}
	return s.messages[seq-1], true, nil
}

// fate is what happens to one request.
type fate string

const (
	stored        fate = "stored"
	storedNoReply fate = "stored, the answer is lost"
	lost          fate = "lost, no answer"
	late          fate = "no answer, may be stored later"
	full          fate = "full"
	unavailable   fate = "unavailable"
	overtaken     fate = "another writer is first"
	chosenAnew    fate = "the fence moves first"
	dieBefore     fate = "the writer dies, nothing is stored"
	dieAfter      fate = "the writer dies, it is stored"
	dieLate       fate = "the writer dies, may be stored later"
)

// wild is a stream behind a network and beside other writers: what happens to a request is drawn.
type wild struct {
	*stream
	t      *rapid.T
	faults int // how many are left; then everything works, so that every run ends
	late   []event.Batch
	// other writes as another process would; choose moves the fence; die ends the writer's context.
	other, choose, die func()
}

func (w *wild) draw(from ...fate) fate {
	if w.faults <= 0 {
		return from[0]
	}
	f := rapid.SampledFrom(from).Draw(w.t, "fate")
	if f != from[0] {
		w.faults--
	}
	return f
}

// latecomers stores some of the batches that may still be stored, if the server would still take them.
func (w *wild) latecomers() {
	var still []event.Batch
	for _, b := range w.late {
		switch rapid.SampledFrom([]string{"wait", "arrive", "vanish"}).Draw(w.t, "late batch") {
		case "wait":
			still = append(still, b)
		case "arrive":
			_, _ = w.stream.Append(context.Background(), b)
		}
	}
	w.late = still
}

// noReply has a kind or has none: both mean that nothing is known.
func (w *wild) noReply() error {
	if rapid.Bool().Draw(w.t, "error has a kind") {
		return &event.Error{Kind: event.Unknown, Op: "append", Err: context.DeadlineExceeded}
	}
	return errors.New("connection closed")
}

func (w *wild) Append(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	w.latecomers()
	switch w.draw(stored, stored, storedNoReply, lost, late, full, unavailable, overtaken, chosenAnew,
		dieBefore, dieAfter, dieLate) {
	case storedNoReply:
		_, _ = w.stream.Append(ctx, b)
		return 0, w.noReply()
	case lost:
		return 0, w.noReply()
	case late:
		w.late = append(w.late, b)
		return 0, w.noReply()
	case full:
		return 0, &event.Error{Kind: event.Full, Op: "append"}
	case unavailable:
		return 0, &event.Error{Kind: event.Unavailable, Op: "append"}
	case overtaken:
		w.other()
	case chosenAnew:
		w.choose()
	case dieBefore:
		w.die()
		return 0, context.Canceled
	case dieAfter:
		_, _ = w.stream.Append(ctx, b)
		w.die()
		return 0, context.Canceled
	case dieLate:
		w.late = append(w.late, b)
		w.die()
		return 0, context.Canceled
	}
	at, err := w.stream.Append(ctx, b)
	var refused *event.Error
	if errors.As(err, &refused) && refused.Kind == event.Fenced && rapid.Bool().Draw(w.t, "refusal tells no sequence") {
		return 0, &event.Error{Kind: event.Fenced, Op: "append"}
	}
	return at, err
}

func (w *wild) ReadCursor(
	ctx context.Context, subject string, atLeast event.StreamSeq,
) (event.Stored, bool, error) {
	if ctx.Err() != nil {
		return event.Stored{}, false, ctx.Err()
	}
	w.latecomers()
	switch w.draw(stored, stored, unavailable, late, dieBefore) {
	case unavailable:
		return event.Stored{}, false, &event.Error{Kind: event.Unavailable, Op: "read"}
	case late: // a replica that lags answers
		at := rapid.Uint64Range(uint64(atLeast), uint64(w.end())).Draw(w.t, "replica at")
		return w.readAt(subject, event.StreamSeq(at))
	case dieBefore:
		w.die()
		return event.Stored{}, false, context.Canceled
	}
	return w.stream.ReadCursor(ctx, subject, atLeast)
}

// atOnce takes the pauses out of a writer.
func atOnce(w *writer) { w.pause = &backoff.ZeroBackOff{} }

// hooksOf collects the results of a writer.
func hooksOf(results *[]event.Kind) Hooks {
	return Hooks{Result: func(k event.Kind, _, _ int, _ time.Duration) { *results = append(*results, k) }}
}
