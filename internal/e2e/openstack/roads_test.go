//go:build openstack

package openstack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/openstacktest"
	"stackstream/internal/openstacktest/child"
	"stackstream/internal/porttest"
	"stackstream/internal/rabbitmqtest"
	"stackstream/jetstream/jetstreamtest"
)

// page is what operators are told about the roads.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/ceilometer-roads.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// found is the only part of the page that an expression matches.
func found(t *testing.T, expression string) string {
	t.Helper()
	all := regexp.MustCompile(expression).FindAllStringSubmatch(page(t), -1)
	if len(all) != 1 {
		t.Fatalf("%s is %d times on the page", expression, len(all))
	}
	return all[0][1]
}

// inherent are the fields in which the page says that the notification itself and the agent's event differ, with store_raw.
func inherent(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|[^|]*\\| ([^|]*) \\|[^|]*\\|$").FindAllStringSubmatch(page(t), -1) {
		if row[2] != "the same" {
			names = append(names, row[1])
		}
	}
	return names
}

// runRouter runs a router of qpid-proton, and returns where it listens.
func runRouter(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("/usr/bin/python3", "../../../collectors/amqp1/testdata/router.py", port)
	stdin, err := cmd.StdinPipe() // it ends with it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	log := filepath.Join(t.TempDir(), "router.log")
	p := child.Start(t, "router", log, cmd)
	eventually(t, 30*time.Second, "the router", func() bool { return bytes.Contains(p.Output(), []byte("listens")) },
		func() string { return p.Tail(20) })
	return addr
}

// recorded are the recorded notifications of services that the agent takes, by their identity.
func recorded(t *testing.T) map[string]rabbitmqtest.Message {
	t.Helper()
	all := map[string]rabbitmqtest.Message{}
	for _, service := range []string{"keystone_cadf", "glance", "cinder", "neutron", "nova"} {
		data, err := os.ReadFile("../../../normalizer/oslo/testdata/recorded/" + service + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var r struct {
				Exchange    string
				RoutingKeys []string `json:"routing_keys"`
				Body        string
			}
			var envelope struct {
				Message string `json:"oslo.message"`
			}
			var message struct {
				ID string `json:"message_id"`
			}
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatal(err)
			}
			if json.Unmarshal([]byte(r.Body), &envelope) != nil || json.Unmarshal([]byte(envelope.Message), &message) != nil {
				t.Fatalf("%s", r.Body)
			}
			if key := r.RoutingKeys[0]; key == "notifications.info" || key == "notifications.error" {
				all[message.ID] = rabbitmqtest.Message{
					ID: message.ID, Exchange: r.Exchange, Key: key, Publishing: rabbitmqtest.JSON([]byte(r.Body)),
				}
			}
		}
	}
	return all
}

