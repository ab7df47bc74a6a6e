package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"stackstream/event"
)

const (
	cursorSubject   = "events.cursor.raw.cloud-1.panko"
	commandsSubject = "events.cursor.raw.cloud-1.panko.commands"
)

// A command is done once and leaves one trace, whatever becomes of its attempts and whoever writes between them.
func TestCommandIsDoneOnce(t *testing.T) {
	for between := range 4 {
		synctest.Test(t, func(t *testing.T) { checkCommand(t, between) })
	}
}

func checkCommand(t *testing.T, left int) {
	s := &stream{}
	raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{Owner: "collector"})
	if _, err := raw.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit := func() {
		if _, err := raw.Commit(t.Context(), []event.Raw{{ID: "a"}}, event.Progress{}); err != nil {
			t.Fatal(err)
		}
	}
	commit()
	_, err := Command(t.Context(), s, cursorSubject, commandsSubject, Options{Owner: "ada"},
		func(c *event.RawCursor, exists bool) (event.Command, error) {
			if !exists {
				t.Fatal("the cursor is there")
			}
			if left > 0 {
				left--
				commit()
			}
			c.Paused = &event.Pause{By: "ada", Why: "test"}
			return event.Command{Verb: "pause", Why: "test"}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	var traces []event.Command
	for _, m := range s.messages {
		if m.Subject == commandsSubject {
			var c event.Command
			if err := json.Unmarshal(m.Body, &c); err != nil {
				t.Fatal(err)
			}
			traces = append(traces, c)
		}
	}
	if len(traces) != 1 || traces[0].By != "ada" || traces[0].Verb != "pause" || traces[0].At.IsZero() {
		t.Fatalf("traces %+v", traces)
	}
	var before, after event.RawCursor
	if json.Unmarshal(traces[0].Before, &before) != nil || json.Unmarshal(traces[0].After, &after) != nil ||
		before.Paused != nil || after.Paused == nil || before.Position != after.Position {
		t.Errorf("from %s to %s", traces[0].Before, traces[0].After)
	}
	if _, err := raw.Commit(t.Context(), []event.Raw{{ID: "b"}}, event.Progress{}); event.KindOf(err) != event.Fenced {
		t.Errorf("who was at work goes on: %v", err)
	}
	if _, err := raw.Open(t.Context()); event.KindOf(err) != event.Paused {
		t.Errorf("and may begin again: %v", err)
	}
	if _, err := raw.Commit(t.Context(), nil, event.Progress{}); event.KindOf(err) != event.Invalid {
		t.Errorf("and may write: %v", err)
	}
}

func TestCommandThatFindsNothingToDo(t *testing.T) {
	s := &stream{}
	_, err := Command(t.Context(), s, cursorSubject, commandsSubject, Options{},
		func(_ *event.RawCursor, exists bool) (event.Command, error) {
			if exists {
				t.Error("there is no cursor")
			}
			return event.Command{}, ErrUnchanged
		})
	if !errors.Is(err, ErrUnchanged) || len(s.messages) != 0 {
		t.Errorf("%v, %d messages", err, len(s.messages))
	}
}

// The answer to a command may be lost; then it is found out whether it is done.
func TestCommandWhoseAnswerIsLost(t *testing.T) {
	s := &stream{}
	lose := true
	log := fakeLog{
		readCursor: s.ReadCursor,
		append: func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
			seq, err := s.Append(ctx, b)
			if lose {
				lose = false
				return 0, &event.Error{Kind: event.Unknown, Op: "append"}
			}
			return seq, err
		},
	}
	record, err := Command(t.Context(), log, "events.cursor.raw.cloud-1", event.RawCommandsSubject(provider, ""), Options{Owner: "ada"},
		func(c *event.Choice, _ bool) (event.Command, error) {
			c.Kind = "amqp"
			return event.Command{Verb: "set"}, nil
		})
	if err != nil || record.Kind != "amqp" || len(s.messages) != 2 {
		t.Errorf("%+v, %v, %d messages", record, err, len(s.messages))
	}
}
