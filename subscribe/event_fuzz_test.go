package subscribe

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// delivered is a message as a consumer delivers it.
type delivered struct {
	natsjs.Msg
	subject string
	header  nats.Header
	body    []byte
}

func (d delivered) Subject() string      { return d.subject }
func (d delivered) Headers() nats.Header { return d.header }
func (d delivered) Data() []byte         { return d.body }
func (d delivered) Metadata() (*natsjs.MsgMetadata, error) {
	return &natsjs.MsgMetadata{Sequence: natsjs.SequencePair{Stream: 9, Consumer: 1}, Timestamp: time.Unix(1, 0)}, nil
}

// Whatever a message of NORMALIZED is, it is read or refused as Invalid; what is read is of the provider that its subject
// names, whatever its body says, and has its bytes.
func FuzzMessage(f *testing.F) {
	f.Add("events.normalized.cloud", "1", "a.b", "", "7", []byte(`{"message_id":"m","event_type":"a.b","timestamp":"2026-11-22T12:00:00Z","payload":{},"provider":"other"}`))
	f.Add("events.dead.cloud", "18446744073709551615", "%0A", "x", "-1", []byte("\xff"))
	f.Add("events.normalized.cloud", "0", "", "", "", []byte(`{"timestamp":""}`))
	f.Add("events.cursor.normalized.cloud", "+1", "", "", "18446744073709551616", []byte(`null`))
	f.Add("events.replay.job.cloud", "1", "a.b", "", "", []byte(`{}`))
	f.Add("events.replay.job.cloud.dead", "2", "", "", "3", []byte(`x`))
	f.Add("events.normalized.a.b", "1", "", "", "", []byte(`{"targets":[null],"context":{},"body_object":{"size":1e3}}`))
	f.Fuzz(func(t *testing.T, subject, seq, eventType, redriven, rawSeq string, body []byte) {
		d := delivered{subject: subject, body: bytes.Clone(body), header: nats.Header{
			event.HeaderSeq: {seq}, headerType: {eventType}, event.HeaderRedriven: {redriven}, event.HeaderRawSeq: {rawSeq},
			event.HeaderReason: {eventType}, event.HeaderDetail: {rawSeq}, event.HeaderBodySize: {rawSeq}, "Empty": nil,
		}}
		m, err := parse(d)
		if err != nil {
			if event.KindOf(err) != event.Invalid {
				t.Fatalf("kind %v: %v", event.KindOf(err), err)
			}
			return
		}
		if strconv.FormatUint(uint64(m.seq), 10) != seq && len(seq) > 0 && seq[0] != '0' && seq[0] != '+' || m.seq == 0 {
			t.Fatalf("%q is the number %d", seq, m.seq)
		}
		if m.eventType() != event.DecodeHeader(eventType) {
			t.Fatalf("%q is the type %q", eventType, m.eventType())
		}
		isDead := subject == event.DeadSubject(m.provider) || strings.HasPrefix(subject, "events.replay.") && strings.Count(subject, ".") == 4
		if dead := m.deadLetter(); dead.Provider != m.provider || !bytes.Equal(dead.Body, body) || m.dead != isDead {
			t.Fatalf("%+v", dead)
		}
		e, err := m.decode(t.Context(), nil)
		if err != nil {
			if event.KindOf(err) != event.Invalid || len(body) > 0 && json.Unmarshal(body, &event.Event{}) == nil {
				t.Fatalf("%v", err)
			}
			return
		}
		if e.Provider != m.provider || e.Sequence != 9 || e.Seq != m.seq || !bytes.Equal(e.Body, body) {
			t.Fatalf("%+v", e)
		}
	})
}
