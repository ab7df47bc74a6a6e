package rabbitmqtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The limits of a broker without an alarm.
const (
	memoryLimit = "0.4"
	diskLimit   = "1000000" // bytes
)

// URL is the address of a virtual host for the user guest, who has all rights everywhere.
func (b *Broker) URL(vhost string) string { return URL(b.Addr(), "guest", "guest", vhost) }

// TLSURL is the address of a virtual host at the broker's TLS listener, without a user.
func (b *Broker) TLSURL(vhost string) string {
	return "amqps://" + b.TLSAddr() + "/" + url.PathEscape(vhost)
}

// URL writes an AMQP address.
func URL(addr, user, password, vhost string) string {
	u := url.URL{Scheme: "amqp", User: url.UserPassword(user, password), Host: addr}
	return u.String() + "/" + url.PathEscape(vhost)
}

// Ctl runs rabbitmqctl, and returns what it printed. It takes about half a second; Eval is faster.
func (b *Broker) Ctl(tb testing.TB, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "sbin", "rabbitmqctl"), append([]string{"--quiet"}, args...)...)
	cmd.Env, cmd.Dir = b.env(), b.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("rabbitmqctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Eval evaluates an Erlang expression in the broker, without the dot at its end, and returns its value as Erlang prints it.
func (b *Broker) Eval(tb testing.TB, expression string) string {
	tb.Helper()
	value, err := b.running(tb).control.eval(expression, timeout)
	if err != nil {
		tb.Fatalf("evaluate %s: %v", expression, err)
	}
	return value
}

// expect evaluates an expression whose value has to be ok.
func (b *Broker) expect(tb testing.TB, doing, expression string) {
	tb.Helper()
	if value := b.Eval(tb, expression); value != "ok" {
		tb.Fatalf("%s: %s", doing, value)
	}
}

// awake says whether the broker can be asked.
func (b *Broker) awake() bool {
	r := b.now()
	return r.process != nil && r.process.runs() && !r.paused
}

// tidy says whether it is of use to clean up in the broker. A cluster with members down may not be able to.
func (b *Broker) tidy() bool { return b.awake() && !b.member }

func (b *Broker) unique(what string) string { return fmt.Sprintf("%s-%d", what, b.epmd.names.Add(1)) }

// VHost makes a virtual host that ends with the test.
func (b *Broker) VHost(tb testing.TB) string {
	tb.Helper()
	name := b.unique("vhost")
	v := binaryOf(name)
	b.expect(tb, "add a virtual host", fmt.Sprintf(`rabbit_vhost:add(%s, <<"rabbitmqtest">>)`, v))
	b.expect(tb, "wait for a virtual host", fmt.Sprintf(`rabbit_vhost:await_running_on_all_nodes(%s, 60000)`, v))
	b.permit(tb, "guest", name, ".*", ".*", ".*")
	tb.Cleanup(func() {
		if b.tidy() {
			b.Eval(tb, fmt.Sprintf(`rabbit_vhost:delete(%s, <<"rabbitmqtest">>)`, v))
		}
	})
	return name
}

// User makes a user with the given rights in a virtual host, each a regular expression; it ends with the test.
func (b *Broker) User(tb testing.TB, vhost, configure, write, read string) (user, password string) {
	tb.Helper()
	user = b.unique("user")
	return user, b.UserNamed(tb, user, vhost, configure, write, read)
}

// UserNamed is User with a name that is given: the common name of a client's certificate, for instance.
func (b *Broker) UserNamed(tb testing.TB, user, vhost, configure, write, read string) (password string) {
	tb.Helper()
	password = rand.Text()
	b.expect(tb, "add a user", fmt.Sprintf(`rabbit_auth_backend_internal:add_user(%s, %s, <<"rabbitmqtest">>)`,
		binaryOf(user), binaryOf(password)))
	tb.Cleanup(func() {
		if b.tidy() {
			b.Eval(tb, fmt.Sprintf(`rabbit_auth_backend_internal:delete_user(%s, <<"rabbitmqtest">>)`, binaryOf(user)))
		}
	})
	b.permit(tb, user, vhost, configure, write, read)
	return password
}

func (b *Broker) permit(tb testing.TB, user, vhost, configure, write, read string) {
	tb.Helper()
	b.expect(tb, "set a user's rights", fmt.Sprintf(
		`rabbit_auth_backend_internal:set_permissions(%s, %s, %s, %s, %s, <<"rabbitmqtest">>)`,
		binaryOf(user), binaryOf(vhost), binaryOf(configure), binaryOf(write), binaryOf(read)))
}

// Dial connects as guest. The connection is closed with the test.
func (b *Broker) Dial(tb testing.TB, vhost string) *amqp.Connection {
	tb.Helper()
	c, err := amqp.Dial(b.URL(vhost))
	if err != nil {
		tb.Fatalf("connect to broker %s: %v", b.node, err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // the broker may be down by then, which is no failure of the test
	return c
}

// Alarm raises or clears the alarm about "memory" or "disk", and returns when it is so. A broker with an alarm does not
// read from connections that publish.
func (b *Broker) Alarm(tb testing.TB, resource string, on bool) {
	tb.Helper()
	var set string
	switch resource {
	case "memory":
		limit := memoryLimit
		if on {
			limit = "0.0000001"
		}
		set = fmt.Sprintf(`vm_memory_monitor:set_vm_memory_high_watermark(%s)`, limit)
	case "disk":
		limit := diskLimit
		if on {
			limit = "1000000000000000000"
		}
		set = fmt.Sprintf(`rabbit_disk_monitor:set_disk_free_limit(%s)`, limit)
	default:
		tb.Fatalf("there is no alarm about %q", resource)
	}
	b.expect(tb, "set the limit of an alarm", set)
	raised := fmt.Sprintf(`lists:member({{resource_limit, %s, node()}, []}, rabbit_alarm:get_alarms())`, resource)
	if !poll(timeout, func() bool { return b.Eval(tb, raised) == fmt.Sprint(on) }) {
		tb.Fatalf("the %s alarm does not become %t", resource, on)
	}
}

// DeleteQueue deletes a queue, whatever is in it and whoever consumes it.
func (b *Broker) DeleteQueue(tb testing.TB, vhost, queue string) {
	tb.Helper()
	c := b.Dial(tb, vhost)
	defer func() { _ = c.Close() }()
	ch, err := c.Channel()
	if err == nil {
		_, err = ch.QueueDelete(queue, false, false, false)
	}
	if err != nil {
		tb.Fatalf("delete queue %s: %v", queue, err)
	}
}

// CloseConnections makes the broker close all connections to a virtual host.
func (b *Broker) CloseConnections(tb testing.TB, vhost string) {
	tb.Helper()
	b.Ctl(tb, "close_all_connections", "--vhost", vhost, "closed by a test")
}

// Depth is what there is in a queue.
type Depth struct{ Ready, Unacked, Consumers int }

// Depth counts a queue's messages and consumers.
func (b *Broker) Depth(tb testing.TB, vhost, queue string) Depth {
	tb.Helper()
	answer := b.Eval(tb, fmt.Sprintf(`case rabbit_amqqueue:lookup(%s) of
		{ok, Queue} ->
			[{_, Ready}, {_, Unacked}, {_, Consumers}] =
				rabbit_amqqueue:info(Queue, [messages_ready, messages_unacknowledged, consumers]),
			{Ready, Unacked, Consumers};
		Error -> Error
	end`, resource(vhost, "queue", queue)))
	var d Depth
	if _, err := fmt.Sscanf(answer, "{%d,%d,%d}", &d.Ready, &d.Unacked, &d.Consumers); err != nil {
		tb.Fatalf("look at queue %s: %s", queue, answer)
	}
	return d
}
