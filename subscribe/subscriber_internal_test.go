package subscribe

import (
	"context"
	"errors"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// away is a server whose object store can't be reached.
type away struct{ natsjs.JetStream }

func (away) ObjectStore(context.Context, string) (natsjs.ObjectStore, error) {
	return nil, errors.New("away")
}

// An event whose body can't be read now comes again, and is then taken like any other.
func TestANumberCountsWhenItsEventIsHandled(t *testing.T) {
	r := &reader{Subscriber: &Subscriber{opts: Options{Durable: "d"}, bodies: bodies{js: away{}}}}
	handled := 0
	r.handle = func(context.Context, Event) error { handled++; return nil }
	m := &message{provider: "p", sequence: 1, seq: 1, msg: whole{}, header: event.Header{
		event.HeaderBodyObject: {"sha256-00"}, event.HeaderBodySize: {"1"},
	}}
	if err := r.take(t.Context(), m); event.KindOf(err) != event.Unavailable {
		t.Fatalf("without the body: %v", err)
	}
	delete(m.header, event.HeaderBodyObject)
	if err := r.take(t.Context(), m); err != nil || handled != 1 {
		t.Errorf("when it comes again: %v, handled %d times", err, handled)
	}
}

// whole is a message with an event.
type whole struct{ natsjs.Msg }

func (whole) Data() []byte {
	return []byte(`{"message_id": "a", "event_type": "t", "timestamp": "2026-11-28T01:02:03Z", "payload": {}}`)
}
