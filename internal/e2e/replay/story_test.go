package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/event"
	"stackstream/internal/app/author/authortest"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/subscribe"
)

// pipeline collects from a service with a mapping.
const pipeline = `nats: {url: [%q]}
streams: {replicas: 1, budget: 1GiB}
admin: {listen: "off"}
log: {format: json}
providers:
  prod:
    http:
      schedule: {every: 100ms, jitter: 0s}
      request: {url: "%s/v1/events", query: {limit: "100"}}
      auth: {bearer: {token_file: %q}}
      records: {path: events}
      cursor: {type: time, field: created, order: ascending, overlap: 1m, start: "2000-01-01T00:00:00Z", send: {name: time_from}}
      pagination: {type: token, send: {name: token}, from: body.?token}
      event: {id: rec.id, %s}
`

// The wrong mapping takes the wrong member for the server, and can't read the type of every second event.
const (
	wrong  = `type: "rec.kind == 'server.created' ? rec.kind : rec.sort", targets: {server: rec.id}`
	mended = `type: rec.kind, targets: {server: rec.server}`
)

// live is what a subscriber was given, events and dead letters, in order.
type live struct {
	mu     sync.Mutex
	seqs   []event.Seq
	events int
	wrong  int // targets
	gaps   []string
}

func (l *live) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seqs)
}

// right tells whether an event has the server that its record names.
func right(e *event.Event) bool {
	var rec struct{ Server string }
	return json.Unmarshal(e.Payload, &rec) == nil && len(e.Targets) == 1 && e.Targets[0].ID == rec.Server
}

func (l *live) follow(ctx context.Context, nc *nats.Conn) error {
	s, err := subscribe.New(nc, subscribe.Options{
		Durable: "reader",
		OnGap: func(g subscribe.Gap) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.gaps = append(l.gaps, g.String())
		},
		OnDead: func(_ context.Context, d subscribe.Dead) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.seqs = append(l.seqs, d.Seq)
			return nil
		},
	})
	if err != nil {
		return err
	}
	return s.Run(ctx, func(_ context.Context, e subscribe.Event) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seqs = append(l.seqs, e.Seq)
		l.events++
		if !right(&e.Event) {
			l.wrong++
		}
		return nil
	})
}

// A wrong converter is shipped, found by what the mended one would change, and mended; the past is made anew while a subscriber
// goes on undisturbed: it has every event once and in order, and nothing of what the job makes.
func TestAWrongConverter(t *testing.T) {
	const before = 300
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	began := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	service := authortest.New(before, began)
	service.Paging, service.Size = "token", 100
	web := httptest.NewServer(service)
	defer web.Close()

	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	write := func(path, text string) string {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(token, authortest.Token)
	config := func(mapping string) string {
		return write(filepath.Join(dir, "stackstream.yaml"), fmt.Sprintf(pipeline, server.URL(), web.URL, token, mapping))
	}

	var reader live
	reading, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- reader.follow(reading, client.Conn()) }()
	var plain sync.Map // subjects that a plain subscriber was given something on
	if _, err := client.Conn().Subscribe("events.normalized.>", func(m *nats.Msg) { plain.Store(m.Subject, true) }); err != nil {
		t.Fatal(err)
	}

	up := start(t, "up", "-c", config(wrong))
	eventually(t, "what the wrong converter makes", func() bool { return reader.count() == before })
	up.stop(t)

	// New events come all the time from now on.
	emitting, enough := context.WithCancel(t.Context())
	emitted := make(chan int)
	go func() {
		n := 0
		for ; emitting.Err() == nil; n++ {
			service.Put(began.Add(time.Duration(before+n) * time.Second))
			select {
			case <-time.After(20 * time.Millisecond):
			case <-emitting.Done():
			}
		}
		emitted <- n
	}()

	file := config(mended)
	found := run(t, "replay", "-c", file, "--provider", "prod", "--since", "2h", "--diff")
	for _, want := range []string{
		fmt.Sprintf("%d  would change", before/2), fmt.Sprintf("%d  are dead letters and would be events", before/2),
		`targets[0].id: "e-001" → "s-1"`,
	} {
		if !strings.Contains(found, want) {
			t.Errorf("the comparison does not say %q:\n%s", want, found)
		}
	}
	up = start(t, "up", "-c", file)
	eventually(t, "events that the mended converter makes", func() bool { return reader.count() > before+20 })
	during := reader.count()
	run(t, "replay", "-c", file, "--provider", "prod", "--since", "2h", "--job", "mended", "--rate", "200/s")
	eventually(t, "events that came meanwhile", func() bool { return reader.count() > during })
	enough()
	total := before + <-emitted
	eventually(t, "all events", func() bool { return reader.count() == total })
	up.stop(t)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	if reader.wrong != before/2 || reader.events != total-before/2 || len(reader.gaps) > 0 {
		t.Errorf("the subscriber was given %d events of %d, %d of them wrong; missing %v", reader.events, total, reader.wrong, reader.gaps)
	}
	for i, seq := range reader.seqs {
		if seq != event.Seq(i+1) {
			t.Fatalf("the subscriber was given number %d in place of %d", seq, i+1)
		}
	}
	plain.Range(func(subject, _ any) bool {
		if subject != "events.normalized.prod" {
			t.Errorf("a plain subscriber was given something on %s", subject)
		}
		return true
	})
	job, ok, err := client.Replays().Read(t.Context(), "mended")
	if err != nil || !ok || job.State != event.ReplayDone || job.Counts.Dead > 0 || job.Counts.Events < uint64(during) || job.Counts.Events != job.Counts.Raw {
		t.Fatalf("the job is %+v (%v)", job, err)
	}
	stream, err := jetStream(t, client).Stream(t.Context(), event.StreamReplay)
	if err != nil {
		t.Fatal(err)
	}
	made := client.ReplayRange("mended", event.StreamSeq(stream.CachedInfo().State.LastSeq))
	defer made.Close()
	n := uint64(0)
	for {
		m, err := made.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		var e event.Event
		if err := json.Unmarshal(m.Body, &e); err != nil || !right(&e) || m.Header.Get(event.HeaderSeq) != fmt.Sprint(n) {
			t.Fatalf("event %d of the job is number %s: %s (%v)", n, m.Header.Get(event.HeaderSeq), m.Body, err)
		}
	}
	if n != job.Counts.Events {
		t.Errorf("the job has %d events, its record says %d", n, job.Counts.Events)
	}
}
