package deploytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/rabbitmqtest"
)

const definitions = "/etc/rabbitmq/definitions.json" // where compose.yaml puts what generate-secrets.sh wrote

// broker is the RabbitMQ of compose.yaml as a process, with deploy/rabbitmq/rabbitmq.conf and generated users.
type broker struct {
	*rabbitmqtest.Broker
	dir string // the copy of deploy
}

func startBroker(t *testing.T, dir string) *broker {
	t.Helper()
	text := read(t, filepath.Join(dir, "rabbitmq", "rabbitmq.conf"))
	if !strings.Contains(text, definitions+"\n") {
		t.Fatalf("rabbitmq.conf does not read %s", definitions)
	}
	text = strings.ReplaceAll(text, definitions, filepath.Join(dir, "secrets", "rabbitmq-definitions.json"))
	return &broker{rabbitmqtest.Start(t, rabbitmqtest.Conf(strings.Split(text, "\n")...)), dir}
}

func (b *broker) password(t *testing.T, user string) string {
	t.Helper()
	return strings.TrimSpace(read(t, filepath.Join(b.dir, "secrets", "rabbitmq-"+user+".password")))
}

// channel is a channel of a connection of its own.
func (b *broker) channel(t *testing.T, user string) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(rabbitmqtest.URL(b.Addr(), user, b.password(t, user), "/"))
	if err != nil {
		t.Fatalf("log in as %s: %v", user, err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the broker may be gone
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestBrokerConfigurationIsMounted(t *testing.T) {
	service := load(t).Services["rabbitmq"]
	var configs, secrets []string
	for _, c := range service.Configs {
		configs = append(configs, c.Source+" "+c.Target)
	}
	for _, s := range service.Secrets {
		secrets = append(secrets, s.Source+" "+s.Target)
	}
	if want := []string{"rabbitmq /etc/rabbitmq/conf.d/20-stackstream.conf"}; !slices.Equal(configs, want) {
		t.Errorf("configs are %v, want %v", configs, want)
	}
	if want := []string{"rabbitmq-definitions " + definitions}; !slices.Equal(secrets, want) {
		t.Errorf("secrets are %v, want %v", secrets, want)
	}
}

// TestBroker proves who may log in, and what each user may do and may not.
func TestBroker(t *testing.T) {
	b := startBroker(t, generate(t))
	t.Run("users", func(t *testing.T) { users(t, b) })
	t.Run("rights", func(t *testing.T) { brokerRights(t, b) })
	t.Run("a new password holds from the next start on", func(t *testing.T) { newPassword(t, b) })
}

func users(t *testing.T, b *broker) {
	var list []struct {
		User string   `json:"user"`
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal([]byte(b.Ctl(t, "list_users", "--formatter", "json")), &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range list {
		got = append(got, strings.TrimSpace(u.User+" "+strings.Join(u.Tags, ",")))
	}
	slices.Sort(got)
	if want := []string{"admin administrator", "openstack", "stackstream"}; !slices.Equal(got, want) {
		t.Errorf("users are %v, want %v: above all no guest", got, want)
	}
	for _, user := range []string{"admin", "openstack", "stackstream"} {
		b.channel(t, user)
		if conn, err := amqp091.Dial(rabbitmqtest.URL(b.Addr(), user, "wrong", "/")); err == nil {
			_ = conn.Close()
			t.Errorf("%s may log in with a wrong password", user)
		}
	}
}

// brokerRights does as each user what it must be able to do, and what it must not. What is allowed is shown to exist, so
// that a refusal is one of the right and not for something that is missing.
func brokerRights(t *testing.T, b *broker) {
	service := b.channel(t, "openstack")
	for _, err := range []error{
		service.ExchangeDeclare("nova", "topic", false, false, false, false, nil),
		service.ExchangeDeclare("secret", "topic", false, false, false, false, nil),
		declareQueue(service, "notifications.info"),
		service.QueueBind("notifications.info", "notifications.info", "nova", false, nil),
		service.Publish("nova", "notifications.info", false, false, amqp091.Publishing{}),
	} {
		if err != nil {
			t.Fatalf("a service can't notify: %v", err)
		}
	}
	ours := b.channel(t, "stackstream")
	for _, err := range []error{
		ours.ExchangeDeclarePassive("nova", "topic", false, false, false, false, nil),
		declareQueue(ours, "stackstream.my-cloud.amqp"),
		ours.QueueBind("stackstream.my-cloud.amqp", "notifications.info", "nova", false, nil),
		ours.ExchangeDeclare("stackstream.my-cloud.amqp.probe", "direct", false, false, false, false, nil),
		ours.QueueBind("stackstream.my-cloud.amqp", "p", "stackstream.my-cloud.amqp.probe", false, nil),
		ours.Publish("stackstream.my-cloud.amqp.probe", "p", false, false, amqp091.Publishing{}),
		consume(ours, "stackstream.my-cloud.amqp"),
	} {
		if err != nil {
			t.Fatalf("a collector can't work: %v", err)
		}
	}
	for _, test := range []struct {
		user, what string
		do         func(ch *amqp091.Channel) error
	}{
		{"stackstream", "consumes a service's queue", func(ch *amqp091.Channel) error { return consume(ch, "notifications.info") }},
		{"stackstream", "empties a service's queue", func(ch *amqp091.Channel) error {
			_, err := ch.QueuePurge("notifications.info", false)
			return err
		}},
		{"stackstream", "deletes a service's queue", func(ch *amqp091.Channel) error {
			_, err := ch.QueueDelete("notifications.info", false, false, false)
			return err
		}},
		{"stackstream", "binds a service's queue", func(ch *amqp091.Channel) error {
			return ch.QueueBind("notifications.info", "#", "nova", false, nil)
		}},
		{"stackstream", "declares a service's exchange", func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclare("glance", "topic", false, false, false, false, nil)
		}},
		{"stackstream", "deletes a service's exchange", func(ch *amqp091.Channel) error { return ch.ExchangeDelete("nova", false, false) }},
		{"stackstream", "reads another exchange", func(ch *amqp091.Channel) error {
			return ch.QueueBind("stackstream.my-cloud.amqp", "#", "secret", false, nil)
		}},
		{"stackstream", "notifies in a service's name", func(ch *amqp091.Channel) error {
			return refusedPublish(ch, "nova", "notifications.info")
		}},
		{"stackstream", "publishes to any queue", func(ch *amqp091.Channel) error { return refusedPublish(ch, "", "notifications.info") }},
		{"openstack", "declares a queue of ours", func(ch *amqp091.Channel) error { return declareQueue(ch, "stackstream.other") }},
		{"openstack", "consumes our queue", func(ch *amqp091.Channel) error { return consume(ch, "stackstream.my-cloud.amqp") }},
		{"openstack", "deletes our queue", func(ch *amqp091.Channel) error {
			_, err := ch.QueueDelete("stackstream.my-cloud.amqp", false, false, false)
			return err
		}},
	} {
		t.Run(test.user+" "+test.what, func(t *testing.T) {
			var refused *amqp091.Error
			if err := test.do(b.channel(t, test.user)); !errors.As(err, &refused) || refused.Code != amqp091.AccessRefused {
				t.Errorf("the broker answers %v, want a refusal", err)
			}
		})
	}
}

func declareQueue(ch *amqp091.Channel, name string) error {
	_, err := ch.QueueDeclare(name, true, false, false, false, nil)
	return err
}

func consume(ch *amqp091.Channel, queue string) error {
	_, err := ch.Consume(queue, "", false, false, false, false, nil)
	return err
}

// refusedPublish waits for the broker's answer to a publish: a refusal closes the channel.
func refusedPublish(ch *amqp091.Channel, exchange, key string) error {
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirmed := ch.NotifyPublish(make(chan amqp091.Confirmation, 1))
	if err := ch.Publish(exchange, key, false, false, amqp091.Publishing{}); err != nil {
		return err
	}
	select {
	case err := <-closed:
		return err
	case c := <-confirmed:
		if c.DeliveryTag == 0 {
			return <-closed
		}
		return errors.New("taken")
	case <-time.After(limit):
		return fmt.Errorf("no answer within %s", limit)
	}
}

func newPassword(t *testing.T, b *broker) {
	old := b.password(t, "stackstream")
	remove(t, filepath.Join(b.dir, "secrets", "rabbitmq-stackstream.password"))
	generateIn(t, b.dir)
	b.Restart(t)
	b.channel(t, "stackstream")
	if conn, err := amqp091.Dial(rabbitmqtest.URL(b.Addr(), "stackstream", old, "/")); err == nil {
		_ = conn.Close()
		t.Error("the old password still holds")
	}
}
