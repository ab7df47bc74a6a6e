package amqp

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/notification"
	"stackstream/internal/rabbitmqtest"
)

// listOf is what Ceilometer's agent publishes on its topic: a notification with a list of events.
func listOf(envelope string, ids ...string) []byte {
	var events []string
	for _, id := range ids {
		events = append(events, fmt.Sprintf(`{\"message_id\": \"%s\", \"event_type\": \"image.%s\", `+
			`\"generated\": \"2026-11-22T06:26:46.006319\", \"traits\": [[\"size\", 2, 5]], \"raw\": {}}`, id, strings.Split(id, "-")[0]))
	}
	return fmt.Appendf(nil, `{"oslo.version": "2.0", "oslo.message": "{\"message_id\": \"%s\", \"event_type\": \"event\", `+
		`\"priority\": \"SAMPLE\", \"payload\": [%s], \"timestamp\": \"2026-11-22 06:26:46.006319\"}"}`, envelope, strings.Join(events, ", "))
}

// The events of Ceilometer's agent are events of their own, each known by its own identity, whatever they came in.
func TestEventsOfCeilometer(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	r := newRig(t, broker, vhost, func(c *Config) {
		c.Exchanges, c.Topics, c.Priorities = []string{"ceilometer"}, []string{"event"}, []string{"sample"}
		c.EventTypes.Exclude = []string{"image.exists"}
		c.Prefetch = firstPrefetch // another one takes another channel, and what was not acknowledged comes again
	})
	agent := newService(t, broker, vhost, "ceilometer", true)
	r.run()
	r.live(Kind, "ceilometer")
	for _, body := range [][]byte{
		listOf("l-1", "create-1"), listOf("l-2", "create-2", "exists-1", "delete-1"), listOf("l-3", "delete-1", "create-3"), listOf("l-4"),
	} {
		agent.publish("event.sample", amqp091.Publishing{Body: body, ContentType: "application/json"})
	}
	r.wantIDs([]string{"create-1", "create-2", "delete-1", "create-3", "l-4"})
	events := r.log.Events(cloud)
	var formats, parts, envelopes []string
	for _, e := range events {
		formats = append(formats, e.Format)
		parts = append(parts, e.Header[notification.HeaderPart])
		envelopes = append(envelopes, e.Header[notification.HeaderEnvelope])
	}
	c := notification.Ceilometer
	if !slices.Equal(formats, []string{c, c, c, c, notification.Oslo}) || !slices.Equal(parts, []string{"", "1/3", "3/3", "2/2", ""}) ||
		!slices.Equal(envelopes, []string{"l-1", "l-2", "l-2", "l-3", ""}) {
		t.Errorf("formats %v, parts %v, envelopes %v", formats, parts, envelopes)
	}
	if string(events[0].Body) != string(listOf("l-1", "create-1")) {
		t.Errorf("what came with one event was changed to %s", events[0].Body)
	}
	r.eventually("one to be left out by its type, and one because it is known", func() bool {
		told := r.told()
		return told.filtered == 1 && told.repeated == 1
	})
}
