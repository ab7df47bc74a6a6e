package publisher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// batchSizes is how many events each batch of a stream has.
func batchSizes(s *stream, cursor string) []int {
	var sizes []int
	n := 0
	for _, m := range s.messages {
		if m.Subject == cursor {
			sizes = append(sizes, n)
			n = 0
			continue
		}
		n++
	}
	return sizes
}

func TestRawSplits(t *testing.T) {
	size := func(sizes ...int) []event.Raw {
		var events []event.Raw
		for i, n := range sizes {
			events = append(events, event.Raw{ID: event.ID(fmt.Sprint(i)), Body: make([]byte, n)})
		}
		return events
	}
	const mib = 1 << 20
	tests := []struct {
		name   string
		limits Limits
		events []event.Raw
		want   []int
	}{
		{"no events: the progress alone", Limits{}, nil, []int{0}},
		{"500 events", Limits{}, size(make([]int, 500)...), []int{500}},
		{"501 events", Limits{}, size(make([]int, 501)...), []int{500, 1}},
		{"never more than the server takes", Limits{Events: 5000}, size(make([]int, 1000)...), []int{900, 100}},
		{"one MiB", Limits{}, size(mib/2, mib/2, 1, 1), []int{2, 2}},
		{"a large event goes alone", Limits{}, size(10, mib+1, 10, 10), []int{1, 1, 2}},
		{"a body in an object does not count", Limits{Bytes: 100, MaxBody: 200}, size(60, 201, 40, 1), []int{3, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &stream{}
			raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{Limits: tt.limits})
			open(t, raw)
			at, err := raw.Commit(t.Context(), tt.events, progress(1))
			if err != nil || len(at) != len(tt.events) {
				t.Fatalf("commit: %d sequences, %v", len(at), err)
			}
			if got := batchSizes(s, event.RawCursorSubject(provider, source)); !slices.Equal(got, tt.want) {
				t.Errorf("batches of %v events, want %v", got, tt.want)
			}
		})
	}
}

func TestRawProgress(t *testing.T) {
	s := &stream{}
	raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{Owner: "host-1", Limits: Limits{Events: 2}})
	open(t, raw)
	commit := func(n int, p event.Progress) {
		t.Helper()
		var events []event.Raw
		for i := range n {
			events = append(events, event.Raw{ID: "x", Received: at(i)})
		}
		if _, err := raw.Commit(t.Context(), events, p); err != nil {
			t.Fatal(err)
		}
	}
	first := event.Progress{Cursor: json.RawMessage(`"c1"`), Watermark: at(10), Newest: at(11), Floor: at(9), DedupeFrom: 4}
	commit(1, first)
	second := event.Progress{Cursor: json.RawMessage(`"c2"`), Watermark: at(20), Newest: at(21), Floor: at(19), DedupeFrom: 7, Retired: true}
	commit(5, second)
	commit(0, event.Progress{Watermark: at(15), DedupeFrom: 9})

	between := first
	between.DedupeFrom = 4
	backwards := second
	backwards.DedupeFrom, backwards.Retired = 9, false // it collects again
	want := []event.RawCursor{
		{Position: 1, Received: at(0), Progress: first},
		{Position: 3, Received: at(1), Progress: between},
		{Position: 5, Received: at(3), Progress: between},
		{Position: 6, Received: at(4), Progress: second},
		{Position: 6, Received: at(4), Progress: backwards},
	}
	var got []event.RawCursor
	var watermarks []string
	for _, m := range s.messages {
		if m.Subject == event.RawSubject(provider, source) {
			watermarks = append(watermarks, m.Header.Get(event.HeaderWatermark))
			continue
		}
		var c event.RawCursor
		if err := event.DecodeRecord(m, &c); err != nil {
			t.Fatal(err)
		}
		if c.Batch == "" || c.Owner != "host-1" || c.WrittenAt.IsZero() {
			t.Errorf("cursor %s", m.Body)
		}
		c.Batch, c.Owner, c.WrittenAt = "", "", c.WrittenAt.Truncate(1<<62)
		c.WrittenAt = want[0].WrittenAt
		got = append(got, c)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
	// Only the last event of a commit says where the source stands behind it.
	if diff := cmp.Diff([]string{"2026-11-22T06:00:10Z", "", "", "", "", "2026-11-22T06:00:20Z"}, watermarks); diff != "" {
		t.Errorf("watermarks (-want +got):\n%s", diff)
	}
	// A writer that starts from there goes on from there.
	if c := open(t, raw); c.Position != 6 || c.Sequence != s.end() || !c.Watermark.Equal(at(20)) {
		t.Errorf("opened at %+v", c)
	}
}

