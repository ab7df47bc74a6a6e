package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// operate runs a command to its end and returns what it printed.
func operate(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "stackstream"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("stackstream %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	t.Logf("stackstream %s\n%s", strings.Join(args, " "), out)
	return string(out)
}

// stands is where the source of the provider stands by `stackstream watermark`.
func stands(t *testing.T, url string) (s struct {
	Collected, Normalized event.Seq
	State, Reason         string
},
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "stackstream"), "watermark", "--nats", url, "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	rows := []any{&s}
	if err := json.Unmarshal(out, &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%v, %d sources in %s", err, len(rows), out)
	}
	return s
}

// An operator pauses, rewinds and goes over what is gone, under load, and the process that does the work is killed each time.
func TestOperatorsCommands(t *testing.T) {
	t.Parallel()
	sky := newCloud(t, seed+21)
	addr := freeAddr(t)
	url := "nats://" + addr
	file := sky.configFile(t, "  embedded: {dir: "+filepath.Join(t.TempDir(), "store")+"}")
	client := sky.configFile(t, "  url: "+url+"\nstreams: {replicas: 1}")
	up := func() *process { return start(t, "stackstream", "up", "-c", file, "--nats-listen", addr) }
	running := up()
	again := func() {
		running.kill()
		running = up()
		eventually(t, time.Minute, "its server to be back", func() bool {
			return strings.Contains(running.log.String(), "embedded NATS server listens")
		})
	}
	nc := connect(t, url)
	plain, durable := plainSubscriber(t, nc), durableSubscriber(t, nc)

	ctx, enough := context.WithCancel(t.Context())
	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		for n := uint64(0); ctx.Err() == nil; n++ {
			sky.emit(ctx, 200, 2*time.Second, seed+n)
		}
	}()
	defer func() { enough(); <-emitted }()
	eventually(t, time.Minute, "events to be normalized", func() bool { return durable.len() > 200 })

	// A pause holds from the moment the command has ended, also for a process that starts later, and nothing is lost by it.
	operate(t, "pause", "--nats", url, "--provider", "prod", "--why", "upgrade", "--by", "ada")
	raw, normalized := count(t, nc, event.StreamRaw, "events.raw.>"), count(t, nc, event.StreamNormalized, "events.normalized.*")
	still := func() {
		t.Helper()
		after(t, 2*time.Second)
		r, n := count(t, nc, event.StreamRaw, "events.raw.>"), count(t, nc, event.StreamNormalized, "events.normalized.*")
		if r != raw || n != normalized {
			t.Errorf("RAW went from %d to %d events, NORMALIZED from %d to %d, while all is paused", raw, r, normalized, n)
		}
	}
	still()
	again()
	still()
	if s := stands(t, url); s.State != "paused" || !strings.Contains(s.Reason, "by ada: upgrade") {
		t.Errorf("it stands at %+v", s)
	}
	eventually(t, time.Minute, "the process to be ready, paused", func() bool {
		return strings.HasPrefix(running.ask("/readyz"), "200 ") && strings.Contains(running.log.String(), "since ")
	})
	operate(t, "resume", "--nats", url, "--provider", "prod")
	before := durable.len()
	eventually(t, time.Minute, "it to go on", func() bool { return durable.len() > before+200 })

	// Events that show longer after their time than is read back are missed, until the source is rewound.
	late := map[string]bool{}
	at := time.Now().Add(-20 * time.Second)
	for range 50 {
		at = at.Add(20 * time.Millisecond)
		e := sky.Generate(at)
		late[e.ID] = true
		sky.put(e)
	}
	seen := durable.len()
	eventually(t, time.Minute, "later ones to be normalized", func() bool { return durable.len() > seen+200 })
	for _, e := range durable.seen() {
		if late[e.id] {
			t.Fatalf("%s shows late and was not missed", e.id)
		}
	}
	said := operate(t, "watermark", "rewind", "-c", client, "--provider", "prod", "--source", "panko",
		"--to", at.Add(-10*time.Second).UTC().Format(time.RFC3339), "--why", "late events", "--yes")
	again()
	if !strings.Contains(said, "Nothing comes twice.") {
		t.Errorf("it says %s", said)
	}
	eventually(t, time.Minute, "what was missed to come", func() bool {
		n := 0
		for _, e := range durable.seen() {
			n += btoi(late[e.id])
		}
		return n == len(late)
	}, func() string { return whereabouts(nc, durable, []*process{running}) })

	// RAW drops what is not normalized.
	operate(t, "pause", "--nats", url, "--provider", "prod", "--normalizer", "--why", "wrong converter")
	stood := stands(t, url)
	eventually(t, time.Minute, "events to wait for longer than is read back", func() bool {
		return stands(t, url).Collected > stood.Collected+1500
	})
	lost := expire(t, nc, stood.Normalized+100)
	operate(t, "resume", "--nats", url, "--provider", "prod", "--normalizer")
	eventually(t, time.Minute, "the normalizer to stop", func() bool {
		return strings.Contains(running.ask("/readyz"), "normalizer prod: stopped") && stands(t, url).State == "raw-expired"
	}, func() string { return running.ask("/readyz") })
	operate(t, "watermark", "accept-gap", "--nats", url, "--provider", "prod", "--why", "nobody looked", "--yes")
	again()
	var log []struct {
		Verb, By string
		Gaps     []event.RawGap
	}
	if err := json.Unmarshal([]byte(operate(t, "watermark", "log", "--nats", url, "--json")), &log); err != nil {
		t.Fatal(err)
	}
	last := log[len(log)-1]
	if len(log) != 8 || last.Verb != "accept-gap" || len(last.Gaps) != 1 || last.Gaps[0].Events() != uint64(len(lost)) ||
		last.Gaps[0].From != stood.Normalized+1 {
		t.Errorf("%d events are lost behind %d, and on record is %+v", len(lost), stood.Normalized, log)
	}

	enough()
	<-emitted
	want := sky.ids()
	for id := range lost {
		delete(want, id)
	}
	waitForAll(t, 2*time.Minute, nc, durable, len(want), running)
	expectReady(t, running)
	all := dump(t, nc, event.StreamNormalized, "events.normalized.*", "events.dead.*")
	expect(t, "NORMALIZED", checkOnce(want, all))
	expect(t, "NORMALIZED", checkContiguous(all))
	expect(t, "NORMALIZED", checkCanonical(all))
	expect(t, "durable subscriber", checkOnce(want, durable.seen()))
	expect(t, "durable subscriber", checkSameOrder(all, durable.seen()))
	expect(t, "plain subscriber", checkSameOrder(all, plain.seen()))
	t.Logf("%d events, %d late, %d lost", len(want), len(late), len(lost))
	if code := running.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
}

// expire takes out of RAW what age would: all events up to a number. It returns those that were not normalized.
func expire(t *testing.T, nc *nats.Conn, upTo event.Seq) map[string]bool {
	t.Helper()
	done := stands(t, nc.ConnectedUrl()).Normalized
	lost, end := map[string]bool{}, uint64(0)
	for _, e := range dump(t, nc, event.StreamRaw, "events.raw.>") {
		if event.Seq(e.seq) > upTo {
			break
		}
		end = e.stream
		if event.Seq(e.seq) > done {
			lost[e.id] = true
		}
	}
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), natsjs.WithPurgeSubject("events.raw.>"), natsjs.WithPurgeSequence(end+1)); err != nil {
		t.Fatal(err)
	}
	return lost
}

// count is how many messages a stream has on subjects.
func count(t *testing.T, nc *nats.Conn, stream, filter string) int {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var n, end int
	eventually(t, time.Minute, "an answer about "+stream, func() bool {
		_, err := fmt.Sscanf(countOn(t.Context(), js, stream, filter), "%d events, ends at %d", &n, &end)
		return err == nil
	})
	return n
}

// after lets time pass in which nothing is to happen.
func after(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
