package replay

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

var many = flag.Int("raw", 20_000, "how many raw events are converted once more; 1000000 takes some minutes")

const (
	cloud    = event.Provider("prod")
	settings = `nats: {url: [%q]}
streams: {replicas: 1}
admin: {listen: "off"}
providers:
  prod:
    events: none
    http:
      request: {url: "http://127.0.0.1:1/events"}
      cursor: {type: time, field: at, overlap: 1m, send: {name: since}}
      event: {id: rec.id, type: rec.kind, targets: {server: rec.server}}
`
)

// fill puts small raw events of a service into RAW.
func fill(t testing.TB, c *jetstream.Client, n int) {
	t.Helper()
	log, at := c.Raw(), event.StreamSeq(0)
	received := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for done := 0; done < n; {
		b := event.Batch{ID: strconv.Itoa(done), Expect: at}
		for range min(900, n-done) {
			done++
			r := event.Raw{
				ID: event.ID("e-" + strconv.Itoa(done)), Received: received, Format: "http/prod",
				Body: fmt.Appendf(nil, `{"id":"e-%d","kind":"server.created","server":"s-%d"}`, done, done%1000),
			}
			b.Messages = append(b.Messages, r.Message(cloud, "http", event.Seq(done), event.BodyRef{}))
		}
		b.Cursor = event.Message{
			Subject: event.RawCursorSubject(cloud, "http"),
			Body:    fmt.Appendf(nil, `{"position":%d,"batch":%q,"written_at":"2026-11-22T00:00:00Z"}`, done, b.ID),
		}
		var err error
		if at, err = log.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// world is a server with raw events, and the configuration of those who convert them.
func world(t testing.TB, n int) (c *jetstream.Client, file string) {
	t.Helper()
	server := jetstreamtest.Server(t, jetstreamtest.Layout(func(l *jetstream.Layout) {
		*l = jetstream.DefaultLayout(1)
		for _, s := range []*jetstream.StreamLimits{&l.Normalized, &l.Dead, &l.Bodies} {
			s.MaxBytes = 64 << 20
		}
		l.Raw.MaxBytes, l.Replay.MaxBytes = 3<<30, 3<<30
	}))
	c = server.Client(t)
	fill(t, c, n)
	file = filepath.Join(t.TempDir(), "stackstream.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, settings, server.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	return c, file
}

// verify finds fault unless a job has written the events from 1 to n, each once, in order and numbered.
func verify(t testing.TB, c *jetstream.Client, name event.ReplayName, n int) {
	t.Helper()
	js := jetStream(t, c)
	stream, err := js.Stream(t.Context(), event.StreamReplay)
	if err != nil {
		t.Fatal(err)
	}
	r := c.ReplayRange(name, event.StreamSeq(stream.CachedInfo().State.LastSeq))
	defer r.Close()
	got := 0
	for {
		m, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got++
		if m.Header.Get(event.HeaderSeq) != strconv.Itoa(got) || m.Header.Get("ce-id") != "e-"+strconv.Itoa(got) {
			t.Fatalf("event %d is number %s, %s", got, m.Header.Get(event.HeaderSeq), m.Header.Get("ce-id"))
		}
	}
	if got != n {
		t.Errorf("the job has written %d events, want %d", got, n)
	}
}

// However many events there are, a job takes no more memory for them.
func TestAJobKeepsItsMemoryFlat(t *testing.T) {
	c, file := world(t, *many)
	began := time.Now()
	p := start(t, "replay", "-c", file, "--provider", "prod", "--since", "1", "--job", "all")
	samples := p.memory(t)
	took := time.Since(began)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("the job ended with %d", code)
	}
	early, late := peak(samples[:len(samples)/4+1]), peak(samples[len(samples)/4:])
	t.Logf("%d raw events in %v, %.0f/s; memory at most %d MiB in the first quarter, %d MiB after that", *many,
		took.Round(time.Millisecond), float64(*many)/took.Seconds(), early>>20, late>>20)
	if late > early+48<<20 || late > 256<<20 {
		t.Errorf("the memory grew from %d to %d MiB", early>>20, late>>20)
	}
	verify(t, c, "all", *many)
}

func peak(samples []int64) int64 {
	var most int64
	for _, s := range samples {
		most = max(most, s)
	}
	return most
}

// Killed at moments nobody chose, again and again, a job that is given again writes what one run would have.
func TestAJobSurvivesKill(t *testing.T) {
	const events, kills = 20_000, 8
	c, file := world(t, events)
	random := rand.New(rand.NewPCG(20261128, 1))
	args := []string{"replay", "-c", file, "--provider", "prod", "--since", "1", "--job", "all"}
	for range kills {
		p := start(t, args...)
		select {
		case <-time.After(time.Duration(20+random.IntN(400)) * time.Millisecond):
		case <-p.done:
		}
		p.kill()
	}
	run(t, args...)
	verify(t, c, "all", events)
	job, ok, err := c.Replays().Read(t.Context(), "all")
	if err != nil || !ok || job.State != event.ReplayDone || job.Counts.Events != events || job.Counts.Raw != events {
		t.Errorf("the record is %+v (%v)", job, err)
	}
}

func jetStream(t testing.TB, c *jetstream.Client) natsjs.JetStream {
	t.Helper()
	js, err := natsjs.New(c.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return js
}