func TestRawOldDedupeFromIsKeptWhereItIsLower(t *testing.T) {
	s := &stream{}
	raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{Limits: Limits{Events: 1}})
	open(t, raw)
	for _, from := range []event.StreamSeq{8, 3} {
		events := []event.Raw{{ID: "a"}, {ID: "b"}}
		if _, err := raw.Commit(t.Context(), events, event.Progress{DedupeFrom: from}); err != nil {
			t.Fatal(err)
		}
	}
	var got []event.StreamSeq
	for _, m := range s.messages {
		var c event.RawCursor
		if m.Subject == event.RawCursorSubject(provider, source) {
			if err := event.DecodeRecord(m, &c); err != nil {
				t.Fatal(err)
			}
			got = append(got, c.DedupeFrom)
		}
	}
	if !slices.Equal(got, []event.StreamSeq{0, 8, 3, 3}) {
		t.Errorf("dedupe from %v", got)
	}
}

func TestRawEventWithoutIDIsRefused(t *testing.T) {
	s := &stream{}
	raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{})
	open(t, raw)
	_, err := raw.Commit(t.Context(), []event.Raw{{ID: "a"}, {}}, event.Progress{})
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "event 2 of 2 has no id") || s.end() != 0 {
		t.Errorf("commit: %v, %d messages", err, s.end())
	}
}

func TestRawLargeBodyGoesToAnObjectFirst(t *testing.T) {
	s, bodies := &stream{}, newBodies()
	raw := NewRaw(s, bodies, provider, source, event.Fence{}, Options{Limits: Limits{MaxBody: 500}})
	open(t, raw)
	body := bytes.Repeat([]byte("x"), 501)
	if _, err := raw.Commit(t.Context(), []event.Raw{{ID: "a", Body: body}}, event.Progress{}); err != nil {
		t.Fatal(err)
	}
	r, err := event.ParseRaw(s.messages[0])
	if err != nil || len(r.Body) != 0 || r.BodyRef != event.NewBodyRef(body) {
		t.Errorf("message %+v: %v", r, err)
	}
	if !bytes.Equal(bodies.objects[r.BodyRef.Object], body) {
		t.Errorf("objects %q", bodies.objects)
	}
}

// What the server refuses once is not sent to it again with every batch.
func TestRawLearnsWhatTheServerTakes(t *testing.T) {
	s := &stream{maxBody: 2000}
	var results []event.Kind
	raw := NewRaw(s, newBodies(), provider, source, event.Fence{}, Options{Hooks: hooksOf(&results)})
	open(t, raw)
	for range 2 {
		events := []event.Raw{{ID: "a", Body: make([]byte, 3000)}, {ID: "b", Body: make([]byte, 100)}}
		if _, err := raw.Commit(t.Context(), events, event.Progress{}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(results, []event.Kind{event.TooLarge, 0, 0}) {
		t.Errorf("results %v", results)
	}
	if got := len(s.messages[1].Body); got != 100 {
		t.Errorf("the small body is left in the message with %d bytes", got)
	}
}

func TestRawOverlongHeadersLoseNothing(t *testing.T) {
	s, bodies := &stream{}, newBodies()
	raw := NewRaw(s, bodies, provider, source, event.Fence{}, Options{})
	open(t, raw)
	long := strings.Repeat("ü ", 20_000)
	e := event.Raw{
		ID: event.ID(strings.Repeat("i", 100_000)), ContentType: long, Format: "oslo", Body: []byte("{}"),
		Header: map[string]string{"Evt-Exchange": "nova", "Evt-Odd": long, event.HeaderTraceparent: "00-ab-cd-01"},
	}
	for i := range 1000 {
		e.Header[fmt.Sprintf("Evt-Many-%d", i)] = "some text that is not very long"
	}
	whole := e.Message(provider, source, 1, event.BodyRef{})
	if _, err := raw.Commit(t.Context(), []event.Raw{e}, progress(1)); err != nil {
		t.Fatal(err)
	}
	m := s.messages[0]
	if size := headerSize(m.Header); size > maxHeader {
		t.Errorf("%d bytes of headers", size)
	}
	r, err := event.ParseRaw(m)
	if err != nil || r.ID != event.BoundID(e.ID) || r.Format != "oslo" || string(r.Body) != "{}" || !r.Watermark.Equal(at(1)) {
		t.Errorf("event %q, %v", r.ID, err)
	}
	if r.Header["Evt-Exchange"] != "nova" || r.Header["Evt-Odd"] != "" {
		t.Errorf("of the headers the longest should be gone, and no more than needed: %d left", len(r.Header))
	}
	var kept event.Header
	if err := json.Unmarshal(bodies.objects[m.Header.Get(event.HeaderAllObject)], &kept); err != nil {
		t.Fatal(err)
	}
	for name := range maps.Keys(whole.Header) {
		if kept.Get(name) != whole.Header.Get(name) {
			t.Errorf("the object has %s: %.40q", name, kept.Get(name))
		}
	}
}

func TestRawCursorTooLargeIsRefused(t *testing.T) {
	raw := NewRaw(&stream{}, newBodies(), provider, source, event.Fence{}, Options{Limits: Limits{MaxBody: 500}})
	open(t, raw)
	_, err := raw.Commit(t.Context(), nil, event.Progress{Cursor: json.RawMessage(`"` + strings.Repeat("x", 500) + `"`)})
	if event.KindOf(err) != event.Invalid {
		t.Errorf("commit: %v", err)
	}
}
