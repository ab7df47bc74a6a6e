package rabbitmqtest_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"stackstream/internal/rabbitmqtest"
)

func TestMain(m *testing.M) { os.Exit(rabbitmqtest.Main(m)) }

func channel(t *testing.T, c *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := c.Channel()
	if err != nil {
		t.Fatalf("open a channel: %v", err)
	}
	return ch
}

// has says whether an exchange exists.
func has(t *testing.T, c *amqp.Connection, exchange string) bool {
	t.Helper()
	err := channel(t, c).ExchangeDeclarePassive(exchange, amqp.ExchangeTopic, false, false, false, false, nil)
	var e *amqp.Error
	if err != nil && (!errors.As(err, &e) || e.Code != amqp.NotFound) {
		t.Fatalf("look for exchange %s: %v", exchange, err)
	}
	return err == nil
}

func TestBrokerKeepsWhatIsDurable(t *testing.T) {
	b := rabbitmqtest.Start(t)
	vhost, addr := b.VHost(t), b.Addr()
	down := map[string]func(){"stopped": func() { b.Stop(t) }, "killed": func() { b.Kill(t) }}
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			transient, durable := how+".transient", how+".durable"
			for exchange, variant := range map[string]rabbitmqtest.Variant{transient: rabbitmqtest.Transient(), durable: rabbitmqtest.Durable()} {
				p := b.Publisher(t, vhost, rabbitmqtest.As(variant))
				n := rabbitmqtest.Notification{Topic: exchange}
				if err := p.Notify(t.Context(), exchange, n, n, n); err != nil {
					t.Fatalf("publish: %v", err)
				}
			}
			pid := b.Pid()
			down[how]()
			if s := rabbitmqtest.State(pid); s != 0 && s != 'Z' {
				t.Errorf("the broker is down, but process %d is in state %c", pid, s)
			}
			if c, err := amqp.Dial(b.URL(vhost)); err == nil {
				c.Close()
				t.Error("the broker is down, but listens")
			}
			b.Run(t)
			if b.Addr() != addr {
				t.Errorf("the broker was at %s and is at %s", addr, b.Addr())
			}
			c := b.Dial(t, vhost)
			if has(t, c, transient) || !has(t, c, durable) {
				t.Errorf("transient exchange there: %t, durable: %t", has(t, c, transient), has(t, c, durable))
			}
			if d := b.Depth(t, vhost, durable+".info"); d.Ready != 3 {
				t.Errorf("the durable queue has %+v, want 3 messages", d)
			}
		})
	}
}

func TestBrokersSideBySide(t *testing.T) {
	a, b := rabbitmqtest.Start(t), rabbitmqtest.Shared(t)
	if a.Addr() == b.Addr() || a.Root() == b.Root() {
		t.Fatalf("both are at %s in %s", a.Addr(), a.Root())
	}
	if err := a.Publisher(t, "/").Notify(t.Context(), "side", rabbitmqtest.Notification{}); err != nil {
		t.Fatalf("publish: %v", err)
	}
	if has(t, b.Dial(t, "/"), "side") || !has(t, a.Dial(t, "/"), "side") {
		t.Error("an exchange of one broker is not there only")
	}
	if users := a.Ctl(t, "list_users"); !strings.Contains(users, "guest") {
		t.Errorf("rabbitmqctl list_users printed %q", users)
	}
	if nodes := a.Eval(t, "nodes(hidden) ++ nodes()"); strings.Contains(nodes, b.Node()) {
		t.Errorf("the brokers know each other: %s", nodes)
	}
	a.Kill(t)
	if !has(t, b.Dial(t, "/"), "amq.topic") {
		t.Error("killing one broker harms the other")
	}
}

