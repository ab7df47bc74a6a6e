package jetstream

import (
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"stackstream/event"
)

func TestEveryBatchOfAClusterExpectsItsTurn(t *testing.T) {
	const cursor, choice, raw = "events.cursor.raw.p.s", "events.cursor.raw.p", "events.raw.p.s"
	fence := event.Fence{Subject: choice, Sequence: 7}
	turn, fenced, own := turnSubject+"=0", choice+"=7", "=9"
	for name, test := range map[string]struct {
		events int
		fence  event.Fence
		want   []string // what each message expects
	}{
		"no fence":        {1, event.Fence{}, []string{turn, own}},
		"more, no fence":  {3, event.Fence{}, []string{turn, "", "", own}},
		"fence":           {2, fence, []string{fenced, turn, own}},
		"fence, no place": {1, fence, []string{own, fenced, turn}},
	} {
		t.Run(name, func(t *testing.T) {
			b := event.Batch{Cursor: event.Message{Subject: cursor, Body: []byte("new")}, Expect: 9, Fence: test.fence}
			for range test.events {
				b.Messages = append(b.Messages, event.Message{Subject: raw})
			}
			messages, err := takeTurn(buildMessages(event.StreamRaw, b), func() (event.Message, error) {
				return event.Message{Subject: cursor, Body: []byte("old")}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range messages {
				expects := ""
				if seq := m.Header.Get(headerExpectLast); seq != "" {
					expects = m.Header.Get(headerExpectSubject) + "=" + seq
				}
				got = append(got, expects)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("the messages expect %q, want %q", got, test.want)
			}
			last := messages[len(messages)-1]
			if last.Subject != ingestSubject(cursor) || string(last.Data) != "new" || last.Header.Get(headerTTL) != "never" {
				t.Errorf("the last message is %q on %s with %v", last.Data, last.Subject, last.Header)
			}
			i := slices.IndexFunc(messages, func(m *nats.Msg) bool { return m.Header.Get(headerRollup) != "" })
			if rollup := messages[i]; rollup.Subject != last.Subject || rollup.Header.Get(headerExpectStream) != event.StreamRaw ||
				rollup.Header.Get(headerTTL) != "never" {
				t.Errorf("what replaces the cursor is on %s with %v", rollup.Subject, rollup.Header)
			}
		})
	}
}

func TestACursorThatCanNotBeReadIsTold(t *testing.T) {
	b := event.Batch{
		Messages: []event.Message{{Subject: "events.raw.p.s"}}, Cursor: event.Message{Subject: "events.cursor.raw.p.s"},
		Fence: event.Fence{Subject: "events.cursor.raw.p"},
	}
	gone := unavailable("read", errors.New("gone"))
	_, err := takeTurn(buildMessages(event.StreamRaw, b), func() (event.Message, error) { return event.Message{}, gone })
	if !errors.Is(err, gone) {
		t.Errorf("the error is %v", err)
	}
}
