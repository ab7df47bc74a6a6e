package amqp1

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// python is Debian's, which has python3-qpid-proton.
func python(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "/usr/bin/python3", args...)
}

// sendReal sends messages with qpid-proton, and returns when all were accepted.
func sendReal(t *testing.T, url, address string, bodies []string, more ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := python(ctx, append([]string{"testdata/send.py", url, address}, more...)...)
	cmd.Stdin = strings.NewReader(strings.Join(bodies, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("send with python3-qpid-proton (`make proton` installs it): %w\n%s", err, out)
	}
	return nil
}

// router starts a router of qpid-proton that keeps nothing, and returns where it listens.
func router(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := python(ctx, "testdata/router.py", port)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if inErr != nil || outErr != nil {
		t.Fatal(inErr, outErr)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cancel()
		_ = cmd.Wait()
	})
	if !bufio.NewScanner(out).Scan() {
		t.Fatalf("the router of python3-qpid-proton does not start (`make proton` installs it):\n%s", failed.String())
	}
	return addr
}

func bodiesOf(n int) (ids, bodies []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("e-%d", i))
		bodies = append(bodies, notified(ids[i]))
	}
	return ids, bodies
}

// The real library of those who send to STF, through a broker: text and bytes.
func TestRealSenderAndBroker(t *testing.T) {
	t.Parallel()
	broker := sharedBroker(t)
	user, password := broker.User(t, "/", ".*", ".*", ".*") // the library names no virtual host
	r := newRig(t, brokerConfig(broker.Addr(), "/", "stf"))
	ch, err := broker.Dial(t, "/").Channel()
	if err == nil {
		_, err = ch.QueueDeclare("stf", true, false, false, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ch.QueueDelete("stf", false, false, false) })
	stop := r.run()
	defer stop()
	ids, bodies := bodiesOf(300)
	if err := sendReal(t, "amqp://"+user+":"+password+"@"+broker.Addr(), "/amq/queue/stf", bodies); err != nil {
		t.Fatal(err)
	}
	r.wantIDs(ids)
}

// A router keeps nothing: what is accepted there has been accepted by us, and what is sent settled comes, too. Its library answers
// whether all is sent, so that there is a watermark.
func TestRealRouter(t *testing.T) {
	t.Parallel()
	addr := router(t)
	const address = "anycast/ceilometer/event.sample"
	r := newRig(t, config(addr, address))
	r.limits.Heartbeat = 10 * time.Millisecond
	stop := r.run()
	defer stop()
	r.live()
	ids, bodies := bodiesOf(200)
	if err := sendReal(t, "amqp://"+addr, address, bodies[:150]); err != nil {
		t.Fatal(err)
	}
	if n := len(r.log.IDs(cloud)); n != 150 {
		t.Errorf("all were accepted, and %d are stored", n)
	}
	if err := sendReal(t, "amqp://"+addr, address, bodies[150:], "settled"); err != nil {
		t.Fatal(err)
	}
	r.wantIDs(ids)
	if told := r.told(); told.presettled != 50 {
		t.Errorf("%d came settled, want 50", told.presettled)
	}
	began := time.Now()
	r.eventually("a watermark", func() bool { return r.log.Cursor(cloud, Kind).Watermark.After(began.Add(-settle)) })
	if s := r.status(); s.State != event.StateLive {
		t.Errorf("%+v", s)
	}
}

// The ways to log in, and what is said where it is refused.
func TestLogin(t *testing.T) {
	t.Parallel()
	ca := rabbitmqtest.NewCA(t)
	broker := rabbitmqtest.Start(t, rabbitmqtest.Plugins("rabbitmq_amqp1_0"), rabbitmqtest.TLS(ca))
	vhost := broker.VHost(t)
	q := newQueue(t, broker, vhost, "events")
	q.put(1)
	broker.UserNamed(t, "stackstream.example.org", vhost, "", "", ".*")
	stranger, strangers := broker.User(t, vhost, "", "", "")
	client := ca.Issue(t, "stackstream.example.org")
	other := rabbitmqtest.NewCA(t)
	secure := func(c *Config) {
		c.Hosts = []string{broker.TLSAddr()}
		c.TLS.Enabled, c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile = true, ca.File, client.CertFile, client.KeyFile
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		kind   event.Kind
		want   string
	}{
		{"a password", func(*Config) {}, 0, ""},
		{"a password over TLS", secure, 0, ""},
		{"a certificate", func(c *Config) { secure(c); c.SASL, c.User, c.Password = "external", "", "" }, 0, ""},
		{"a wrong password", func(c *Config) { c.Password = "wrong" }, event.Invalid, "the peer refuses the login"},
		{"nobody, where somebody is asked for", func(c *Config) { c.SASL, c.User, c.Password = "external", "", "" }, event.Invalid,
			"does not offer the login of sasl: external"},
		{"no such vhost", func(c *Config) { c.VHost = "vhost:nowhere" }, event.Invalid, ""},
		{"no right", func(c *Config) { c.User, c.Password = stranger, event.Secret(strangers) }, event.Invalid, "we have no right to it"},
		{"no such queue", func(c *Config) { c.Addresses = []string{"/amq/queue/nothing"} }, event.Unavailable, "address /amq/queue/nothing: "},
		{"another authority", func(c *Config) { secure(c); c.TLS.CAFile = other.File }, event.Invalid, "tls.ca_file"},
		{"no TLS where it is wanted", func(c *Config) { c.Hosts = []string{broker.TLSAddr()} }, event.Invalid, "speaks TLS on this port"},
		{"TLS where there is none", func(c *Config) { secure(c); c.Hosts = []string{broker.Addr()} }, event.Invalid, "tls.enabled"},
		{"nobody there", func(c *Config) { c.Hosts = []string{"127.0.0.1:1"} }, event.Unavailable, "nothing listens there"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := brokerConfig(broker.Addr(), vhost, "events")
			tc.change(&cfg)
			s, err := New(cfg, Options{Provider: cloud, Version: "test", Host: "here"})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Available(t.Context())
			if tc.kind == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if event.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "guest:") {
				t.Errorf("got %v (%s), want %s and %q", err, event.KindOf(err), tc.kind, tc.want)
			}
			t.Log(err)
		})
	}
	if n := q.ready(); n != 1 {
		t.Errorf("to ask whether it would serve us took what was there: %d left", n)
	}
}

// A broker without the plugin speaks another protocol, and that is said.
func TestBrokerOfTheOtherProtocol(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Start(t)
	s, err := New(brokerConfig(broker.Addr(), "/", "events"), Options{Provider: cloud, Version: "test", Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Available(t.Context()); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "rabbitmq_amqp1_0") {
		t.Errorf("got %v", err)
	}
}
