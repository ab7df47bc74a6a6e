package model_test

import (
	"fmt"
	"time"

	"stackstream/event"
)

// stream is a stream with the rules of atomic batches. It keeps everything that was ever stored, so that what a replica
// that lags would answer can still be told.
type stream struct {
	name    string
	created time.Time
	history []event.Stored
	gone    []bool // expired or rolled up

	maxBytes int // 0 for no limit
	maxSize  int // of one message, 0 for no limit

	// stored is told of each batch before anybody else can see it.
	stored func(batch []event.Stored)
}

func newStream(name string, created time.Time) *stream { return &stream{name: name, created: created} }

func (s *stream) end() event.StreamSeq { return event.StreamSeq(len(s.history)) }

// last is the sequence of the last message on a subject, as a server sees it that has the stream up to a sequence.
func (s *stream) last(subject string, upTo event.StreamSeq) event.StreamSeq {
	for i := int(min(upTo, s.end())) - 1; i >= 0; i-- {
		if s.history[i].Subject == subject {
			return event.StreamSeq(i + 1)
		}
	}
	return 0
}

// at is the last message on a subject, as a server sees it that has the stream up to a sequence.
func (s *stream) at(subject string, upTo event.StreamSeq) (event.Stored, bool) {
	seq := s.last(subject, upTo)
	if seq == 0 {
		return event.Stored{}, false
	}
	return s.history[seq-1], true
}

// size is what a message takes, roughly.
func size(m event.Message) int {
	n := len(m.Subject) + len(m.Body)
	for name, values := range m.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// append is what the leader does with a batch: all of it or nothing.
func (s *stream) append(b event.Batch) (event.StreamSeq, error) {
	refuse := func(kind event.Kind, last event.StreamSeq) (event.StreamSeq, error) {
		return 0, &event.Error{Kind: kind, Op: "append to " + s.name, Last: last}
	}
	bytes := size(b.Cursor)
	for _, m := range b.Messages {
		if s.maxSize > 0 && size(m) > s.maxSize {
			return refuse(event.TooLarge, 0)
		}
		bytes += size(m)
	}
	if b.Fence.Subject != "" && len(b.Messages) > 0 {
		if last := s.last(b.Fence.Subject, s.end()); last != b.Fence.Sequence {
			return refuse(event.Fenced, last)
		}
	}
	if last := s.last(b.Cursor.Subject, s.end()); last != b.Expect {
		return refuse(event.Fenced, last)
	}
	if s.maxBytes > 0 && s.bytes()+bytes > s.maxBytes {
		return refuse(event.Full, 0)
	}
	replaced := []string{b.Cursor.Subject}
	if len(b.Messages) > 0 && b.Messages[0].Subject == b.Fence.Subject {
		replaced = append(replaced, b.Fence.Subject)
	}
	for _, subject := range replaced {
		if last := s.last(subject, s.end()); last > 0 {
			s.gone[last-1] = true // Nats-Rollup: sub
		}
	}
	first := len(s.history)
	for _, m := range b.Messages {
		s.put(m)
	}
	s.put(b.Cursor)
	if s.stored != nil {
		s.stored(s.history[first:])
	}
	return s.end(), nil
}

func (s *stream) put(m event.Message) {
	s.history = append(s.history, event.Stored{Message: m, Sequence: s.end() + 1, Time: time.Now()})
	s.gone = append(s.gone, false)
}

func (s *stream) bytes() int {
	n := 0
	for i, m := range s.history {
		if !s.gone[i] {
			n += size(m.Message)
		}
	}
	return n
}

// expire drops what is older than a sequence, but for cursors: those have Nats-TTL: never.
func (s *stream) expire(before event.StreamSeq, keep func(subject string) bool) {
	for i := range s.history[:before-1] {
		s.gone[i] = s.gone[i] || !keep(s.history[i].Subject)
	}
}

// cut loses what is behind a sequence, as a stream does that was restored from a backup.
func (s *stream) cut(last event.StreamSeq) {
	s.history, s.gone = s.history[:last:last], s.gone[:last:last]
	for i := range s.gone {
		s.gone[i] = false // what was rolled up since is there again; older cursors do no harm
	}
}

// renew makes the stream again, empty.
func (s *stream) renew() {
	s.history, s.gone, s.created = nil, nil, s.created.Add(time.Hour)
}

// held are the messages that the stream has, from one sequence up to another.
func (s *stream) held(from, upTo event.StreamSeq) []event.Stored {
	var out []event.Stored
	for i := max(from, 1); i <= min(upTo, s.end()); i++ {
		if !s.gone[i-1] {
			out = append(out, s.history[i-1])
		}
	}
	return out
}

func (s *stream) String() string {
	text := s.name + ":"
	for i, m := range s.history {
		mark := ""
		if s.gone[i] {
			mark = "-"
		}
		text += fmt.Sprintf(" %s%d=%s", mark, i+1, m.Subject)
		if id := m.Header.Get(event.HeaderID); id != "" {
			text += "(" + id + ")"
		}
	}
	return text
}
