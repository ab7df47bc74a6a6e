package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/rabbitmqtest"
)

// Where the exchanges of the services end with the broker, a service makes its exchange again with its next notification, and
// what it publishes before our queue is bound again is lost though the broker confirmed it. Whatever is missing lies in a
// time that the source tells as a gap, and each gap has the restart of the broker that made it.
func TestAMQPTellsGaps(t *testing.T) {
	t.Parallel()
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	exchanges := []string{"nova", "glance"}
	cloud := newServices(t, broker, vhost, rabbitmqtest.Transient(), exchanges...)
	addr := freeAddr(t)
	file := amqpFile(t, broker, vhost, "  embedded: {dir: "+filepath.Join(t.TempDir(), "store")+"}", "probe: 1s\n")
	up := func() *process { return start(t, "stackstream", "up", "-c", file, "--nats-listen", addr) }
	running := up()
	nc := connect(t, "nats://"+addr)
	seen := observe(t, nc, "amqp")
	seen.awaitBound(t, "amqp", exchanges...)

	emitted, enough := make(chan error, 1), make(chan struct{})
	go func() { emitted <- cloud.emit(t.Context(), 0, enough, false, every(300*time.Millisecond)) }()
	type outage struct{ begin, end time.Time }
	var outages []outage
	lose := func(do func()) {
		t.Helper()
		before := seen.collected()
		eventually(t, time.Minute, "events to be collected", func() bool { return seen.collected() > before+200 },
			func() string { return running.ask("/readyz") })
		begin := time.Now()
		do()
		outages = append(outages, outage{begin, time.Now()})
		told := len(outages) * len(exchanges)
		eventually(t, time.Minute, fmt.Sprintf("%d gaps to be told", told),
			func() bool { return seen.state(t.Context(), "amqp").GapsTotal >= told }, func() string { return running.ask("/readyz") })
		seen.awaitBound(t, "amqp", exchanges...)
	}
	lose(func() { broker.Restart(t) })
	lose(func() { broker.Kill(t); broker.Run(t) })
	if told := metric(running, "stackstream_amqp_gaps_total"); told != len(outages)*len(exchanges) {
		t.Errorf("the metric says %d gaps, want %d", told, len(outages)*len(exchanges))
	}
	var unseen int // were published while nobody could be bound
	lose(func() {
		running.kill()
		broker.Restart(t)
		before := cloud.count()
		eventually(t, time.Minute, "the services to go on", func() bool { return cloud.count() >= before+4*windowSize })
		unseen = cloud.count() - before
		running = up()
	})
	close(enough)
	if err := <-emitted; err != nil {
		t.Fatal(err)
	}
	for _, x := range exchanges { // one after the other: what comes last comes behind everything
		if err := cloud.publish(t.Context(), x, cloud.recorded[x][0].fresh()); err != nil {
			t.Fatal(err)
		}
	}
	last := cloud.all[exchanges[len(exchanges)-1]]
	seen.awaitLast(t, last[len(last)-1].id, running)

	raw := dump(t, nc, event.StreamRaw, "events.raw.>")
	state := seen.state(t.Context(), "amqp")
	collected, lost := divide(cloud.confirmed(), raw)
	t.Logf("%d notifications, %d lost; gaps %v", len(collected)+len(lost), len(lost), state.Gaps)
	if len(lost) < unseen {
		t.Errorf("%d are missing, of which %d could not reach the queue: the test does not lose anything", len(lost), unseen)
	}
	var problems []error
	for _, p := range lost {
		told := false
		for _, g := range state.Gaps {
			told = told || g.What == "exchange "+p.exchange && !g.To.Before(p.sent) && !g.From.After(p.confirmed)
		}
		if !told {
			problems = append(problems, fmt.Errorf("%s of exchange %s, confirmed at %v, is missing, and no gap tells it", p.id, p.exchange, p.confirmed))
		}
	}
	expect(t, "gaps", summary(problems))
	if len(state.Gaps) != state.GapsTotal || state.GapsTotal != len(outages)*len(exchanges) {
		t.Errorf("%d gaps of %d, want one for each exchange and restart", len(state.Gaps), state.GapsTotal)
	}
	for _, g := range state.Gaps {
		made := false
		for _, o := range outages {
			made = made || g.From.Before(o.end) && g.To.After(o.begin)
		}
		if !made {
			t.Errorf("a gap is told where there was none: %v", g)
		}
	}
	expect(t, "RAW", checkOnce(ids(collected), raw))
	expect(t, "RAW", checkArrival(collected, raw))
	expect(t, "RAW", checkBytes(t, nc, collected, raw))
	expect(t, "RAW", checkClaims(collected, raw, claimsOf(raw)))
	expect(t, "cursors", checkClaims(collected, raw, seen.told("amqp")))
	if code := running.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
}

// every paces by time.
func every(pause time.Duration) func(ctx context.Context) {
	return func(ctx context.Context) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// divide tells what is among got from what is not.
func divide(sent []published, got []entry) (collected, lost []published) {
	there := make(map[string]bool, len(got))
	for _, e := range got {
		there[e.id] = true
	}
	for _, p := range sent {
		if there[p.id] {
			collected = append(collected, p)
		} else {
			lost = append(lost, p)
		}
	}
	return collected, lost
}

// awaitLast waits until the last event that was collected is this one.
func (o *observer) awaitLast(t *testing.T, id string, programs ...*process) {
	t.Helper()
	eventually(t, time.Minute, id+" to be collected last", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		stream, err := o.js.Stream(ctx, event.StreamRaw)
		if err != nil {
			return false
		}
		m, err := stream.GetLastMsgForSubject(ctx, "events.raw.prod.amqp")
		return err == nil && first(m.Header, event.HeaderID) == id
	}, func() string { return programs[0].ask("/readyz") })
}

// metric is the sum of a metric's values in a process.
func metric(p *process, name string) int {
	sum := 0
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(p.ask("/metrics"), -1) {
		n, _ := strconv.ParseFloat(m[1], 64)
		sum += int(n)
	}
	return sum
}
