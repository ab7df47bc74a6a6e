//go:build openstack

package openstack

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/openstacktest"
	"stackstream/internal/porttest"
	"stackstream/internal/rabbitmqtest"
	"stackstream/jetstream/jetstreamtest"
)

var agentEvents = flag.Int("agent", 600, "how many notifications Ceilometer's agent has to hand on in TestCeilometersAgentPosts")

// webhookFile writes the configuration of a source that the agent posts to, as the operators' page has it.
func webhookFile(t *testing.T, nats, listen string) string {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "agent.password")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`nats:
  url: [%s]
streams:
  replicas: 1
  lease_ttl: 2s
admin:
  listen: 127.0.0.1:0
log:
  format: json
providers:
  %s:
    events: webhook
    webhook:
      listen: %s
      format: ceilometer
      refuse: disconnect
      auth:
        basic: {user: agent, password_file: %s}
      limits: {answer_time: 3s}
`, nats, provider, listen, secret)
	file := filepath.Join(dir, "stackstream.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// harm is something that is done while the agent posts.
type harm struct {
	what string
	do   func()
}

// Ceilometer's agent hands on to us what services tell. While the collector is killed, ended, and can't store anything, and RabbitMQ
// is killed, the agent loses nothing, though it takes any answer for a final one: what it can't post it gives back to RabbitMQ.
func TestCeilometersAgentPosts(t *testing.T) {
	if err := build(); err != nil {
		t.Fatal(err)
	}
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	server := jetstreamtest.Server(t)
	subscriber := runSubscriber(t, server.URL(), "webhook")
	addr := porttest.Addrs(t, 1)[0]
	file := webhookFile(t, server.URL(), addr)
	collector := run(t, "collector", "-c", file)
	normalizer := run(t, "normalizer", "-c", file)
	normalizer.ready(t)
	collector.ready(t)

	services := broker.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()), rabbitmqtest.Window(50))
	tell := func(from, to int) {
		t.Helper()
		var all []rabbitmqtest.Notification
		for n := from; n < to; n++ {
			all = append(all, notificationOf(n))
		}
		if err := services.Notify(t.Context(), "nova", all...); err != nil {
			t.Fatal(err)
		}
	}
	tell(0, 10) // so that the exchange is there before the agent
	agent := openstacktest.Agent{
		Broker: openstacktest.Broker{URL: "rabbit" + strings.TrimPrefix(broker.URL(vhost), "amqp"), Durable: true}, Exchanges: []string{"nova"},
		Publishers: []string{"http://agent:hunter2@" + addr + "/events?timeout=4&max_retries=0"},
	}.Start(t)
	events := func() int { return len(subscriber.events()) }
	await := func(n int, what string) {
		t.Helper()
		eventually(t, 2*time.Minute, fmt.Sprintf("%d events %s", n, what), func() bool { return events() >= n }, func() string {
			return fmt.Sprintf("%d came\ncollector: %s\nagent: %s", events(), collector.trouble(), agent.Tail(20))
		})
	}
	await(10, "from an agent that has started")

	harms := []harm{
		{"after the collector was killed", func() { collector.restart(t) }},
		{"after the stream's server stood still", func() { server.Shutdown(); <-time.After(5 * time.Second); server.Restart(t) }},
		{"after the collector was ended", func() {
			if code := collector.Stop(t, 30*time.Second); code != 0 {
				t.Errorf("the collector exits with %d", code)
			}
			collector.start(t)
		}},
		{"after RabbitMQ was killed", func() { broker.Kill(t); broker.Run(t) }},
	}
	began, total, rounds := time.Now(), *agentEvents, max(len(harms), *agentEvents/1000)
	for i := range rounds {
		from, to := 10+(total-10)*i/rounds, 10+(total-10)*(i+1)/rounds
		tell(from, to)
		await(from+(to-from)/3, "before harm is done")
		harms[i%len(harms)].do()
		await(to, harms[i%len(harms)].what)
	}
	took := time.Since(began)
	if err := subscriber.check(); err != nil {
		t.Error(err)
	}
	seen := map[string]event.Event{}
	for _, e := range subscriber.events() {
		if _, twice := seen[e.MessageID]; twice {
			t.Errorf("%s came again", e.MessageID)
		}
		seen[e.MessageID] = e
	}
	for n := range total {
		e, came := seen[notificationOf(n).MessageID]
		var payload struct {
			InstanceID string `json:"instance_id"`
			MemoryMB   int    `json:"memory_mb"`
		}
		err := json.Unmarshal(e.Payload, &payload)
		if !came || err != nil || payload.InstanceID != fmt.Sprint("i-", n) || payload.MemoryMB != 512 || e.EventType != "compute.instance.update" ||
			!slices.Contains(e.Targets, event.Target{Kind: "instance", ID: payload.InstanceID}) {
			t.Errorf("notification %d came as %+v (%s)", n, e, e.Payload)
		}
	}
	if lost := strings.Count(string(agent.Output()), "Failed to dispatch message"); lost > 0 {
		t.Errorf("the agent lost events %d times", lost)
	}
	t.Logf("%d events in %s (%.0f a second); the agent gave %d back", total, took.Round(time.Second), float64(total)/took.Seconds(),
		strings.Count(string(agent.Output()), "after error from publisher"))
}

// notificationOf is what nova tells of an instance.
func notificationOf(n int) rabbitmqtest.Notification {
	return rabbitmqtest.Notification{
		MessageID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), EventType: "compute.instance.update",
		Payload: map[string]any{"instance_id": fmt.Sprint("i-", n), "tenant_id": "p-1", "state": "active", "memory_mb": 512},
		Context: map[string]any{"_context_project_id": "p-1"},
	}
}
