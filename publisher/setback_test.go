package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackstream/event"
)

const choiceSubject = "events.cursor.raw.cloud-1"

// Whoever writes between, a source is set back once, and fenced are who wrote behind its cursor and who wrote under the choice.
func TestSetBackFencesAllWhoCollect(t *testing.T) {
	for between := range 4 {
		for _, lost := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { checkSetBack(t, between, lost) })
		}
	}
}

func checkSetBack(t *testing.T, between int, lost bool) {
	s := &stream{}
	chosen, err := json.Marshal(event.Choice{Kind: "panko", Why: "panko answers", By: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	s.put(event.Message{Subject: choiceSubject, Body: chosen})
	writer := func(source event.Source) *Raw {
		w := NewRaw(s, newBodies(), provider, source, event.Fence{
			Subject: choiceSubject, Sequence: s.last(choiceSubject, s.end()),
		}, Options{Owner: "collector"})
		if _, err := w.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		return w
	}
	commit := func(w *Raw) error {
		_, err := w.Commit(t.Context(), []event.Raw{{ID: "a"}}, event.Progress{})
		return err
	}
	own, other := writer(source), writer("backfill-gap")
	for _, w := range []*Raw{own, other} {
		if err := commit(w); err != nil {
			t.Fatal(err)
		}
	}
	log := fakeLog{readCursor: s.ReadCursor, append: func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
		seq, err := s.Append(ctx, b)
		if lost && err == nil {
			lost = false
			return 0, &event.Error{Kind: event.Unknown, Op: "append"}
		}
		return seq, err
	}}
	_, err = SetBack(t.Context(), log, provider, source, Options{Owner: "ada"}, func(c *event.RawCursor, exists bool) (event.Command, error) {
		if between > 0 {
			between--
			if between%2 == 0 {
				if err := commit(own); err != nil {
					t.Fatal(err)
				}
			} else {
				s.put(event.Message{Subject: choiceSubject, Body: chosen})
				own, other = writer(source), writer("backfill-gap")
			}
		}
		c.Cursor = event.Cursor(`"back"`)
		return event.Command{Verb: event.VerbRewind, Why: "test"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := len(s.messages)
	cursor, trace, choice := s.messages[n-3], s.messages[n-2], s.messages[n-1]
	if cursor.Subject != cursorSubject || trace.Subject != commandsSubject || choice.Subject != choiceSubject {
		t.Fatalf("it wrote %s, %s and %s", cursor.Subject, trace.Subject, choice.Subject)
	}
	var c event.RawCursor
	var done event.Command
	var is event.Choice
	for text, into := range map[*event.Stored]any{&cursor: &c, &trace: &done, &choice: &is} {
		if err := json.Unmarshal(text.Body, into); err != nil {
			t.Fatal(err)
		}
	}
	if string(c.Cursor) != `"back"` || c.Owner != "ada" || c.Batch == "" || c.Commanded.IsZero() || c.Position == 0 {
		t.Errorf("the cursor is %s", cursor.Body)
	}
	if done.By != "ada" || done.Verb != event.VerbRewind || string(done.After) != string(cursor.Body) || len(done.Before) == 0 {
		t.Errorf("the trace is %s", trace.Body)
	}
	if is.Kind != "panko" || is.Why != "panko answers" || is.By != "c1" || is.Batch == "" {
		t.Errorf("the choice is %s", choice.Body)
	}
	traces := 0
	for _, m := range s.messages {
		if m.Subject == commandsSubject {
			traces++
		}
	}
	if traces != 1 {
		t.Errorf("it left %d traces", traces)
	}
	for _, w := range []*Raw{own, other} {
		if err := commit(w); event.KindOf(err) != event.Fenced {
			t.Errorf("who collects behind %s goes on: %v", w.subject, err)
		}
	}
}

// Whoever is always first is told of each time, and nothing is waited for that the stream need not have: the sequence that a refusal
// names is that of the cursor, which the choice may never come to.
func TestSetBackBesideWhoWritesWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{}
		s.put(event.Message{Subject: choiceSubject, Body: []byte("{}")})
		log := fakeLog{append: s.Append, readCursor: func(ctx context.Context, subject string, atLeast event.StreamSeq) (event.Stored, bool, error) {
			if atLeast > 0 {
				t.Errorf("it wants %s to have come to %d", subject, atLeast)
			}
			return s.ReadCursor(ctx, subject, atLeast)
		}}
		misses, began := 0, time.Now()
		opts := Options{Hooks: Hooks{Waiting: func(err error) {
			if misses++; event.KindOf(err) != event.Fenced {
				t.Errorf("it waits because of %v", err)
			}
		}}}
		writes := 20
		_, err := SetBack(t.Context(), log, provider, source, opts, func(*event.RawCursor, bool) (event.Command, error) {
			if writes > 0 {
				writes--
				s.put(event.Message{Subject: cursorSubject, Body: []byte("{}")})
			}
			return event.Command{Verb: event.VerbSet}, nil
		})
		if err != nil || misses != 20 {
			t.Errorf("%v after %d misses", err, misses)
		}
		if took := time.Since(began); took > 20*200*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

// Both records change, or none, whoever writes between, and whether or not an answer is lost.
func TestBoth(t *testing.T) {
	for between := range 3 {
		for _, lost := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { checkBoth(t, between, lost) })
		}
	}
}

func checkBoth(t *testing.T, between int, lost bool) {
	const otherSubject = "events.cursor.raw.cloud-2"
	s := &stream{}
	s.put(event.Message{Subject: otherSubject, Body: []byte(`{"kind":"panko"}`)})
	log := fakeLog{readCursor: s.ReadCursor, append: func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
		seq, err := s.Append(ctx, b)
		if lost && err == nil {
			lost = false
			return 0, &event.Error{Kind: event.Unknown, Op: "append"}
		}
		return seq, err
	}}
	one := Place{Record: choiceSubject, Commands: choiceSubject + ".commands"}
	other := Place{Record: otherSubject, Commands: otherSubject + ".commands"}
	at, err := Both(t.Context(), log, one, other, Options{Owner: "ada"}, func(a, b *event.Choice) (event.Command, event.Command, error) {
		if between > 0 {
			between--
			s.put(event.Message{Subject: []string{choiceSubject, otherSubject}[between], Body: []byte(`{"kind":"panko"}`)})
		}
		a.Kind, b.Kind = b.Kind, ""
		done := event.Command{Verb: event.VerbRename}
		return done, done, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := len(s.messages)
	subjects := []string{one.Record, one.Commands, other.Commands, other.Record}
	for i, want := range subjects {
		if got := s.messages[n-len(subjects)+i].Subject; got != want {
			t.Fatalf("message %d is on %s, want %s", i, got, want)
		}
	}
	var a, b event.Choice
	var trace event.Command
	for i, into := range map[int]any{0: &a, 2: &trace, 3: &b} {
		if err := json.Unmarshal(s.messages[n-len(subjects)+i].Body, into); err != nil {
			t.Fatal(err)
		}
	}
	if a.Kind != "panko" || b.Kind != "" || a.Batch == "" || b.Batch == "" || at != s.last(otherSubject, s.end()) {
		t.Errorf("%+v and %+v at %d", a, b, at)
	}
	if trace.By != "ada" || !strings.Contains(string(trace.Before), "panko") || strings.Contains(string(trace.After), "panko") {
		t.Errorf("the trace is %+v", trace)
	}
	refused, err := Both(t.Context(), log, one, other, Options{}, func(_, _ *event.Choice) (event.Command, event.Command, error) {
		return event.Command{}, event.Command{}, ErrUnchanged
	})
	if !errors.Is(err, ErrUnchanged) || refused != at || len(s.messages) != n {
		t.Errorf("%v at %d", err, refused)
	}
}

// A provider for which nobody has chosen yet has a choice then that is none.
func TestSetBackWithoutAChoice(t *testing.T) {
	s := &stream{}
	change := func(_ *event.RawCursor, exists bool) (event.Command, error) {
		if !exists {
			return event.Command{}, ErrUnchanged
		}
		return event.Command{Verb: event.VerbSet}, nil
	}
	if _, err := SetBack(t.Context(), s, provider, source, Options{}, change); !errors.Is(err, ErrUnchanged) || len(s.messages) != 0 {
		t.Errorf("%v, %d messages", err, len(s.messages))
	}
	s.put(event.Message{Subject: cursorSubject, Body: []byte("{}")})
	if _, err := SetBack(t.Context(), s, provider, source, Options{}, change); err != nil || len(s.messages) != 4 {
		t.Errorf("%v, %d messages", err, len(s.messages))
	}
}
