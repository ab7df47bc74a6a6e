package rabbitmqtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/rabbitmqtest"
)

// drain gets what is in a queue.
func drain(t *testing.T, ch *amqp.Channel, queue string) []amqp.Delivery {
	t.Helper()
	var all []amqp.Delivery
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatalf("get from %s: %v", queue, err)
		}
		if !ok {
			return all
		}
		all = append(all, d)
	}
}

func TestVariants(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	for _, v := range rabbitmqtest.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			vhost := b.VHost(t)
			p := b.Publisher(t, vhost, rabbitmqtest.As(v))
			if err := p.Notify(t.Context(), "nova", rabbitmqtest.Notification{MessageID: "m1", Priority: "ERROR"}); err != nil {
				t.Fatalf("publish: %v", err)
			}
			if got := p.Confirmed("nova"); !slices.Equal(got, []string{"m1"}) {
				t.Errorf("confirmed: %v", got)
			}
			c := b.Dial(t, vhost)
			same := func(durable, autoDelete bool) error {
				return channel(t, c).ExchangeDeclare("nova", "topic", durable, autoDelete, false, false, nil)
			}
			var e *amqp.Error
			if err := same(v.Durable, v.AutoDelete); err != nil {
				t.Errorf("declare the exchange with the same flags: %v", err)
			}
			if err := same(!v.Durable, v.AutoDelete); !errors.As(err, &e) || e.Code != amqp.PreconditionFailed {
				t.Errorf("declare the exchange with another durability: %v", err)
			}
			if err := same(v.Durable, !v.AutoDelete); !errors.As(err, &e) || e.Code != amqp.PreconditionFailed {
				t.Errorf("declare the exchange with another auto-delete: %v", err)
			}
			args := maps.Clone(v.Arguments)
			if _, err := channel(t, c).QueueDeclare("notifications.error", v.Durable, v.AutoDelete, false, false, args); err != nil {
				t.Errorf("declare the queue with the same flags: %v", err)
			}
			if got := len(drain(t, channel(t, c), "notifications.error")); got != 1 {
				t.Errorf("the queue has %d messages", got)
			}
		})
	}
}

func TestNotifications(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	vhost := b.VHost(t)
	p := b.Publisher(t, vhost)
	n := rabbitmqtest.Notification{
		MessageID: "id", EventType: "image.create", PublisherID: "image.host", Priority: "WARN",
		Timestamp: time.Date(2026, 11, 22, 5, 42, 9, 830894000, time.UTC),
		Payload:   json.RawMessage(`{"a":[1,null]}`), Context: map[string]any{"_context_project_id": "p"}, Topic: "other",
	}
	bare := n
	bare.Bare = true
	if err := p.Notify(t.Context(), "glance", n, bare); err != nil {
		t.Fatalf("publish: %v", err)
	}
	got := drain(t, channel(t, b.Dial(t, vhost)), "other.warn")
	if len(got) != 2 {
		t.Fatalf("%d messages arrived", len(got))
	}
	for i, d := range got {
		if d.ContentType != "application/json" || d.ContentEncoding != "utf-8" || d.DeliveryMode != amqp.Persistent || d.MessageId != "" {
			t.Errorf("published with %+v", d)
		}
		body := d.Body
		if i == 0 {
			var envelope map[string]string
			if err := json.Unmarshal(body, &envelope); err != nil || envelope["oslo.version"] != "2.0" {
				t.Fatalf("envelope %s: %v", body, err)
			}
			body = []byte(envelope["oslo.message"])
		}
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatalf("notification %s: %v", body, err)
		}
		unique, _ := fields["_unique_id"].(string)
		delete(fields, "_unique_id")
		if len(unique) != 32 {
			t.Errorf("_unique_id is %q", unique)
		}
		want := map[string]any{
			"message_id": "id", "event_type": "image.create", "publisher_id": "image.host", "priority": "WARN",
			"timestamp": "2026-11-22 05:42:09.830894", "payload": map[string]any{"a": []any{1.0, nil}}, "_context_project_id": "p",
		}
		if diff := cmp.Diff(want, fields); diff != "" {
			t.Errorf("notification (-want +got):\n%s", diff)
		}
	}
}

func TestPublisherSendsAnything(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	vhost := b.VHost(t)
	p := b.Publisher(t, vhost, rabbitmqtest.Window(10))
	want := amqp.Publishing{ContentType: "text/plain", MessageId: "m", Headers: amqp.Table{"h": "x"}, Body: []byte("{\x00")}
	err := p.Publish(t.Context(), rabbitmqtest.Message{Exchange: "e", Key: "k", Publishing: want},
		rabbitmqtest.Message{ID: "named", Exchange: "e", Key: "k", Publishing: rabbitmqtest.JSON([]byte("{}"))})
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	if got := p.Confirmed("e"); !slices.Equal(got, []string{"named"}) {
		t.Errorf("confirmed: %v", got)
	}
	got := drain(t, channel(t, b.Dial(t, vhost)), "k")
	if len(got) != 2 {
		t.Fatalf("%d messages arrived", len(got))
	}
	if d := got[0]; d.ContentType != want.ContentType || d.MessageId != want.MessageId || d.Headers["h"] != "x" ||
		string(d.Body) != string(want.Body) || d.DeliveryMode == amqp.Persistent {
		t.Errorf("arrived as %+v", d)
	}
}

