package jetstream_test

import (
	"strings"
	"sync/atomic"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// A cluster loses requests to a consumer that was just made. That costs a moment, and not the time after which a consumer is taken for
// one that is gone.
func TestFeedAsksAgainWhenAResetIsLost(t *testing.T) {
	server := jetstreamtest.Server(t)
	mustAppend(t, server.Client(t).Raw(), rawBatch("panko", 1, 10, 0))
	var resets, deleted atomic.Int64
	sieve := jetstreamtest.NewSieve(t, server.URL(), func(subject string) bool {
		if strings.HasPrefix(subject, "$JS.API.CONSUMER.DELETE.") {
			deleted.Add(1)
		}
		return strings.HasPrefix(subject, "$JS.API.CONSUMER.RESET.") && resets.Add(1) < 3
	})
	read(t, open(t, through(t, sieve), event.NormalizedCursor{}), "panko", 1, 10)
	if resets.Load() != 3 || deleted.Load() != 0 {
		t.Errorf("%d resets were sent, want 3; the consumer was removed %d times", resets.Load(), deleted.Load())
	}
}

// Where nobody is there to answer yet, it is asked until somebody is.
func TestAConsumerIsAwaited(t *testing.T) {
	server := jetstreamtest.Server(t)
	asked := make(chan struct{}, 1000)
	sieve := jetstreamtest.NewSieve(t, server.URL(), func(subject string) bool {
		if strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT.") {
			asked <- struct{}{}
		}
		return false
	})
	c, js := through(t, sieve), jetStream(t, server.Client(t))
	create := func() natsjs.Consumer {
		t.Helper()
		consumer, err := js.CreateConsumer(testContext(t), event.StreamRaw, natsjs.ConsumerConfig{
			Durable: "late", FilterSubject: event.RawSubjects(prov), AckPolicy: natsjs.AckExplicitPolicy, MemoryStorage: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		return consumer
	}
	consumer := create()
	if err := js.DeleteConsumer(testContext(t), event.StreamRaw, "late"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.AwaitConsumer(testContext(t), consumer) }()
	for range 3 {
		<-asked
	}
	create()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	info, err := consumer.Info(testContext(t))
	if err != nil || info.NumWaiting != 0 || info.Delivered.Consumer != 0 {
		t.Errorf("what was asked left %+v (%v)", info, err)
	}
}

func through(t *testing.T, gate *jetstreamtest.Gate) *jetstream.Client {
	t.Helper()
	c, err := jetstream.Connect(testContext(t), jetstream.Config{URLs: []string{gate.URL()}}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Conn().Close)
	return c
}
