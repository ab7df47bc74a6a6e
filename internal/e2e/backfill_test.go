package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/event"
	"stackstream/internal/openstack/standin"
	"stackstream/internal/rabbitmqtest"
)

// httpSection is the stand-in's events API, described for the source that is made by settings alone.
const httpSection = `    http:
      schedule: {every: 300ms, jitter: 0s}
      auth:
        keystone: {url: "URL/v3", user: admin, domain: Default, password_file: SECRET, project: admin, project_domain: Default}
      request:
        url: "URL/v2/events"
        query:
          sort: generated:asc
          limit: "10"
          q.field: [all_tenants, start_timestamp]
          q.op: [eq, ge]
          q.value: ["True", '{{format(from, "2006-01-02T15:04:05.000000")}}']
      cursor: {type: time, field: generated, order: ascending, start: "2000-01-01T00:00:00Z", overlap: 10s, send: {in: none}}
      pagination: {type: marker, send: {name: marker}, from: last.message_id}
      event: {id: rec.message_id, type: rec.event_type}
`

const pankoSection = `    panko:
      auth: {url: "URL/v3", user: admin, domain: Default, password_file: SECRET, project: admin}
      every: 300ms
      jitter: 0s
      overlap: 10s
      limit: 10
`

// configWith writes a configuration for one provider with a section for its source.
func (c *cloud) configWith(t *testing.T, nats, section string) string {
	t.Helper()
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "password"), filepath.Join(dir, "stackstream.yaml")
	text := "nats:\n" + nats + "\nadmin:\n  listen: 127.0.0.1:0\nproviders:\n  prod:\n" +
		strings.NewReplacer("URL", c.url, "SECRET", secret).Replace(section)
	for name, content := range map[string]string{secret: standin.Admin().Password + "\n", file: text} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// A service shows a third of its events an hour too late, which no overlap reaches. While it hands out events, and answers one
