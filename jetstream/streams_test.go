package jetstream_test

import (
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

func TestStreamStates(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	for _, name := range jetstream.StreamNames() {
		s, err := c.StreamState(testContext(t), name)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != name || s.Messages != 0 || s.MaxBytes <= 0 || s.MaxAge <= 0 || s.Replicas != 1 || s.Current != 1 {
			t.Errorf("%s is empty, and its state is %+v", name, s)
		}
	}
	js, err := natsjs.New(c.Conn())
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Second)
	for range 3 {
		if _, err := js.Publish(testContext(t), "ingest.raw.prod.panko", make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.StreamState(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	if s.Messages != 3 || s.Bytes < 3000 || s.Oldest.Before(before) || s.Oldest.After(time.Now().Add(time.Second)) {
		t.Errorf("the state is %+v", s)
	}
	if _, err := c.StreamState(testContext(t), "NONE"); event.KindOf(err) != event.Unavailable {
		t.Errorf("a stream that is not there: %v", err)
	}
}

// Subscribers are the durable consumers of normalized events and nobody else.
func TestSubscribers(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	js, err := natsjs.New(c.Conn())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := js.Publish(ctx, "ingest.normalized.prod", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	durable := natsjs.ConsumerConfig{Durable: "inventory", FilterSubject: "events.normalized.*", AckPolicy: natsjs.AckAllPolicy}
	consumer, err := js.CreateConsumer(ctx, event.StreamNormalized, durable)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateConsumer(ctx, event.StreamNormalized, natsjs.ConsumerConfig{Name: "passing", AckPolicy: natsjs.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(3)
	if err != nil {
		t.Fatal(err)
	}
	var messages []natsjs.Msg
	for m := range batch.Messages() {
		messages = append(messages, m)
	}
	if err := messages[1].DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
	list, err := c.Subscribers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Durable != "inventory" || list[0].Pending != 2 || list[0].Unacknowledged != 1 ||
		time.Since(list[0].AcknowledgedAt) > time.Minute {
		t.Errorf("the subscribers are %+v, want inventory, with 2 to come and 1 in hand", list)
	}
}

// Whoever may not ask is told so, at once.
func TestSubscribersWithoutTheRight(t *testing.T) {
	connect := serverWithUsers(t, map[string][]string{"normalizer": rightsOfNormalizer})
	began := time.Now()
	_, err := connect("normalizer").Subscribers(testContext(t))
	if event.KindOf(err) != event.Invalid {
		t.Errorf("error is %v, want one of the kind invalid", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}
