package amqp

import (
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"pgregory.net/rapid"

	"stackstream/event"
	"stackstream/internal/notification"
	"stackstream/internal/rawjson/rawjsontest"
)

// Whatever message_ids services hand out, two are one identity only if they are the same, also where the message has an id of its own.
func TestIdentitiesOfDeliveries(t *testing.T) {
	rawjsontest.Distinct(t, func(t *rapid.T, quoted string) event.Raw {
		d := &amqp091.Delivery{
			MessageId: "of-the-message", Body: []byte(`{"message_id": ` + quoted + `, "event_type": "a.b", "payload": {"x": "\udcff"}}`),
		}
		raws, _, _ := new(notification.Reader).Raws(raw(d), uncompressed(d), func(string) bool { return true })
		return raws[0]
	})
}

// The id of a message whose body has none is one only if it is text.
func TestIdentitiesOfMessagesWithoutOne(t *testing.T) {
	for id, want := range map[string]event.ID{"a": "a", "é\uFFFD": "é\uFFFD", "": "", "\xff": "", "\xed\xa0\x80": ""} {
		d := &amqp091.Delivery{MessageId: id, Body: []byte(`{"event_type": "a.b"}`)}
		raws, _, _ := new(notification.Reader).Raws(raw(d), uncompressed(d), func(string) bool { return true })
		if len(raws) != 1 || raws[0].ID != want {
			t.Errorf("%q: %+v", id, raws)
		}
	}
}