// request in twelve with an error, they are asked for again, and the process that does is killed as often as it gets anywhere:
// exactly those of the range that are missing are added, marked, in all streams and to a subscriber once. What is live goes on.
func TestBackfillAddsExactlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	for kind, section := range map[string]string{"panko": pankoSection, "http": httpSection} {
		t.Run(kind, func(t *testing.T) {
			const events = 600
			random := rand.New(rand.NewPCG(seed, 11))
			sky := newCloud(t, seed)
			end := time.Now().Add(-time.Hour).Truncate(time.Second)
			begin := end.Add(-events * time.Second)
			var hidden []standin.Event
			for i := range events {
				e := sky.Generate(begin.Add(time.Duration(i) * time.Second))
				if random.IntN(10) < 3 {
					hidden = append(hidden, e)
					continue
				}
				sky.put(e)
			}
			addr := freeAddr(t)
			file := sky.configWith(t, "  embedded: {dir: "+filepath.Join(t.TempDir(), "store")+", listen: \""+addr+"\"}", section)
			running := start(t, "stackstream", "up", "-c", file)
			nc := connect(t, "nats://"+addr)
			plain, durable := plainSubscriber(t, nc), durableSubscriber(t, nc)
			waitForAll(t, 2*time.Minute, nc, durable, events-len(hidden), running)

			live := make(chan struct{})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go func() {
				defer close(live)
				for ctx.Err() == nil {
					sky.put(sky.Generate(time.Now()))
					every(50 * time.Millisecond)(ctx)
				}
			}()
			o := observe(t, nc, event.Source(kind))
			eventually(t, time.Minute, "live events to be collected", func() bool { return o.collected() > events-len(hidden)+20 })

			from, to := begin.Add(100*time.Second), begin.Add(500*time.Second)
			want := map[string]bool{}
			for _, e := range hidden {
				if !e.Generated.Before(from) && e.Generated.Before(to) {
					sky.put(e)
					want[e.ID] = true
				} else {
					sky.Put(e) // shows as well, and is asked for by nobody
				}
			}
			job := func(more ...string) *process {
				return start(t, "stackstream", append([]string{
					"backfill", "-c", file, "--provider", "prod", "--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339), "--job", "gap",
					"--yes", "--rate", "8/s",
				}, more...)...)
			}
			if dry := job("--dry-run"); dry.wait() != 0 || !strings.Contains(dry.log.String(), fmt.Sprintf("%d would be added", len(want))) {
				t.Errorf("the dry run says\n%s", dry.log)
			}
			position := event.Seq(0)
			for quarter := range 3 {
				p := job()
				eventually(t, time.Minute, "the job to get on", func() bool {
					c, _ := o.cursor(t.Context(), "backfill-gap")
					position = c.Position
					return int(position) > len(want)*(quarter+1)/4
				}, p.log.String)
				p.kill()
			}
			p := job("--json")
			if code := p.wait(); code != 0 {
				t.Fatalf("it exits with %d\n%s", code, p.log)
			}
			var said struct{ Shown, There, Added int }
			text := p.log.String()
			if err := json.Unmarshal([]byte(text[strings.Index(text, "\n{")+1:]), &said); err != nil || said.Added != len(want) {
				t.Errorf("it says %+v (%v), and %d are missing:\n%s", said, err, len(want), text)
			}
			t.Logf("%d of 400 were missing in the range and added; killed at %d at last", len(want), position)
			before := o.collected()
			eventually(t, time.Minute, "live events to be collected", func() bool { return o.collected() > before+20 })
			stop()
			<-live
			all := sky.ids()
			waitForAll(t, 2*time.Minute, nc, durable, len(all), running)

			checkMarked(t, nc, "gap", want)
			raw := dump(t, nc, event.StreamRaw, "events.raw.>")
			normalized := dump(t, nc, event.StreamNormalized, "events.normalized.*", "events.dead.*")
			expect(t, "RAW", checkOnce(all, raw))
			expect(t, "NORMALIZED", checkOnce(all, normalized))
			expect(t, "NORMALIZED", checkContiguous(normalized))
			expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
			expect(t, "durable subscriber", checkOnce(all, durable.seen()))
			expect(t, "durable subscriber", checkSameOrder(normalized, durable.seen()))
			expect(t, "plain subscriber", checkSameOrder(normalized, plain.seen()))
			if c, ok := o.cursor(t.Context(), event.Source(kind)); !ok || int(c.Position) != len(all)-len(want) || c.Retired {
				t.Errorf("the live source stands at %d, want %d", c.Position, len(all)-len(want))
			}
			if c, ok := o.cursor(t.Context(), "backfill-gap"); !ok || int(c.Position) != len(want) || !c.Retired {
				t.Errorf("the job stands at %d, want %d; retired: %v", c.Position, len(want), c.Retired)
			}
			expectReady(t, running)
			if code := running.stop(t); code != 0 {
				t.Errorf("up exits with %d", code)
			}
		})
	}
}

// checkMarked finds fault unless exactly these events are marked as a job's, in RAW and behind it.
func checkMarked(t *testing.T, nc *nats.Conn, job string, want map[string]bool) {
	t.Helper()
	for stream, subject := range map[string]string{event.StreamRaw: "events.raw.>", event.StreamNormalized: "events.normalized.*"} {
		marked := 0
		each(t, nc, stream, []string{subject}, func(e entry) {
			switch is := first(e.header, event.HeaderBackfill); {
			case is == job && !want[e.id], is == "" && want[e.id], is != "" && is != job:
				t.Errorf("%s in %s is marked %q", e.id, stream, is)
			case is == job:
				marked++
			}
		})
		if marked != len(want) {
			t.Errorf("%d are marked in %s, want %d", marked, stream, len(want))
		}
	}
}

