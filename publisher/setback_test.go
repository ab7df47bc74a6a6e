package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

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
