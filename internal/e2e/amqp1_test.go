package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// lists is how many notifications of Ceilometer's agent TestAMQP1SurvivesKilling publishes, unless -notifications says so.
const lists = 4000

// A broker hands out the events of Ceilometer's agent over AMQP 1.0, to a process with everything in it, while that is killed, the
// broker is killed and the connections are cut, at moments nobody chose. Each event is in the streams once, in the order in which it was
// published, also where several came in one notification.
func TestAMQP1SurvivesKilling(t *testing.T) {
	t.Parallel()
	t.Logf("to do the same again: -seed %d -notifications %d", *amqpSeed, *notifications)
	random := rand.New(rand.NewPCG(*amqpSeed, 8))
	broker := rabbitmqtest.Start(t, rabbitmqtest.Plugins("rabbitmq_amqp1_0"))
	vhost := broker.VHost(t)
	proxy := rabbitmqtest.NewProxy(t, broker.Addr())
	addr, file := freeAddr(t), filepath.Join(t.TempDir(), "stackstream.yaml")
	text := fmt.Sprintf(`nats: {embedded: {dir: %s}}
admin: {listen: "127.0.0.1:0"}
providers:
  cloud:
    events: amqp1
    amqp1:
      hosts: ["%s"]
      vhost: "vhost:%s"
      addresses: [/amq/queue/stackstream]
      user: guest
      password: guest
      heartbeat: 3s
      probe: 1s
`, filepath.Join(t.TempDir(), "store"), proxy.Addr(), vhost)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := broker.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()), rabbitmqtest.Window(200))
	if err := agent.Declare(t.Context(), "ceilometer", "event.sample"); err != nil {
		t.Fatal(err)
	}
	ch, err := broker.Dial(t, vhost).Channel()
	if err == nil {
		_, err = ch.QueueDeclare("stackstream", true, false, false, false, amqp091.Table{"x-single-active-consumer": true})
	}
	if err == nil {
		err = ch.QueueBind("stackstream", "event.sample", "ceilometer", false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	n := lists
	if *notifications > 0 {
		n = *notifications
	}
	began := time.Now()
	running := start(t, "stackstream", "up", "-c", file, "--nats-listen", addr)
	nc := connect(t, "nats://"+addr)

	var order []string
	rounds := max(5, n/2000)
	var killed, cut, down int
	for round := range rounds {
		var messages []rabbitmqtest.Message
		for i := n * round / rounds; i < n*(round+1)/rounds; i++ {
			size := 1 + i%10/9*3 // one, as agents send them, and now and then four
			body, ids := list(len(order), size)
			messages = append(messages, rabbitmqtest.Message{
				ID: ids[0], Exchange: "ceilometer", Key: "event.sample", Publishing: rabbitmqtest.JSON([]byte(body)),
			})
			order = append(order, ids...)
		}
		published := make(chan error, 1)
		go func() { published <- agent.Publish(t.Context(), messages...) }()
		<-time.After(time.Duration(50+random.IntN(1000)) * time.Millisecond)
		switch {
		case round%5 == 2:
			down++
			broker.Kill(t)
			broker.Run(t)
		case random.IntN(2) == 0:
			cut++
			proxy.Cut()
		default:
			killed++
			running.kill()
			running = start(t, "stackstream", "up", "-c", file, "--nats-listen", addr)
		}
		if err := <-published; err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]bool{}
	for _, id := range order {
		want[id] = true
	}
	eventually(t, 3*time.Minute+time.Duration(n)*5*time.Millisecond, fmt.Sprintf("%d events", len(want)), func() bool {
		return count(t, nc, event.StreamNormalized, "events.normalized.cloud") >= len(want)
	})
	t.Logf("%d events of %d notifications in %s; the process was killed %d times, the broker %d times, the connection cut %d times; "+
		"%d notifications were sent again", len(order), n, time.Since(began).Round(time.Second), killed, down, cut, agent.Resent())
	expectReady(t, running)
	raw := dump(t, nc, event.StreamRaw, "events.raw.cloud.amqp1")
	normalized := dump(t, nc, event.StreamNormalized, "events.normalized.cloud")
	expect(t, "RAW", checkOnce(want, raw))
	expect(t, "RAW", checkContiguous(raw))
	expect(t, "NORMALIZED", checkOnce(want, normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
	for i, e := range raw {
		if e.id != order[i] {
			t.Fatalf("event %d is %s, want %s", i, e.id, order[i])
		}
	}
	ch, err = broker.Dial(t, vhost).Channel()
	if err != nil {
		t.Fatal(err)
	}
	found, err := ch.QueueDeclarePassive("stackstream", true, false, false, false, nil)
	if err != nil || found.Messages != 0 {
		t.Errorf("%d messages are left in the queue, %v", found.Messages, err)
	}
	if code := running.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
}

// list is a notification of Ceilometer's agent with so many events, numbered from a number on, and their identities.
func list(from, n int) (body string, ids []string) {
	var events []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("event-%07d", from+i))
		events = append(events, fmt.Sprintf(`{"message_id": "%s", "event_type": "compute.instance.update", `+
			`"generated": "2026-11-22T06:26:46.006319", "traits": [["service", 1, "compute.h1"], ["memory_mb", 2, 2048]], "raw": {}}`,
			ids[i]))
	}
	message := fmt.Sprintf(`{"message_id": "list-%d", "publisher_id": "telemetry.publisher.h1", "event_type": "event", `+
		`"priority": "SAMPLE", "payload": [%s], "timestamp": "2026-11-22 06:26:46.006319"}`, from, strings.Join(events, ", "))
	return `{"request": {"oslo.version": "2.0", "oslo.message": ` + quote(message) + `}, "context": {}}`, ids
}