// relay takes notifications of the agent from the queue of its topic, as many as are to come, and sends them to the broker over AMQP
// 1.0 as oslo.messaging writes them there. It can't send them itself: it wants an address for answers, which this broker has not.
func relay(t *testing.T, broker *rabbitmqtest.Broker, ch *amqp.Channel, n int) {
	t.Helper()
	deliveries, err := ch.ConsumeWithContext(t.Context(), "event.sample", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	var bodies bytes.Buffer
	late := time.After(2 * time.Minute)
	for i := range n {
		select {
		case d := <-deliveries:
			fmt.Fprintf(&bodies, `{"request": %s, "context": {}}`+"\n", d.Body)
		case <-late:
			t.Fatalf("the agent published %d of %d", i, n)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "../../../collectors/amqp1/testdata/send.py",
		"amqp://guest:guest@"+broker.Addr(), "/amq/queue/stackstream.stf")
	cmd.Stdin = &bodies
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("send: %v\n%s", err, out)
	}
}

// road is a way by which what services tell reaches us.
type road struct {
	name      string // and the provider's
	publisher string // of the agent; none for what does not go through it, or not by itself
	kind      string // of source, and its configuration
	source    string
}

// roadsBy are the roads over a broker, a router and HTTP; exchanges are those of the services. What the agent is told is what the page says.
func roadsBy(t *testing.T, broker, router string, exchanges []string) []road {
	t.Helper()
	const placeholder = "router.example.org:5666"
	toRouter := found(t, `- (notifier://router\S*)`)
	if !strings.Contains(toRouter, placeholder) {
		t.Fatalf("%s does not name %s", toRouter, placeholder)
	}
	at := fmt.Sprintf(`hosts: ["%s"], user: guest, password: guest`, broker)
	posts := porttest.Addrs(t, 1)[0]
	return []road{
		{"notifications", "", "amqp", fmt.Sprintf("{%s, exchanges: [%s], durable_exchanges: true}", at, strings.Join(exchanges, ", "))},
		{"topic", found(t, `- (notifier://)\n`), "amqp",
			fmt.Sprintf("{%s, exchanges: [ceilometer], topics: [event], priorities: [sample], durable_exchanges: true}", at)},
		{"router", strings.Replace(toRouter, placeholder, router, 1), "amqp1",
			fmt.Sprintf(`{hosts: ["%s"], addresses: [%s], sasl: anonymous}`, router, found(t, `addresses: \[(\S*cloud1\S*)\]`))},
		{"broker", "", "amqp1", fmt.Sprintf("{%s, addresses: [/amq/queue/stackstream.stf]}", at)},
		{"http", "http://" + posts + "/events?timeout=15&max_retries=2", "webhook",
			fmt.Sprintf("{listen: %q, format: ceilometer, refuse: disconnect}", posts)},
	}
}

// Real services' notifications, and what Ceilometer's agent makes of them, come over every road: each event once, and the same.
func TestRoadsToOneEvent(t *testing.T) {
	if err := build(); err != nil {
		t.Fatal(err)
	}
	broker := rabbitmqtest.Start(t, rabbitmqtest.Plugins("rabbitmq_amqp1_0"))
	services := broker.Publisher(t, "/", rabbitmqtest.As(rabbitmqtest.Durable()), rabbitmqtest.Window(50))
	notifications, exchanges := recorded(t), map[string]bool{}
	for _, m := range notifications {
		exchanges[m.Exchange] = true
		if err := services.Declare(t.Context(), m.Exchange, m.Key); err != nil {
			t.Fatal(err)
		}
	}
	if err := services.Declare(t.Context(), "ceilometer", "event.sample"); err != nil {
		t.Fatal(err)
	}
	ch, err := broker.Dial(t, "/").Channel()
	if err == nil {
		_, err = ch.QueueDeclare("stackstream.stf", true, false, false, false, amqp.Table{"x-single-active-consumer": true})
	}
	if err != nil {
		t.Fatal(err)
	}
	own := slices.Sorted(maps.Keys(exchanges))
	roads := roadsBy(t, broker.Addr(), runRouter(t), own)
	server := jetstreamtest.Server(t)
	subscriber := runSubscriber(t, server.URL(), "")
	file := filepath.Join(t.TempDir(), "stackstream.yaml")
	text := fmt.Sprintf("nats: {url: [\"%s\"]}\nstreams: {replicas: 1}\nadmin: {listen: \"127.0.0.1:0\"}\nlog: {format: json}\nproviders:\n", server.URL())
	agent := openstacktest.Agent{
		Broker:    openstacktest.Broker{URL: "rabbit://guest:guest@" + broker.Addr() + "/", Durable: true},
		Exchanges: own, Settings: found(t, "(?s)```ini\n(.*?)```"),
	}
	for _, r := range roads {
		text += fmt.Sprintf("  %s: {events: %s, %[2]s: %s}\n", r.name, r.kind, r.source)
		if r.publisher != "" {
			agent.Publishers = append(agent.Publishers, r.publisher)
		}
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	collector := run(t, "collector", "-c", file)
	normalizer := run(t, "normalizer", "-c", file)
	normalizer.ready(t)
	collector.ready(t)
	process := agent.Start(t)
	if err := services.Publish(t.Context(), slices.Collect(maps.Values(notifications))...); err != nil {
		t.Fatal(err)
	}
	count := func() map[string]int {
		n := map[string]int{}
		for _, e := range subscriber.events() {
			n[string(e.Provider)]++
		}
		return n
	}
	relay(t, broker, ch, len(notifications))
	eventually(t, 2*time.Minute, "every event on every road", func() bool {
		select {
		case <-process.Done():
			t.Fatalf("the agent ended: %s", process.Tail(20))
		default:
		}
		return len(subscriber.events()) >= len(roads)*len(notifications)
	}, func() string {
		return fmt.Sprintf("of %d came %v\ncollector: %s\nagent: %s", len(notifications), count(), collector.trouble(), process.Tail(30))
	})
	for _, r := range roads {
		if n := count()[r.name]; n != len(notifications) {
			t.Errorf("%d events on the road %s, want %d", n, r.name, len(notifications))
		}
	}
	compareRoads(t, subscriber.events())
	for _, p := range []*program{collector, normalizer} {
		if code := p.Stop(t, 30*time.Second); code != 0 {
			t.Errorf("%s exits with %d on SIGTERM", p.name, code)
		}
	}
}

// compareRoads holds the events of one identity against each other: those of the agent against what came over its topic, and that
// against the event of the notification itself.
func compareRoads(t *testing.T, all []event.Event) {
	t.Helper()
	events := map[string]map[event.Provider]map[string]any{}
	for _, e := range all {
		if events[e.MessageID] == nil {
			events[e.MessageID] = map[event.Provider]map[string]any{}
		}
		events[e.MessageID][e.Provider] = alike(e)
	}
	differ := inherent(t)
	for id, of := range events {
		itself, topic := of["notifications"], of["topic"]
		for road, got := range of {
			if diff := cmp.Diff(topic, got); road != "notifications" && diff != "" {
				t.Errorf("%s: -topic +%s\n%s", id, road, diff)
			}
		}
		for _, name := range differ {
			delete(itself, name)
			delete(topic, name)
		}
		if diff := cmp.Diff(itself, topic); diff != "" {
			t.Errorf("%s %s: -itself +topic\n%s", id, itself["event_type"], diff)
		}
	}
}

// alike are the fields of an event that do not name the road, with numbers as they are written.
func alike(e event.Event) map[string]any {
	e.Provider, e.Source = "", ""
	body, err := e.Encode()
	var all map[string]any
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		err = d.Decode(&all)
	}
	if err != nil {
		panic(err) // what was decoded can be encoded
	}
	return all
}
