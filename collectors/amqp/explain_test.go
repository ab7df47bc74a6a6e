package amqp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// What a real broker answers, in the cases that an operator meets.
func TestExplainAnswers(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	vhost := broker.VHost(t)
	user, password := broker.User(t, vhost, `^(stackstream\.|mine$)`, `^stackstream\.`, `^stackstream\.`)
	admin, err := broker.Dial(t, vhost).Channel()
	if err != nil {
		t.Fatal(err)
	}
	for _, queue := range []string{"stackstream.q", "others"} {
		if _, err := admin.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.ExchangeDeclare("nova", "topic", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	cfg := guest(vhost)
	cfg.User, cfg.Password = user, event.Secret(password)
	conn, _, err := dialTo(t, cfg, broker.Addr()).dial(t.Context(), "")
	must(t, conn, err)
	declare := func(name string, durable bool, args amqp091.Table) func(*amqp091.Channel) error {
		return func(ch *amqp091.Channel) error {
			_, err := ch.QueueDeclare(name, durable, false, false, false, args)
			return err
		}
	}
	for _, tc := range []struct {
		op   string
		do   func(*amqp091.Channel) error
		kind event.Kind
		want []string
	}{
		{"declare queue q", declare("q", true, nil), event.Invalid,
			[]string{"declare queue q: invalid: user '" + user + "' has no right to configure or read queue 'q'", "ACCESS_REFUSED"}},
		{"declare queue mine", declare("mine", true, amqp091.Table{"x-dead-letter-exchange": "stackstream.d"}), event.Invalid,
			[]string{"has no right to configure or read queue 'mine'"}},
		{"declare queue stackstream.r", declare("stackstream.r", true, amqp091.Table{"x-dead-letter-exchange": "d"}), event.Invalid,
			[]string{"has no right to write exchange 'd'"}},
		{"create exchange nova", func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclare("nova", "topic", false, false, false, false, nil)
		}, event.Invalid, []string{"has no right to configure exchange 'nova'"}},
		{"bind queue stackstream.q to exchange nova", func(ch *amqp091.Channel) error {
			return ch.QueueBind("stackstream.q", "notifications.info", "nova", false, nil)
		}, event.Invalid, []string{"has no right to read exchange 'nova'"}},
		{"bind queue others to exchange nova", func(ch *amqp091.Channel) error {
			return ch.QueueBind("others", "notifications.info", "nova", false, nil)
		}, event.Invalid, []string{"has no right to write queue 'others'"}},
		{"consume queue others", func(ch *amqp091.Channel) error {
			_, err := ch.Consume("others", "", false, false, false, false, nil)
			return err
		}, event.Invalid, []string{"has no right to read queue 'others'"}},
		{"send a probe", func(ch *amqp091.Channel) error {
			closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
			if err := ch.PublishWithContext(t.Context(), "nova", "x", false, false, amqp091.Publishing{}); err != nil {
				return err
			}
			return <-closed
		}, event.Invalid, []string{"has no right to write exchange 'nova'"}},
		{"look for exchange absent", func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclarePassive("absent", "topic", false, false, false, false, nil)
		}, event.Unavailable, []string{"it is not there", "no exchange 'absent'"}},
		{"look for queue absent", func(ch *amqp091.Channel) error {
			_, err := ch.QueueDeclarePassive("absent", true, false, false, false, nil)
			return err
		}, event.Unavailable, []string{"it is not there", "no queue 'absent'"}},
		{"declare queue stackstream.q", declare("stackstream.q", false, nil), event.Invalid,
			[]string{"it exists with other settings than asked for", "inequivalent arg 'durable'"}},
		{"declare queue stackstream.n", declare("stackstream.n", true, amqp091.Table{"x-queue-type": "odd"}), event.Invalid,
			[]string{"the broker does not take it like that", "unsupported queue type"}},
		{"acknowledge", func(ch *amqp091.Channel) error {
			closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
			if err := ch.Ack(7, false); err != nil {
				return err
			}
			return <-closed
		}, event.Invalid, []string{"unknown delivery tag 7"}},
		{"consume queue stackstream.q", func(ch *amqp091.Channel) error {
			if _, err := admin.Consume("stackstream.q", "", false, true, false, false, nil); err != nil {
				return err
			}
			_, err := ch.Consume("stackstream.q", "", false, false, false, false, nil)
			return err
		}, event.Unavailable, []string{"another consumer has it to itself", "in exclusive use"}},
		{"use a channel that is closed", func(ch *amqp091.Channel) error {
			_ = ch.Close()
			_, err := ch.QueueDeclarePassive("absent", true, false, false, false, nil)
			return err
		}, event.Unavailable, []string{"is closed"}},
	} {
		t.Run(tc.op, func(t *testing.T) {
			ch, err := conn.Channel()
			if err != nil {
				t.Fatal(err)
			}
			err = explain(tc.op, tc.do(ch))
			wantError(t, err, tc.kind, append(tc.want, tc.op+": ")...)
			var answer *amqp091.Error
			if !errors.As(err, &answer) {
				t.Errorf("what the library said is not in the chain: %#v", err)
			}
		})
	}
}

