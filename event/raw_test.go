package event_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)

func store(m event.Message) event.Stored { return event.Stored{Message: m, Sequence: 7, Time: noon} }

func TestRawMessage(t *testing.T) {
	tests := []struct {
		name string
		raw  event.Raw
		ref  event.BodyRef
		want event.Message
	}{
		{
			name: "the least",
			raw:  event.Raw{ID: "a", Received: noon},
			want: event.Message{Subject: "events.raw.cloud.panko", Header: event.Header{
				"Evt-Id": {"a"}, "Evt-Seq": {"3"}, "Evt-Received": {"2026-11-22T12:00:00.123456789Z"},
			}},
		},
		{
			name: "everything",
			raw: event.Raw{
				ID: "a b", Hashed: true, Time: noon.In(time.FixedZone("", 3600)), Received: noon, Format: "oslo",
				ContentType: "application/json; charset=utf-8",
				Header:      map[string]string{"Evt-Exchange": "größe", "traceparent": "00-1-2-01", "tracestate": "a=b c"},
				Body:        []byte("{}"),
			},
			want: event.Message{Subject: "events.raw.cloud.panko", Body: []byte("{}"), Header: event.Header{
				"Evt-Id": {"a%20b"}, "Evt-Id-Kind": {"hash"}, "Evt-Seq": {"3"},
				"Evt-Received": {"2026-11-22T12:00:00.123456789Z"}, "Evt-Time": {"2026-11-22T12:00:00.123456789Z"},
				"Evt-Format": {"oslo"}, "Evt-Content-Type": {"application/json;%20charset=utf-8"},
				"Evt-Exchange": {"gr%C3%B6%C3%9Fe"}, "traceparent": {"00-1-2-01"}, "tracestate": {"a=b%20c"},
			}},
		},
		{
			name: "the body in an object",
			raw:  event.Raw{ID: "a", Received: noon, Body: []byte("large")},
			ref:  event.BodyRef{Object: "sha256-00", Size: 5},
			want: event.Message{Subject: "events.raw.cloud.panko", Header: event.Header{
				"Evt-Id": {"a"}, "Evt-Seq": {"3"}, "Evt-Received": {"2026-11-22T12:00:00.123456789Z"},
				"Evt-Body-Object": {"sha256-00"}, "Evt-Body-Size": {"5"},
			}},
		},
		{
			name: "headers that a source must not set",
			raw: event.Raw{ID: "a", Received: noon, Header: map[string]string{
				"Evt-Seq": "9", "Evt-Id": "b", "Evt-Watermark": "x", "Evt-Body-Object": "x", "Nats-Rollup": "all", "": "x",
				"Evt-": "x", "Evt-A: b\r\nNats-Rollup": "all", "Evt-A b": "x", "evt-lower": "x",
			}},
			want: event.Message{Subject: "events.raw.cloud.panko", Header: event.Header{
				"Evt-Id": {"a"}, "Evt-Seq": {"3"}, "Evt-Received": {"2026-11-22T12:00:00.123456789Z"},
			}},
		},
		{
			name: "times that RFC 3339 can't write",
			raw: event.Raw{
				ID: "a", Received: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), Time: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
			},
			want: event.Message{Subject: "events.raw.cloud.panko", Header: event.Header{
				"Evt-Id": {"a"}, "Evt-Seq": {"3"}, "Evt-Received": {"0001-01-01T00:00:00Z"},
			}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.raw.Message("cloud", "panko", 3, tt.ref)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRawRefuses(t *testing.T) {
	good := func() event.Stored {
		return store((&event.Raw{ID: "a", Received: noon}).Message("cloud", "panko", 3, event.BodyRef{}))
	}
	if _, err := event.ParseRaw(good()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		spoil func(m *event.Stored)
		text  string
	}{
		{"another subject", func(m *event.Stored) { m.Subject = "events.normalized.cloud" }, "subject is"},
		{"a cursor", func(m *event.Stored) { m.Subject = "events.cursor.raw.cloud.panko" }, "subject is"},
		{"no source", func(m *event.Stored) { m.Subject = "events.raw.cloud" }, "subject is"},
		{"no number", func(m *event.Stored) { delete(m.Header, "Evt-Seq") }, `Evt-Seq is ""`},
		{"number 0", func(m *event.Stored) { m.Header.Set("Evt-Seq", "0") }, `Evt-Seq is "0"`},
		{"a negative number", func(m *event.Stored) { m.Header.Set("Evt-Seq", "-1") }, `Evt-Seq is "-1"`},
		{"no id", func(m *event.Stored) { delete(m.Header, "Evt-Id") }, `Evt-Id is ""`},
		{"received at no time", func(m *event.Stored) { m.Header.Set("Evt-Received", "now") }, `Evt-Received is "now"`},
		{"no headers", func(m *event.Stored) { m.Header = nil }, "Evt-Seq is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := good()
			tt.spoil(&m)
			_, err := event.ParseRaw(m)
			if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), tt.text) ||
				!strings.Contains(err.Error(), "raw message 7") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzRawRoundTrip(f *testing.F) {
	f.Add("id", "oslo", "application/json", "Evt-Exchange", "nova", int64(0), []byte("{}"))
	f.Add("a b\r\n%41\x00\xff", "größe", "a;b", "Evt-Seq", "9", int64(-1), []byte(nil))
	f.Add(strings.Repeat("x", 600), "", "", "traceparent", "00", int64(1<<62), []byte("\xff"))
	f.Add("%", "%4", "%zz", "Nats-Rollup", "all", int64(1e18), []byte("x"))
	f.Fuzz(func(t *testing.T, id, format, contentType, name, value string, nanos int64, body []byte) {
		in := event.Raw{
			ID: event.ID(id), Hashed: len(body)%2 == 1, Time: time.Unix(0, nanos).UTC(), Received: noon, Format: format,
			ContentType: contentType, Header: map[string]string{name: value}, Body: body,
		}
		m := in.Message("cloud", "amqp-nova", 5, event.BodyRef{})
		event.SetWatermark(&m, noon)
		for name, values := range m.Header {
			if len(values) != 1 || strings.ContainsAny(name+values[0], " \r\n\"") || strings.Contains(name, ":") {
				t.Fatalf("header %q: %q", name, values)
			}
		}
		out, err := event.ParseRaw(store(m))
		if id == "" {
			if event.KindOf(err) != event.Invalid {
				t.Fatalf("without an id: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		want := event.StoredRaw{
			Raw: in, Provider: "cloud", Source: "amqp-nova", Seq: 5, Sequence: 7, StoredAt: noon, Watermark: noon,
		}
		want.ID = event.BoundID(in.ID)
		if _, written := m.Header[name]; !written || out.Header == nil {
			want.Header = nil // not the source's to set
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
		if out.Header != nil {
			again := out.Message("cloud", "amqp-nova", 5, event.BodyRef{})
			event.SetWatermark(&again, noon)
			if !maps.EqualFunc(again.Header, m.Header, func(a, b []string) bool { return a[0] == b[0] }) {
				t.Errorf("written again: %v, want %v", again.Header, m.Header)
			}
		}
	})
}

func TestBodyRef(t *testing.T) {
	body := []byte("hello")
	ref := event.NewBodyRef(body)
	want := "sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	if ref.Object != want || ref.Size != 5 {
		t.Errorf("reference %+v", ref)
	}
	m := event.Message{Header: event.Header{}, Body: body}
	event.SetBodyRef(&m, ref)
	if m.Body != nil || event.BodyRefOf(m.Header) != ref {
		t.Errorf("message %+v", m)
	}
	if got := event.BodyRefOf(event.Header{}); got != (event.BodyRef{}) {
		t.Errorf("no reference is %+v", got)
	}
}

func TestIDs(t *testing.T) {
	if got := event.HashID([]byte("hello")); !strings.HasPrefix(string(got), "2cf24dba5fb0a30e") || len(got) != 64 {
		t.Errorf("hash %q", got)
	}
	if event.HashID([]byte("a")) == event.HashID([]byte("b")) {
		t.Error("two bodies have one hash")
	}
	longest := event.ID(bytes.Repeat([]byte("x"), event.MaxID))
	if event.BoundID(longest) != longest {
		t.Error("the longest id is changed")
	}
	hashed := event.BoundID(longest + "x")
	if hashed != event.HashID([]byte(longest+"x")) || event.BoundID(hashed) != hashed {
		t.Errorf("a longer one is %q", hashed)
	}
}

// Whatever a message has in it, it is read or refused with the kind Invalid; what is read is within the rules.
func FuzzParseRaw(f *testing.F) {
	f.Add("events.raw.cloud.panko", "a", "1", "2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z", "12")
	f.Add("events.raw.cloud", "", "0", "", "x", "-1")
	f.Add("events.cursor.raw.cloud.panko", "%41", "18446744073709551616", "0000-01-01T00:00:00Z", "", "x")
	f.Fuzz(func(t *testing.T, subject, id, seq, received, at, size string) {
		r, err := event.ParseRaw(store(event.Message{Subject: subject, Header: event.Header{
			event.HeaderID: {id}, event.HeaderSeq: {seq}, event.HeaderReceived: {received}, event.HeaderTime: {at},
			event.HeaderBodySize: {size}, event.HeaderIDKind: nil,
		}}))
		if err != nil {
			if event.KindOf(err) != event.Invalid {
				t.Fatalf("kind %v: %v", event.KindOf(err), err)
			}
			return
		}
		if event.RawSubject(r.Provider, r.Source) != subject || r.ID == "" || r.Seq == 0 {
			t.Fatalf("%q gives %+v", subject, r)
		}
	})
}