func TestBrokerThatIsPaused(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	b.Pause(t)
	if s := rabbitmqtest.State(b.Pid()); s != 'T' {
		t.Errorf("a paused broker is in state %c", s)
	}
	c, err := net.Dial("tcp4", b.Addr())
	if err != nil {
		t.Fatalf("connect to a paused broker: %v", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		t.Fatal(err)
	}
	silent(t, c)
	b.Resume(t)
	arrives(t, c, "\x01\x00\x00") // a method on channel 0
}

func TestBrokerWithOptions(t *testing.T) {
	b := rabbitmqtest.Start(t, rabbitmqtest.Management(), rabbitmqtest.Conf("consumer_timeout = 12345000"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.ManagementURL()+"/api/overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("ask the management plugin: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the management plugin answers %s", resp.Status)
	}
	if got := b.Eval(t, "application:get_env(rabbit, consumer_timeout)"); got != "{ok,12345000}" {
		t.Errorf("consumer_timeout is %s", got)
	}
	for _, l := range listeners(t, rabbitmqtest.Processes(b.Root())) {
		if !l.IP.IsLoopback() {
			t.Errorf("something listens at %v", l)
		}
	}
}

func TestBrokerListensOnLoopbackOnly(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	got := listeners(t, rabbitmqtest.Processes(b.Root()))
	var at []string
	for _, l := range got {
		at = append(at, l.String())
		if !l.IP.IsLoopback() {
			t.Errorf("something listens at %v", l)
		}
	}
	if !slices.Contains(at, b.Addr()) || len(at) < 3 {
		t.Errorf("listeners: %v, want the broker at %s, Erlang's distribution and the port mapper", at, b.Addr())
	}
}

func TestVHostsAndUsers(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	var vhost, user string
	t.Run("while it is needed", func(t *testing.T) {
		vhost = b.VHost(t)
		if other := b.VHost(t); other == vhost {
			t.Errorf("two virtual hosts are named %s", vhost)
		}
		var password string
		user, password = b.User(t, vhost, `^mine\.`, `^mine\.`, "")
		c, err := amqp.Dial(rabbitmqtest.URL(b.Addr(), user, password, vhost))
		if err != nil {
			t.Fatalf("connect as %s: %v", user, err)
		}
		defer c.Close()
		for queue, want := range map[string]int{"mine.a": 0, "yours": amqp.AccessRefused} {
			_, err := channel(t, c).QueueDeclare(queue, false, false, false, false, nil)
			got := 0
			var e *amqp.Error
			if errors.As(err, &e) {
				got = e.Code
			} else if err != nil {
				t.Errorf("declare %s: %v", queue, err)
			}
			if got != want {
				t.Errorf("declare %s: code %d, want %d", queue, got, want)
			}
		}
	})
	if got := b.Ctl(t, "list_vhosts"); strings.Contains(got, vhost) {
		t.Errorf("virtual host %s is still there:\n%s", vhost, got)
	}
	if got := b.Ctl(t, "list_users"); strings.Contains(got, user) {
		t.Errorf("user %s is still there:\n%s", user, got)
	}
}

func TestAlarmBlocksPublishers(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	for _, resource := range []string{"memory", "disk"} {
		t.Run(resource, func(t *testing.T) {
			c := b.Dial(t, "/")
			blocked := c.NotifyBlocked(make(chan amqp.Blocking, 4))
			b.Alarm(t, resource, true)
			if err := channel(t, c).PublishWithContext(t.Context(), "", "nowhere", false, false, amqp.Publishing{}); err != nil {
				t.Fatalf("publish: %v", err)
			}
			if got := <-blocked; !got.Active || !strings.Contains(got.Reason, resource) {
				t.Errorf("the broker says %+v", got)
			}
			b.Alarm(t, resource, false)
			if got := <-blocked; got.Active {
				t.Errorf("without an alarm the broker says %+v", got)
			}
		})
	}
}

func TestQueuesAndConnectionsEnd(t *testing.T) {
	b := rabbitmqtest.Shared(t)
	vhost := b.VHost(t)
	c := b.Dial(t, vhost)
	ch := channel(t, c)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	cancelled := ch.NotifyCancel(make(chan string, 1))
	if _, err := ch.Consume("q", "me", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.PublishWithContext(t.Context(), "", "q", false, false, amqp.Publishing{}); err != nil {
		t.Fatal(err)
	}
	want := rabbitmqtest.Depth{Unacked: 1, Consumers: 1}
	if !rabbitmqtest.Poll(func() bool { return b.Depth(t, vhost, "q") == want }) {
		t.Errorf("the queue has %+v, want %+v", b.Depth(t, vhost, "q"), want)
	}
	b.DeleteQueue(t, vhost, "q")
	if got := <-cancelled; got != "me" {
		t.Errorf("consumer %q was cancelled", got)
	}
	other := b.Dial(t, "/")
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	b.CloseConnections(t, vhost)
	if err := <-closed; err == nil || err.Code != amqp.ConnectionForced {
		t.Errorf("the connection was closed with %v", err)
	}
	if other.IsClosed() {
		t.Error("a connection to another virtual host was closed, too")
	}
}

func TestNotInstalledIsSaid(t *testing.T) {
	wrapper := filepath.Join(t.TempDir(), "rabbitmq-server") // as a package has it in PATH
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := rabbitmqtest.Find(filepath.Dir(wrapper), t.TempDir())
	if !errors.Is(err, rabbitmqtest.ErrNotInstalled) || !strings.Contains(err.Error(), "make rabbitmq") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without RabbitMQ: %v", err)
	}
	if home, err := rabbitmqtest.Find(t.TempDir(), "/usr/lib/rabbitmq/bin"); err != nil {
		t.Errorf("with it: %v", err)
	} else if _, err := os.Stat(fmt.Sprintf("%s/plugins", home)); err != nil {
		t.Errorf("it is not a home: %v", err)
	}
}
