package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
)

// A newer version has written what the running programs can't know: they write nothing, say why, and go on by themselves
// when it is as it was.
func TestWhatANewerVersionWroteIsLeftAlone(t *testing.T) {
	t.Parallel()
	sky := newCloud(t, seed+7)
	server := startServer(t, func(nats string) string { return sky.configFile(t, nats+"\nstreams: {replicas: 1, budget: 1GiB}") })
	nc := connect(t, server.url)
	r := &records{t: t, nc: nc}
	collector, normalizer := start(t, "collector", "-c", server.file), start(t, "normalizer", "-c", server.file)
	durable := durableSubscriber(t, nc)
	happen := func() {
		for range 50 {
			sky.put(sky.Generate(time.Now()))
		}
	}
	more := func(programs ...*process) {
		t.Helper()
		happen()
		waitForAll(t, time.Minute, nc, durable, len(sky.ids()), programs...)
		expectReady(t, programs...)
	}
	more(collector, normalizer)

	choice, collected, done := event.ChoiceSubject("prod"), event.RawCursorSubject("prod", "panko"), event.NormalizedCursorSubject("prod")
	newer := func(record map[string]any) { record["format"] = 99 }
	newerSource := func(record map[string]any) { record["cursor"] = map[string]any{"pages": 7, "format": 99} }
	const reason = "written by a newer stackstream (format 99, this one reads up to " // a source has formats of its own
	refuses := func(program *process, parts int) {
		t.Helper()
		eventually(t, time.Minute, program.name+" to refuse what is newer", func() bool {
			text := program.ask("/readyz")
			return strings.HasPrefix(text, "503 ") && strings.Count(text, reason) == parts
		}, func() string { return program.ask("/readyz") })
	}
	writesNothing := func(subjects ...string) {
		t.Helper()
		var before []uint64
		for _, subject := range subjects {
			before = append(before, r.last(subject))
		}
		<-time.After(1500 * time.Millisecond) // for tries enough
		for i, subject := range subjects {
			if after := r.last(subject); after != before[i] {
				t.Errorf("something was written behind %s: the stream went from %d to %d", subject, before[i], after)
			}
		}
	}
	for _, c := range []struct {
		what    string
		program *process
		subject string
		change  func(map[string]any)
	}{
		{"choice", collector, choice, newer},
		{"collector's cursor", collector, collected, newer},
		{"source's cursor", collector, collected, newerSource},
		{"normalizer's cursor", normalizer, done, newer},
	} {
		begun := time.Now()
		was := r.read(c.subject)
		r.write(c.subject, was, c.change)
		happen() // so that there is something to write
		refuses(c.program, 1)
		writesNothing(c.subject)
		r.write(c.subject, was, func(map[string]any) {})
		more(collector, normalizer)
		t.Logf("a newer %s, which took %v", c.what, time.Since(begun).Round(time.Millisecond))
	}
	for _, p := range []*process{collector, normalizer} {
		if code := p.stop(t); code != 0 {
			t.Errorf("%s exits with %d on SIGTERM", p.name, code)
		}
	}
	// The same in one process that finds it when it starts, and from a command that only looks.
	was := map[string]map[string]any{choice: r.read(choice), done: r.read(done)}
	for subject, record := range was {
		r.write(subject, record, newer)
	}
	happen()
	up := start(t, "stackstream", "up", "-c", server.file)
	refuses(up, 2)
	writesNothing(choice, done)
	watermark := start(t, "stackstream", "watermark", "-c", server.file)
	if code := watermark.wait(); code == 0 || !strings.Contains(watermark.log.String(), reason) {
		t.Errorf("watermark exits with %d and says %s", code, watermark.log)
	}
	for subject, record := range was {
		r.write(subject, record, func(map[string]any) {})
	}
	more(up)

	want := sky.ids()
	raw, normalized := dump(t, nc, event.StreamRaw, "events.raw.>"), dump(t, nc, event.StreamNormalized, "events.normalized.*", "events.dead.*")
	expect(t, "RAW", checkOnce(want, raw))
	expect(t, "RAW", checkContiguous(raw))
	expect(t, "NORMALIZED", checkOnce(want, normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
}

// The state that the source amqp keeps is read before anything else is done, so that no broker is needed to refuse it.
func TestAStateOfANewerAMQPSourceIsLeftAlone(t *testing.T) {
	t.Parallel()
	broker := freeAddr(t)
	server := startServer(t, func(nats string) string {
		dir := t.TempDir()
		file := filepath.Join(dir, "stackstream.yaml")
		text := fmt.Sprintf(`nats:
%s
streams: {replicas: 1, budget: 1GiB}
admin: {listen: "127.0.0.1:0"}
providers:
  prod:
    events: amqp
    amqp: {hosts: ["%s"], user: guest, password: guest}
`, nats, broker)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	})
	r := &records{t: t, nc: connect(t, server.url)}
	subject := event.RawCursorSubject("prod", "amqp")
	r.write(event.ChoiceSubject("prod"), map[string]any{"kind": "amqp"}, func(map[string]any) {})
	r.write(subject, map[string]any{"cursor": map[string]any{"routes": []string{"nova"}, "format": 99}}, func(map[string]any) {})
	before := r.last(subject)
	collector := start(t, "collector", "-c", server.file)
	says := func(text string) {
		t.Helper()
		eventually(t, time.Minute, "the collector to say "+text, func() bool { return strings.Contains(collector.ask("/readyz"), text) },
			func() string { return collector.ask("/readyz") })
	}
	says("written by a newer stackstream (format 99, this one reads up to 1)")
	if after := r.last(subject); after != before {
		t.Errorf("the stream went from %d to %d", before, after)
	}
	r.write(subject, map[string]any{"cursor": map[string]any{"keys": []string{"notifications.info"}}}, func(map[string]any) {})
	says(broker) // it can't be reached, which is news
}

// server is one nats-server process with the streams.
type server struct{ url, file string }

func startServer(t *testing.T, config func(nats string) string) server {
	t.Helper()
	addr, dir := freeAddr(t), t.TempDir()
	text := fmt.Sprintf(`listen: "%s"
max_payload: 8454144
jetstream { store_dir: "%s", max_file_store: 64GB, max_memory_store: 256MB }
`, addr, filepath.Join(dir, "store"))
	conf := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "nats-server", "-c", conf)
	s := server{url: "nats://" + addr}
	s.file = config("  url: [" + s.url + "]")
	if code := start(t, "stackstream", "provision", "-c", s.file).wait(); code != 0 {
		t.Fatalf("provision exits with %d", code)
	}
	return s
}

// records reads and writes cursors and choices by hand.
type records struct {
	t  *testing.T
	nc *nats.Conn
}

func (r *records) stream(subject string) natsjs.Stream {
	r.t.Helper()
	js, err := natsjs.New(r.nc)
	if err != nil {
		r.t.Fatal(err)
	}
	name := event.StreamRaw
	if strings.HasPrefix(subject, "events.cursor.normalized.") {
		name = event.StreamNormalized
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, name)
	if err != nil {
		r.t.Fatal(err)
	}
	return stream
}

// last is the last sequence of the stream that a record is in.
func (r *records) last(subject string) uint64 {
	r.t.Helper()
	return r.stream(subject).CachedInfo().State.LastSeq
}

func (r *records) read(subject string) (record map[string]any) {
	r.t.Helper()
	m, err := r.stream(subject).GetLastMsgForSubject(r.t.Context(), subject)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(m.Data, &record); err != nil {
		r.t.Fatal(err)
	}
	return record
}

// write puts a record in the place of the last one, changed.
func (r *records) write(subject string, record map[string]any, change func(record map[string]any)) {
	r.t.Helper()
	record = maps.Clone(record)
	change(record)
	body, err := json.Marshal(record)
	if err != nil {
		r.t.Fatal(err)
	}
	m := nats.NewMsg("ingest" + strings.TrimPrefix(subject, "events"))
	m.Data = body
	m.Header.Set("Nats-Rollup", "sub")
	answer, err := r.nc.RequestMsg(m, 10*time.Second)
	if err != nil || strings.Contains(string(answer.Data), `"error"`) {
		r.t.Fatalf("write %s: %v", subject, err)
	}
}