// Nobody collects for a day: the queue in the broker overflows, and most of what the services notified of is gone. Panko has it.
// After the collector is back, and has caught up with what was left in the queue, the day is repaired from there.
func TestADaysOutageIsRepaired(t *testing.T) {
	t.Parallel()
	const events = 500
	broker := rabbitmqtest.Start(t)
	vhost := broker.VHost(t)
	sky := newCloud(t, seed)
	publisher := broker.Publisher(t, vhost, rabbitmqtest.As(rabbitmqtest.Durable()))
	if err := publisher.Declare(t.Context(), "nova", "notifications.info"); err != nil {
		t.Fatal(err)
	}
	// notify has a service tell of events as they are in Panko.
	notify := func(events ...standin.Event) {
		t.Helper()
		var all []rabbitmqtest.Notification
		for _, e := range events {
			all = append(all, rabbitmqtest.Notification{
				MessageID: e.ID, EventType: e.Type, Timestamp: e.Generated, Payload: map[string]string{"filling": strings.Repeat("x", 6000)},
			})
		}
		if err := publisher.Notify(t.Context(), "nova", all...); err != nil {
			t.Fatal(err)
		}
	}
	addr := freeAddr(t)
	file := amqpFile(t, broker, vhost, "  embedded: {dir: "+filepath.Join(t.TempDir(), "store")+", listen: \""+addr+"\"}",
		"exchanges: [nova]\ndurable_exchanges: true\nprobe: 1s\nqueue: {max_bytes: 1MiB}\n")
	section := strings.NewReplacer("URL", sky.url, "SECRET", filepath.Join(filepath.Dir(file), "panko")).Replace(pankoSection)
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(text, section...), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(filepath.Dir(file), "panko"), []byte(standin.Admin().Password), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	up := func() *process { return start(t, "stackstream", "up", "-c", file) }
	running := up()
	nc := connect(t, "nats://"+addr)
	durable := durableSubscriber(t, nc)
	o := observe(t, nc, "amqp")
	o.awaitBound(t, "amqp", "nova")

	to := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	from := to.Add(-24 * time.Hour)
	made := func(at time.Time) standin.Event {
		e := sky.Generate(at)
		sky.put(e)
		return e
	}
	var day []standin.Event
	for i := range events {
		day = append(day, made(from.Add(time.Duration(i)*24*time.Hour/events)))
	}
	early := day[:20]
	notify(early...)
	waitForAll(t, time.Minute, nc, durable, len(early), running)
	running.kill()
	notify(day[20:]...)
	running = up()
	late := made(time.Now())
	notify(late)
	o.awaitLast(t, late.ID, running)
	there := map[string]bool{}
	for _, e := range dump(t, nc, event.StreamRaw, "events.raw.>") {
		there[e.id] = true
	}
	missing := map[string]bool{}
	for _, e := range day {
		if !there[e.ID] {
			missing[e.ID] = true
		}
	}
	if len(missing) < events/3 {
		t.Fatalf("only %d are missing: the queue did not overflow", len(missing))
	}
	eventually(t, time.Minute, "the live source to have caught up", func() bool {
		c, _ := o.cursor(t.Context(), "amqp")
		return c.Watermark.After(to.Add(2 * time.Minute))
	})
	p := start(t, "stackstream", "backfill", "-c", file, "--provider", "prod", "--source", "panko", "--from", from.Format(time.RFC3339),
		"--to", to.Format(time.RFC3339), "--yes")
	if code := p.wait(); code != 0 || !strings.Contains(p.log.String(), fmt.Sprintf("%d were added", len(missing))) {
		t.Fatalf("%d are missing; it exits with %d\n%s", len(missing), code, p.log)
	}
	t.Logf("%d of %d were lost and added", len(missing), events)
	notify(made(time.Now()))
	all := sky.ids()
	waitForAll(t, 2*time.Minute, nc, durable, len(all), running)
	expect(t, "RAW", checkOnce(all, dump(t, nc, event.StreamRaw, "events.raw.>")))
	expect(t, "NORMALIZED", checkOnce(all, dump(t, nc, event.StreamNormalized, "events.normalized.*", "events.dead.*")))
	expect(t, "durable subscriber", checkOnce(all, durable.seen()))
	checkMarked(t, nc, "panko-"+from.UTC().Format("20060102t150405")+"-"+to.UTC().Format("20060102t150405"), missing)
	each(t, nc, event.StreamRaw, []string{event.ChoiceSubject("prod")}, func(e entry) {
		var choice event.Choice
		if err := json.Unmarshal(e.body, &choice); err != nil || choice.Kind != "amqp" {
			t.Errorf("collecting is done by %q (%v)", choice.Kind, err)
		}
	})
}
