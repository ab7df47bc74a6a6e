package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"

	"stackstream/event"
)

// natsMessage shows a message to the CloudEvents SDK the way its NATS protocol does, with the SDK's own table of
// attribute names: what begins with "ce-" and is no attribute is an extension, other headers are not looked at.
type natsMessage struct{ event.Message }

var (
	_ binding.Message               = natsMessage{}
	_ binding.MessageMetadataReader = natsMessage{}
)

var natsSpecs = spec.WithPrefix("ce-")

func (m natsMessage) ReadEncoding() binding.Encoding {
	if m.Header.Get(natsSpecs.PrefixedSpecVersionName()) == "" {
		return binding.EncodingStructured
	}
	return binding.EncodingBinary
}

func (m natsMessage) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m natsMessage) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	version := natsSpecs.Version(m.Header.Get(natsSpecs.PrefixedSpecVersionName()))
	for name, values := range m.Header {
		var err error
		switch attribute := version.Attribute(name); {
		case attribute != nil:
			err = w.SetAttribute(attribute, values[0])
		case strings.HasPrefix(name, "ce-"):
			err = w.SetExtension(strings.TrimPrefix(name, "ce-"), values[0])
		case name == "content-type":
			err = w.SetAttribute(version.AttributeFromKind(spec.DataContentType), values[0])
		}
		if err != nil {
			return err
		}
	}
	return w.SetData(bytes.NewReader(m.Body))
}

func (m natsMessage) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	version := natsSpecs.Version(m.Header.Get(natsSpecs.PrefixedSpecVersionName()))
	attribute := version.AttributeFromKind(kind)
	return attribute, m.Header.Get(attribute.PrefixedName())
}

func (m natsMessage) GetExtension(name string) any { return m.Header.Get("ce-" + name) }

func (m natsMessage) Finish(error) error { return nil }

// A message of NORMALIZED is a CloudEvent in binary mode for the Go SDK, whatever the event has in it.
func TestTheSDKReadsOurMessages(t *testing.T) {
	long := strings.Repeat("ü", 1000)
	tests := []struct {
		name              string
		event             event.Event
		id, kind, subject string // as the SDK gives them; percent-encoding is the reader's to undo
		time              string
	}{
		{
			name: "a usual event",
			event: event.Event{
				MessageID: "4fc5", EventType: "compute.instance.create.end", Timestamp: timestamp(t, "2026-11-22T06:06:06.755824"),
				Targets: []event.Target{{Kind: "instance", ID: "i-1"}},
			},
			id: "4fc5", kind: "compute.instance.create.end", subject: "instance/i-1", time: "2026-11-22T06:06:06.755824Z",
		},
		{
			name: "text that no header carries",
			event: event.Event{
				MessageID: "a \"b\"\r\nce-id: c%", EventType: "größe", Targets: []event.Target{{Kind: "host", ID: "\u2028"}},
			},
			id: "a%20%22b%22%0D%0Ace-id:%20c%25", kind: "gr%C3%B6%C3%9Fe", subject: "host/%E2%80%A8",
		},
		{
			name: "nothing at all", id: "raw-1", kind: "unknown",
		},
		{
			name: "longer than an attribute may be",
			event: event.Event{
				MessageID: long, EventType: "x" + long, Targets: []event.Target{{Kind: "host", ID: long}},
			},
			id: string(event.HashID([]byte(long))), kind: "x" + strings.Repeat("%C3%BC", (maxAttribute-1)/2),
		},
		{
			name:  "year 1",
			event: event.Event{MessageID: "a", EventType: "t", Timestamp: timestamp(t, "0001-01-01T00:00:00Z")},
			id:    "a", kind: "t", time: "0001-01-01T00:00:00Z",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stored := commitNormalized(t, newBodies(), Limits{},
				event.Outcome{Raw: storedRaw(1), Events: []event.Event{tt.event}, Converter: "oslo/1", Redacted: 1})
			message := natsMessage{stored[0].Message}
			ce, err := binding.ToEvent(t.Context(), message)
			if err != nil {
				t.Fatal(err)
			}
			if err := ce.Validate(); err != nil {
				t.Fatal(err)
			}
			if message.ReadEncoding() != binding.EncodingBinary || ce.SpecVersion() != "1.0" {
				t.Errorf("not in binary mode: %v", ce)
			}
			if ce.ID() != tt.id || ce.Type() != tt.kind || ce.Subject() != tt.subject || ce.Source() != "/providers/cloud-1" {
				t.Errorf("id %q, type %q, subject %q, source %q", ce.ID(), ce.Type(), ce.Subject(), ce.Source())
			}
			if got := message.Header.Get(ceTime); got != tt.time {
				t.Errorf("time %q, want %q", got, tt.time)
			}
			if !ce.Time().Equal(tt.event.Timestamp.Time()) {
				t.Errorf("the SDK reads the time %v", ce.Time())
			}
			if ext := ce.Extensions(); len(ext) != 1 || ext["evtsource"] != "panko" {
				t.Errorf("extensions %v", ext)
			}
			var e event.Event
			if ce.DataContentType() != "application/json" || json.Unmarshal(ce.Data(), &e) != nil {
				t.Errorf("%s: %s", ce.DataContentType(), ce.Data())
			}
			if e.MessageID != tt.event.MessageID || e.EventType != tt.event.EventType {
				t.Errorf("the body has %q, %q", e.MessageID, e.EventType)
			}
		})
	}
}

func TestEventsWithoutIDsOfOneRawEventDiffer(t *testing.T) {
	messages := commitNormalized(t, newBodies(), Limits{}, event.Outcome{Raw: storedRaw(1), Events: make([]event.Event, 2)})
	if a, b := messages[0].Header.Get(ceID), messages[1].Header.Get(ceID); a != "raw-1.1" || b != "raw-1.2" {
		t.Errorf("ids %q and %q", a, b)
	}
}

// Who asks the source again has to know an event by the identity that the source gives it.
func TestTheSourcesIdentityIsKept(t *testing.T) {
	raw := storedRaw(1)
	long := event.ID(strings.Repeat("x", event.MaxID+1))
	for id, want := range map[string]string{string(raw.ID): "", "another": string(raw.ID), "": ""} {
		stored := commitNormalized(t, newBodies(), Limits{}, event.Outcome{Raw: raw, Events: []event.Event{{MessageID: id, EventType: "t"}}})
		if got := stored[0].Header.Get(event.HeaderID); got != want {
			t.Errorf("event %q has %s %q, want %q", id, event.HeaderID, got, want)
		}
	}
	raw.ID = long
	stored := commitNormalized(t, newBodies(), Limits{}, event.Outcome{Raw: raw, Events: []event.Event{{MessageID: string(long), EventType: "t"}}})
	if got := stored[0].Header.Get(event.HeaderID); got != "" {
		t.Errorf("the hash of a long identity is the same on both sides, and %q was added", got)
	}
}
