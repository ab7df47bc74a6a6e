package jetstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/publisher"
)

// deadLetters normalizes raw events of a provider, none of which can be converted, of given sizes.
func deadLetters(t *testing.T, c *jetstream.Client, p event.Provider, sizes ...int) {
	t.Helper()
	w := publisher.NewNormalized(c.Normalized(), c.Bodies(), p, publisher.Options{})
	at, err := w.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []event.Outcome
	for i, size := range sizes {
		n := at.RawSeq + event.StreamSeq(i) + 1
		outcomes = append(outcomes, event.Outcome{
			Raw: event.StoredRaw{
				Raw:      event.Raw{ID: event.ID(fmt.Sprint(n)), Format: "oslo", Body: []byte(strings.Repeat("b", size))},
				Provider: p, Source: "amqp", Seq: event.Seq(n), Sequence: n,
			},
			Dead: &event.DeadLetter{Reason: event.ReasonMalformed, Detail: "no JSON"},
		})
	}
	if _, err := w.Commit(t.Context(), outcomes, event.RawStream{}); err != nil {
		t.Fatal(err)
	}
}

// repaired normalizes a raw event that drops a letter.
func repaired(t *testing.T, c *jetstream.Client, p event.Provider, letter event.Seq) {
	t.Helper()
	w := publisher.NewNormalized(c.Normalized(), c.Bodies(), p, publisher.Options{})
	at, err := w.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Commit(t.Context(), []event.Outcome{{Raw: event.StoredRaw{
		Raw:      event.Raw{ID: "x", Repair: &event.Repair{Letter: letter, Drop: true, By: "ada"}},
		Provider: p, Source: event.SourceRedrive, Seq: 1, Sequence: at.RawSeq + 1,
	}}}, event.RawStream{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLetters(t *testing.T) {
	server := jetstreamtest.Server(t)
	c := server.Client(t)
	js, err := natsjs.New(c.Conn())
	if err != nil {
		t.Fatal(err)
	}
	deadLetters(t, c, "cloud", 1, 20, 300)
	deadLetters(t, c, "other", 4)
	repaired(t, c, "cloud", 2)
	copies := func(n uint64) {
		t.Helper()
		jetstreamtest.Eventually(t, "for EVENTS_DEAD to have what NORMALIZED has", func() bool {
			stream, err := js.Stream(t.Context(), event.StreamDead)
			return err == nil && stream.CachedInfo().State.Msgs == n
		})
	}
	copies(5)

	// From now on EVENTS_DEAD copies nothing.
	dead, err := js.Stream(t.Context(), event.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	config := dead.CachedInfo().Config
	config.Sources = nil
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	deadLetters(t, c, "cloud", 5000)
	repaired(t, c, "cloud", 4)

	l := c.Letters()
	names, err := l.Providers(t.Context())
	if err != nil || !slices.Equal(names, []event.Provider{"cloud", "other"}) {
		t.Errorf("providers %v, %v", names, err)
	}
	var got []string
	var last event.Letter
	err = l.Each(t.Context(), "cloud", func(l event.Letter) error {
		got = append(got, fmt.Sprintf("%d %s %d %d", l.Number, l.Stream, l.Size, len(l.Body)))
		last = l
		return nil
	})
	if diff := cmp.Diff([]string{"1 EVENTS_DEAD 1 0", "2 EVENTS_DEAD 20 0", "3 EVENTS_DEAD 300 0", "4 EVENTS_NORMALIZED 5000 0"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	var states []event.Seq
	err = l.States(t.Context(), "cloud", func(s event.LetterState) error {
		states = append(states, s.Letter)
		return nil
	})
	if err != nil || !slices.Equal(states, []event.Seq{2, 4}) {
		t.Errorf("states of %v, %v", states, err)
	}
	enough := errors.New("enough")
	if err := l.Each(t.Context(), "cloud", func(event.Letter) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}
	for _, from := range []struct {
		stream string
		at     event.StreamSeq
		want   []int
	}{{event.StreamDead, 2, []int{20, 300}}, {event.StreamNormalized, last.Sequence, []int{5000}}, {event.StreamDead, 100, nil}} {
		var sizes []int
		err := l.Whole(t.Context(), "cloud", from.stream, from.at, func(l event.Letter) bool {
			sizes = append(sizes, len(l.Body))
			return true
		})
		if err != nil || !slices.Equal(sizes, from.want) {
			t.Errorf("from %d of %s: %v, %v", from.at, from.stream, sizes, err)
		}
	}
}

// What somebody else has written is passed over; what a newer version has is not.
func TestLettersOfOthers(t *testing.T) {
	server := jetstreamtest.Server(t)
	c := server.Client(t)
	put := func(subject string, header event.Header, body any) {
		t.Helper()
		text, _ := json.Marshal(body)
		m := event.Message{Subject: subject, Header: header, Body: text}
		_, err := c.Normalized().Append(t.Context(), event.Batch{
			ID: "b", Messages: []event.Message{m}, Cursor: event.Message{Subject: "events.cursor.normalized.x", Header: event.Header{}, Body: []byte("{}")},
			Expect: last(t, c, "events.cursor.normalized.x"),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	deadLetters(t, c, "cloud", 1)
	put("events.dead.cloud", event.Header{}, "no number")
	put("events.deadstate.cloud", event.Header{}, "no state")
	n := 0
	if err := c.Letters().Each(t.Context(), "cloud", func(event.Letter) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d letters, %v", n, err)
	}
	if err := c.Letters().States(t.Context(), "cloud", func(event.LetterState) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d states, %v", n-1, err)
	}
	put("events.dead.cloud", event.Header{event.HeaderSeq: {"2"}, event.HeaderMessageFormat: {"99"}}, "")
	var newer *event.NewerError
	if err := c.Letters().Each(t.Context(), "cloud", func(event.Letter) error { return nil }); !errors.As(err, &newer) {
		t.Errorf("of a newer version: %v", err)
	}
}

func last(t *testing.T, c *jetstream.Client, subject string) event.StreamSeq {
	t.Helper()
	m, _, err := c.Normalized().ReadCursor(t.Context(), subject, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m.Sequence
}