// A window of messages is on its way whenever the broker dies.
func TestPublisherSurvivesTheBroker(t *testing.T) {
	const messages, deaths = 3000, 2
	b := rabbitmqtest.Start(t)
	vhost := b.VHost(t)
	p := b.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()), rabbitmqtest.Window(50))
	var ids []string
	for i := range messages {
		ids = append(ids, fmt.Sprintf("m%d", i))
	}
	published := make(chan error, 1)
	go func() {
		for chunk := range slices.Chunk(ids, 50) {
			var batch []rabbitmqtest.Notification
			for _, id := range chunk {
				batch = append(batch, rabbitmqtest.Notification{MessageID: id})
			}
			if err := p.Notify(t.Context(), "nova", batch...); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	for i := range deaths {
		if !rabbitmqtest.Poll(func() bool { return len(p.Confirmed("nova")) >= (i+1)*messages/(deaths+2) }) {
			t.Fatalf("%d messages confirmed", len(p.Confirmed("nova")))
		}
		b.Kill(t)
		b.Run(t)
	}
	if err := <-published; err != nil {
		t.Fatalf("publish: %v", err)
	}
	if got := p.Confirmed("nova"); !slices.Equal(got, ids) {
		t.Errorf("%d of %d messages confirmed, in another order than they were published first", len(got), len(ids))
	}
	var arrived []string
	seen := map[string]bool{}
	all := drain(t, channel(t, b.Dial(t, vhost)), "notifications.info")
	for _, d := range all {
		_, id, _ := strings.Cut(string(d.Body), `message_id\":\"`)
		id, _, _ = strings.Cut(id, `\`)
		if !seen[id] {
			arrived = append(arrived, id)
		}
		seen[id] = true
	}
	if !slices.Equal(arrived, ids) {
		t.Errorf("%d of %d confirmed messages are in the durable queue, or their order is another", len(arrived), len(ids))
	}
	if extra := len(all) - len(arrived); extra > p.Resent() {
		t.Errorf("%d messages are there twice, %d were sent twice", extra, p.Resent())
	}
}

// A transient exchange is gone after a restart; the publisher declares it again, as a service does.
func TestPublisherDeclaresAgain(t *testing.T) {
	b := rabbitmqtest.Start(t)
	p := b.Publisher(t, "/")
	if err := p.Declare(t.Context(), "keystone", "notifications.info"); err != nil {
		t.Fatalf("declare: %v", err)
	}
	b.Restart(t)
	if has(t, b.Dial(t, "/"), "keystone") {
		t.Fatal("a transient exchange survived")
	}
	if err := p.Notify(t.Context(), "keystone", rabbitmqtest.Notification{}); err != nil {
		t.Fatalf("publish: %v", err)
	}
	if err := channel(t, b.Dial(t, "/")).ExchangeDelete("keystone", false, false); err != nil { // under its feet
		t.Fatal(err)
	}
	if err := p.Notify(t.Context(), "keystone", rabbitmqtest.Notification{}); err != nil {
		t.Fatalf("publish: %v", err)
	}
	if got := len(p.Confirmed("keystone")); got != 2 || !has(t, b.Dial(t, "/"), "keystone") {
		t.Errorf("%d confirmed", got)
	}
}

func TestPublisherSaysWhatIsRefused(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	vhost := b.VHost(t)
	if err := b.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable())).Declare(t.Context(), "e", "k"); err != nil {
		t.Fatalf("declare: %v", err)
	}
	user, password := b.User(t, vhost, "", ".*", "")
	for name, tc := range map[string]struct {
		opts []rabbitmqtest.PublisherOption
		code int
	}{
		"other flags":           {nil, amqp.PreconditionFailed},
		"wrong password":        {[]rabbitmqtest.PublisherOption{rabbitmqtest.Login(user, "wrong")}, amqp.AccessRefused},
		"no right to configure": {[]rabbitmqtest.PublisherOption{rabbitmqtest.Login(user, password)}, amqp.AccessRefused},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.Publisher(t, vhost, tc.opts...)
			err := p.Publish(t.Context(), rabbitmqtest.Message{ID: "x", Exchange: "e", Key: "k"})
			var e *amqp.Error
			if !errors.As(err, &e) || e.Code != tc.code || len(p.Confirmed("e")) != 0 {
				t.Errorf("publish: %v, confirmed %v", err, p.Confirmed("e"))
			}
		})
	}
}
