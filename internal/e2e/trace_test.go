package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/rabbitmqtest"
)

// The trace context of the operation that an event tells of reaches who subscribes: from the headers of the message that AMQP
// brought, or from the context in the notification. What is none costs the event nothing.
func TestTraceContextReachesSubscribers(t *testing.T) {
	t.Parallel()
	const (
		message = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		inside  = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	)
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	publisher := broker.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()))
	if err := publisher.Declare(t.Context(), "nova", "notifications.info"); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	file := amqpFile(t, broker, vhost, "  embedded: {dir: "+filepath.Join(t.TempDir(), "store")+"}",
		"durable_exchanges: true\nexchanges: [nova]\nprobe: 1s\n")
	start(t, "stackstream", "up", "-c", file, "--nats-listen", addr)
	nc := connect(t, "nats://"+addr)
	observe(t, nc, "amqp").awaitBound(t, "amqp", "nova")
	sub, err := nc.SubscribeSync("events.normalized.prod")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		headers       amqp091.Table
		context       string
		parent, state string
	}{
		{nil, ``, "", ""},
		{amqp091.Table{"traceparent": message, "tracestate": "rojo=1"}, ``, message, "rojo=1"},
		{nil, `"_context_traceparent": "` + inside + `", `, inside, ""},
		{amqp091.Table{"traceparent": message}, `"_context_traceparent": "` + inside + `", `, message, ""},
		{amqp091.Table{"traceparent": "00-1-2-01", "tracestate": "rojo=1"}, ``, "", ""},
	}
	for i, tt := range tests {
		m := rabbitmqtest.Message{Exchange: "nova", Key: "notifications.info", Publishing: rabbitmqtest.JSON(fmt.Appendf(nil,
			`{%s"message_id": "m-%d", "event_type": "x.y", "timestamp": "2026-11-22 06:06:06", "payload": {}}`, tt.context, i))}
		m.Publishing.Headers = tt.headers
		if err := publisher.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for i, tt := range tests {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"ce-id": fmt.Sprintf("m-%d", i), "traceparent": tt.parent, "ce-traceparent": tt.parent, "tracestate": tt.state, "ce-tracestate": tt.state,
		} {
			if got := m.Header[name]; want == "" && got != nil || want != "" && (len(got) != 1 || got[0] != want) {
				t.Errorf("message %d has %s %q, want %q", i, name, got, want)
			}
		}
	}
}