func TestExplainLostConnections(t *testing.T) {
	broker := rabbitmqtest.Shared(t)
	const vhost = "to-be-deleted"
	broker.Ctl(t, "add_vhost", vhost)
	broker.Ctl(t, "set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
	cfg := guest(vhost)
	cfg.Heartbeat = time.Second
	for _, tc := range []struct {
		name string
		end  func(*rabbitmqtest.Proxy)
		want string
	}{
		{"cut", (*rabbitmqtest.Proxy).Cut, "the connection was lost"},
		{"frozen", (*rabbitmqtest.Proxy).Freeze, "the broker has gone silent, without even a heartbeat (see heartbeat)"},
		{"closed by an operator", func(*rabbitmqtest.Proxy) { broker.CloseConnections(t, vhost) },
			"the broker closed the connection: CONNECTION_FORCED"},
		{"vhost deleted", func(*rabbitmqtest.Proxy) { broker.Ctl(t, "delete_vhost", vhost) }, "vhost '" + vhost + "' is "}, // "deleted" or "down",
	} {
		t.Run(tc.name, func(t *testing.T) {
			proxy := rabbitmqtest.NewProxy(t, broker.Addr())
			conn, _, err := dialTo(t, cfg, proxy.Addr()).dial(t.Context(), "")
			must(t, conn, err)
			closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
			tc.end(proxy)
			wantError(t, explain("consume", <-closed), event.Unavailable, tc.want)
			_, err = conn.Channel()
			wantError(t, explain("open a channel", err), event.Unavailable, "is closed")
		})
	}
	_, _, err := dialTo(t, cfg, broker.Addr()).dial(t.Context(), "")
	wantError(t, err, event.Invalid, "no such virtual host")
}

// What this machine's broker does not say: other versions, and what takes too long to wait for.
func TestExplainTexts(t *testing.T) {
	answer := func(code int, reason string) error { return &amqp091.Error{Code: code, Reason: reason, Server: true} }
	for _, tc := range []struct {
		name string
		err  error
		kind event.Kind
		want string
	}{
		{"RabbitMQ 3.13 names the right", answer(403, "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'"),
			event.Invalid, "user 'u' has no right to configure queue 'q' in vhost '/': ACCESS_REFUSED"},
		{"topic rights", answer(403, "ACCESS_REFUSED - access to topic 'a.b' in exchange 'e' in vhost '/' refused for user 'u'"),
			event.Invalid, "user 'u' has no right to read topic 'a.b' in exchange 'e' in vhost '/'"},
		{"consumer timeout", answer(406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. "+
			"Timeout value used: 1800000 ms."), event.Unavailable, "waited too long for an acknowledgement"},
		{"limit of a user", answer(530, "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached"),
			event.Unavailable, "takes no more connections"},
		{"vhost down", answer(541, "INTERNAL_ERROR - access to vhost 'v' refused for user 'u': vhost 'v' is down"),
			event.Unavailable, "can't do it now"},
		{"queue's node down", answer(404, "NOT_FOUND - home node 'a@b' of durable queue 'q' in vhost '/' is down or inaccessible"),
			event.Unavailable, "it is not there"},
		{"shutdown", answer(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"),
			event.Unavailable, "the broker closed the connection"},
		{"frame error", answer(501, "FRAME_ERROR - type 2, first 16 octets = <<1>>"), event.Invalid, "does not understand us"},
		{"text over several lines", answer(320, "a\r\n b\x00\xffc"), event.Unavailable, "a b ?c"},
		{"library met a frame it can't read", &amqp091.Error{Code: 501, Reason: amqp091.ErrFrame.Error()}, event.Invalid, "not AMQP 0-9-1"},
		{"library met the end", &amqp091.Error{Code: 501, Reason: "EOF"}, event.Unavailable, "the connection was lost: EOF"},
		{"no more channels", amqp091.ErrChannelMax, event.Unavailable, "takes no more channels"},
		{"wrapped", fmt.Errorf("connection shutdown error: %w", &amqp091.Error{Code: 501, Reason: "EOF"}), event.Unavailable, "was lost"},
		{"end", io.EOF, event.Unavailable, "closed by the other side"},
		{"deadline", context.DeadlineExceeded, event.Unavailable, "no answer in time"},
		{"something else", errors.New("delivery not initialized"), event.Unavailable, "delivery not initialized"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := explain("consume queue q", tc.err)
			wantError(t, err, tc.kind, "consume queue q: ", tc.want)
			if !errors.Is(err, tc.err) {
				t.Errorf("the error is not in the chain of %v", err)
			}
		})
	}
	if err := explain("consume", nil); err != nil {
		t.Errorf("nothing is explained as %v", err)
	}
	known := &event.Error{Kind: event.Full, Op: "append"}
	if err := explain("consume", known); err.Error() != "append: full" {
		t.Errorf("an error with a kind becomes %v", err)
	}
}

// A channel that ends closes its other notifications, too: what the broker said about the end must not be taken for the end
// of the consumer alone.
func TestEndedNamesTheReason(t *testing.T) {
	for range 100 {
		closed, cancelled := make(chan *amqp091.Error, 1), make(chan string, 1)
		closed <- &amqp091.Error{Code: amqp091.ConnectionForced, Reason: "CONNECTION_FORCED - shutdown", Server: true}
		close(closed)
		close(cancelled)
		err := ended(t.Context(), "q", closed, cancelled)
		if err == nil || !strings.Contains(err.Error(), "CONNECTION_FORCED - shutdown") {
			t.Fatalf("ended returns %v; want what the broker said", err)
		}
	}
	cancelled := make(chan string, 1)
	cancelled <- consumerTag
	if err := ended(t.Context(), "q", nil, cancelled); err == nil || !strings.Contains(err.Error(), "cancelled our consumer") {
		t.Errorf("ended returns %v; want that the consumer was cancelled", err)
	}
}
