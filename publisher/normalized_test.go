package publisher

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

// storedRaw is a raw event as RAW holds it.
func storedRaw(n int) event.StoredRaw {
	return event.StoredRaw{
		Raw: event.Raw{
			ID: event.ID(fmt.Sprintf("raw-%d", n)), Received: at(n), Time: at(n - 1), Format: "oslo", ContentType: "application/json",
			Header: map[string]string{"Evt-Exchange": "nova notifications"}, Body: []byte("raw body"),
		},
		Provider: provider, Source: source, Seq: event.Seq(n), Sequence: event.StreamSeq(10 * n),
	}
}

func timestamp(t *testing.T, s string) event.Timestamp {
	t.Helper()
	ts, err := event.ParseTimestamp(s)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// commitNormalized commits outcomes to a new stream and returns its messages.
func commitNormalized(t *testing.T, bodies Bodies, limits Limits, outcomes ...event.Outcome) []event.Stored {
	t.Helper()
	s := &stream{}
	norm := NewNormalized(s, bodies, provider, Options{Owner: "host-1", Limits: limits})
	if _, err := norm.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := norm.Commit(t.Context(), outcomes, rawStream); err != nil {
		t.Fatal(err)
	}
	return s.messages
}

// flat is a header with one value a name.
func flat(h event.Header) map[string]string {
	m := map[string]string{}
	for name := range h {
		m[name] = h.Get(name)
	}
	return m
}

func TestNormalizedMessage(t *testing.T) {
	e := event.Event{
		MessageID: "4fc58de1", EventType: "compute.instance.create.end", Provider: provider, Source: source,
		Timestamp: timestamp(t, "2026-11-22 05:42:09.830894"), Payload: json.RawMessage(`{"n":12345678901234567890}`),
		Targets: []event.Target{{Kind: "instance", ID: "a b"}, {Kind: "host", ID: "c"}},
	}
	messages := commitNormalized(t, newBodies(), Limits{},
		event.Outcome{Raw: storedRaw(4), Events: []event.Event{e}, Converter: "oslo/1", Redacted: 2, Mended: 3})
	m := messages[0]
	if m.Subject != "events.normalized.cloud-1" {
		t.Errorf("on %s", m.Subject)
	}
	want := map[string]string{
		"ce-specversion": "1.0", "ce-id": "4fc58de1", "ce-source": "/providers/cloud-1",
		"ce-type": "compute.instance.create.end", "ce-time": "2026-11-22T05:42:09.830894Z",
		"ce-subject": "instance/a%20b", "ce-datacontenttype": "application/json", "content-type": "application/json",
		"ce-evtsource": "panko", "Evt-Seq": "1", "Evt-Raw-Seq": "40", "Evt-Raw-Source": "panko", "Evt-Raw-Evt-Seq": "4",
		"Evt-Converter": "oslo/1", "Evt-Redacted": "2", "Evt-Mended": "3", "Evt-Id": "raw-4",
	}
	if diff := cmp.Diff(want, flat(m.Header)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	body, err := e.Encode()
	if err != nil || string(m.Body) != string(body) {
		t.Errorf("body %s, want %s", m.Body, body)
	}
}

func TestDeadLetter(t *testing.T) {
	r := storedRaw(4)
	r.Hashed, r.Watermark = true, at(9)
	dead := &event.DeadLetter{Reason: event.ReasonMalformed, Detail: "line 1\n" + strings.Repeat("ü", maxDetail)}
	inObject := storedRaw(5)
	inObject.Body, inObject.BodyRef = nil, event.NewBodyRef([]byte("large"))
	messages := commitNormalized(t, newBodies(), Limits{},
		event.Outcome{Raw: r, Dead: dead, Converter: "oslo/1"},
		event.Outcome{Raw: inObject, Dead: &event.DeadLetter{Reason: event.ReasonBodyLost}})

	detail := event.DecodeHeader(messages[0].Header.Get("Evt-Detail"))
	if detail != "line 1\n"+strings.Repeat("ü", (maxDetail-len("line 1\n"))/2) {
		t.Errorf("detail of %d bytes: %q", len(detail), detail)
	}
	want := map[string]string{
		"Evt-Id": "raw-4", "Evt-Id-Kind": "hash", "Evt-Received": "2026-11-22T06:00:04Z", "Evt-Time": "2026-11-22T06:00:03Z",
		"Evt-Format": "oslo", "Evt-Content-Type": "application/json", "Evt-Exchange": "nova%20notifications",
		"Evt-Watermark": "2026-11-22T06:00:09Z", "Evt-Seq": "1", "Evt-Raw-Seq": "40", "Evt-Raw-Source": "panko",
		"Evt-Raw-Evt-Seq": "4", "Evt-Reason": "malformed", "Evt-Converter": "oslo/1",
		"Evt-Detail": messages[0].Header.Get("Evt-Detail"),
	}
	if diff := cmp.Diff(want, flat(messages[0].Header)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if m := messages[0]; m.Subject != "events.dead.cloud-1" || string(m.Body) != "raw body" {
		t.Errorf("on %s: %s", m.Subject, m.Body)
	}
	if m := messages[1]; event.BodyRefOf(m.Header) != inObject.BodyRef || m.Body != nil || m.Header.Get("Evt-Seq") != "2" {
		t.Errorf("with its body in an object: %v, %q", m.Header, m.Body)
	}
}

// What stackstream did not write has no number and perhaps no id; it is kept all the same, and moves RawSeq alone.
func TestDeadLetterOfAForeignMessage(t *testing.T) {
	foreign := event.StoredRaw{Raw: event.Raw{Body: []byte("?")}, Sequence: 8}
	messages := commitNormalized(t, newBodies(), Limits{},
		event.Outcome{Raw: foreign, Dead: &event.DeadLetter{Reason: event.ReasonMalformed, Detail: "no Evt-Seq"}})
	want := map[string]string{
		"Evt-Seq": "1", "Evt-Raw-Seq": "8", "Evt-Reason": "malformed", "Evt-Detail": "no%20Evt-Seq",
		"Evt-Received": "0001-01-01T00:00:00Z",
	}
	if diff := cmp.Diff(want, flat(messages[0].Header)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	var c event.NormalizedCursor
	if err := event.DecodeRecord(messages[1], &c); err != nil {
		t.Fatal(err)
	}
	if string(messages[0].Body) != "?" || c.RawSeq != 8 || len(c.Sources) != 0 {
		t.Errorf("body %s, cursor %s", messages[0].Body, messages[1].Body)
	}
}

func TestWhatCannotBeWrittenBecomesADeadLetter(t *testing.T) {
	tests := []struct {
		name   string
		events []event.Event
		reason event.Reason
		detail string
	}{
		{
			"a payload that is not JSON", []event.Event{{MessageID: "a"}, {MessageID: "b", Payload: []byte("{")}},
			event.ReasonUnwritable, "encode event 2: ",
		},
		{
			"more events than a batch takes", make([]event.Event, maxEvents+1),
			event.ReasonTooMany, "901 events; an atomic batch takes 900",
		},
		{
			"too large even without its payload", []event.Event{{MessageID: "a"}, {EventType: strings.Repeat("x", 5000)}},
			event.ReasonUnwritable, "event 2: has 5",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bodies := newBodies()
			messages := commitNormalized(t, bodies, Limits{MaxBody: 4000},
				event.Outcome{Raw: storedRaw(1), Events: tt.events},
				event.Outcome{Raw: storedRaw(2), Events: []event.Event{{MessageID: "next"}}})
			m := messages[0]
			if m.Subject != event.DeadSubject(provider) || string(m.Body) != "raw body" ||
				m.Header.Get(event.HeaderReason) != string(tt.reason) ||
				!strings.HasPrefix(event.DecodeHeader(m.Header.Get(event.HeaderDetail)), tt.detail) {
				t.Errorf("on %s with %v: %s", m.Subject, m.Header, m.Body)
			}
			if m := messages[1]; m.Header.Get(ceID) != "next" || m.Header.Get(event.HeaderSeq) != "2" {
				t.Errorf("the next message has %v", m.Header)
			}
			if bodies.puts != 0 {
				t.Errorf("%d objects were stored for nothing", bodies.puts)
			}
		})
	}
}

func TestLargeEventGoesToAnObject(t *testing.T) {
	large := event.Event{
		MessageID: "a", EventType: "t", Provider: provider, Source: source, PublisherID: "compute.host1",
		Payload: json.RawMessage(`"` + strings.Repeat("p", 3000) + `"`),
	}
	larger := large
	larger.Message = strings.Repeat("m", 3000)
	for name, e := range map[string]event.Event{"payload": large, "everything": larger} {
		t.Run(name, func(t *testing.T) {
			bodies := newBodies()
			m := commitNormalized(t, bodies, Limits{MaxBody: 2000},
				event.Outcome{Raw: storedRaw(1), Events: []event.Event{e}})[0]
			whole, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			ref := event.NewBodyRef(whole)
			if string(bodies.objects[ref.Object]) != string(whole) || event.BodyRefOf(m.Header) != ref {
				t.Errorf("the message refers to %v", event.BodyRefOf(m.Header))
			}
			var short map[string]any
			if err := json.Unmarshal(m.Body, &short); err != nil {
				t.Fatal(err)
			}
			if payload, ok := short["payload"]; !ok || payload != nil {
				t.Errorf("payload %v", payload)
			}
			want := map[string]any{
				"bucket": event.BucketBodies, "name": ref.Object, "size": float64(ref.Size),
			}
			if diff := cmp.Diff(want, short["body_object"]); diff != "" {
				t.Errorf("body_object (-want +got):\n%s", diff)
			}
			if got := short["publisher_id"] != nil; got != (name == "payload") {
				t.Errorf("the message keeps %s", m.Body)
			}
			if short["message_id"] != "a" || short["event_type"] != "t" || m.Header.Get(ceID) != "a" {
				t.Errorf("the message is %s", m.Body)
			}
		})
	}
}

func TestNormalizedSplitsBetweenRawEvents(t *testing.T) {
	outcome := func(n int, sizes ...int) event.Outcome {
		o := event.Outcome{Raw: storedRaw(n)}
		for _, size := range sizes {
			o.Events = append(o.Events, event.Event{Payload: json.RawMessage(`"` + strings.Repeat("x", size) + `"`)})
		}
		return o
	}
	tests := []struct {
		name     string
		outcomes []event.Outcome
		want     []int // messages in each batch
		rawSeqs  []event.StreamSeq
	}{
		{"nothing but what was dealt with before", []event.Outcome{outcome(1), outcome(2)}, []int{0}, []event.StreamSeq{20}},
		{
			"by number", []event.Outcome{outcome(1, 0, 0), outcome(2, 0), outcome(3, 0)}, []int{3, 1},
			[]event.StreamSeq{20, 30},
		},
		{
			"one raw event with more than a batch has", []event.Outcome{outcome(1, 0), outcome(2, 0, 0, 0, 0), outcome(3, 0)},
			[]int{1, 4, 1}, []event.StreamSeq{10, 20, 30},
		},
		{
			"by bytes", []event.Outcome{outcome(1, 500), outcome(2, 500), outcome(3, 10)}, []int{1, 2},
			[]event.StreamSeq{10, 30},
		},
		{
			"a large one alone, with the empty ones beside it",
			[]event.Outcome{outcome(1), outcome(2, 2000), outcome(3), outcome(4, 10)}, []int{1, 1}, []event.StreamSeq{30, 40},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			messages := commitNormalized(t, newBodies(), Limits{Events: 3, Bytes: 1000}, tt.outcomes...)
			s := &stream{messages: messages}
			if got := batchSizes(s, event.NormalizedCursorSubject(provider)); !slices.Equal(got, tt.want) {
				t.Errorf("batches of %v messages, want %v", got, tt.want)
			}
			var at []event.StreamSeq
			for _, m := range messages {
				if m.Subject == event.NormalizedCursorSubject(provider) {
					var c event.NormalizedCursor
					if err := event.DecodeRecord(m, &c); err != nil {
						t.Fatal(err)
					}
					at = append(at, c.RawSeq)
				}
			}
			if !slices.Equal(at, tt.rawSeqs) {
				t.Errorf("cursors at %v of RAW, want %v", at, tt.rawSeqs)
			}
		})
	}
}

func TestNormalizedCursor(t *testing.T) {
	s := &stream{}
	norm := NewNormalized(s, newBodies(), provider, Options{Owner: "host-1"})
	if c, err := norm.Open(t.Context()); err != nil || c.Position != 0 || c.Sequence != 0 {
		t.Fatalf("opened at %+v, %v", c, err)
	}
	first, second, repeated := storedRaw(2), storedRaw(3), storedRaw(1)
	first.Watermark = at(30)
	second.Source, second.Seq = "amqp", 1
	repeated.Sequence, repeated.Watermark = 35, at(20) // an older one, late
	c, err := norm.Commit(t.Context(), []event.Outcome{
		{Raw: first, Events: []event.Event{{}, {}}}, {Raw: second, Dead: &event.DeadLetter{}}, {Raw: repeated, Events: []event.Event{{}}},
	}, rawStream)
	if err != nil {
		t.Fatal(err)
	}
	want := event.NormalizedCursor{
		RawSeq: 35, RawCreated: epoch, Position: 4, Owner: "host-1", Sequence: 5, Batch: c.Batch, WrittenAt: c.WrittenAt,
		Sources: map[event.Source]event.SourcePosition{
			"panko": {Position: 2, Received: at(2), Watermark: at(30)},
			"amqp":  {Position: 1, Received: at(3)},
		},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("cursor (-want +got):\n%s", diff)
	}
	clear(c.Sources) // it is the caller's
	reopened, err := norm.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, reopened); diff != "" {
		t.Errorf("cursor as stored (-want +got):\n%s", diff)
	}
	if again, err := norm.Commit(t.Context(), nil, rawStream); err != nil || again.Sequence != 5 || s.end() != 5 {
		t.Errorf("a commit of nothing: %+v, %v", again, err)
	}
}
