package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stackstream/chaos/checker"
	"stackstream/event"
	"stackstream/internal/app/author/authortest"
)

// redriveFile writes a configuration whose mapping of the type is given.
func redriveFile(t *testing.T, url, service, mapping string) string {
	t.Helper()
	dir := t.TempDir()
	token, file := filepath.Join(dir, "token"), filepath.Join(dir, "stackstream.yaml")
	text := fmt.Sprintf(`nats: {url: ["%s"]}
streams: {replicas: 1, budget: 1GiB, lease_ttl: 2s}
admin: {listen: 127.0.0.1:0}
providers:
  prod:
    http:
      schedule: {every: 200ms, jitter: 0s}
      request: {url: "%s/v1/events", query: {limit: "500"}}
      auth: {bearer: {token_file: %s}}
      records: {path: events}
      cursor: {type: time, field: created, order: ascending, overlap: 1m, start: "2000-01-01T00:00:00Z", send: {name: time_from}}
      pagination: {type: token, send: {name: token}, from: body.?token}
      event: {id: rec.id, type: '%s'}
`, url, service, token, mapping)
	for name, content := range map[string]string{token: authortest.Token + "\n", file: text} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// A wrong mapping makes a thousand dead letters. It is mended, and they are redriven while events come, by commands that are
// killed and a normalizer that is, and at last by two operators at once: each becomes an event, once, and whoever subscribes sees
// neither a gap nor anything twice.
func TestThousandLettersAreRedriven(t *testing.T) {
	t.Parallel()
	const letters = 1000
	random := rand.New(rand.NewPCG(seed, 11))
	service := authortest.New(2*letters, time.Now().Add(-time.Hour))
	service.Paging, service.Size = "token", 500
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	again, url := singleServer(t, t.TempDir())
	again()
	nc := connect(t, url)
	wrong := redriveFile(t, url, server.URL, `rec.kind == "server.created" ? rec.kind : rec.sort`)
	mended := redriveFile(t, url, server.URL, "rec.kind")
	if code := start(t, "stackstream", "provision", "-c", wrong).wait(); code != 0 {
		t.Fatalf("provision exits with %d", code)
	}
	plain, durable := plainSubscriber(t, nc), durableSubscriber(t, nc)
	collector := start(t, "collector", "-c", wrong)
	normalizer := start(t, "normalizer", "-c", wrong)
	count := func(stream, subject string) int {
		t.Helper()
		return len(dump(t, nc, stream, subject))
	}
	eventually(t, 2*time.Minute, "a thousand dead letters", func() bool {
		return count(event.StreamDead, "events.dead.prod") == letters
	}, func() string { return whereabouts(nc, durable, []*process{collector, normalizer}) })
	normalizer.stop(t)
	normalizer = start(t, "normalizer", "-c", mended)

	// Events come all the while.
	stop, done := make(chan struct{}), make(chan struct{})
	live := 0
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				service.Put(time.Now())
				live++
			}
		}
	}()

	redrive := func(more ...string) *process {
		return start(t, "stackstream", append([]string{"dead", "redrive", "--nats", url, "--why", "mapping mended", "--yes"}, more...)...)
	}
	kills := 0
	for range 6 {
		sent := count(event.StreamRaw, "events.raw.prod.redrive")
		command := redrive("--limit", "100")
		if random.IntN(2) == 0 {
			<-time.After(time.Duration(random.Int64N(int64(1500 * time.Millisecond))))
		} else {
			eventually(t, time.Minute, "the command to send letters", func() bool {
				return count(event.StreamRaw, "events.raw.prod.redrive") > sent
			})
		}
		select {
		case <-command.done:
		default:
			kills++
		}
		command.kill()
		if random.IntN(2) == 0 {
			normalizer.kill()
			normalizer = start(t, "normalizer", "-c", mended)
		}
	}
	left := letters - count(event.StreamRaw, "events.raw.prod.redrive")
	t.Logf("%d of 6 commands were killed at work; %d letters are left", kills, left)
	var operators sync.WaitGroup
	for range 2 {
		operators.Go(func() {
			p := redrive("--wait", "2m")
			if code := p.wait(); code != 0 {
				t.Errorf("a command that nobody kills exits with %d: %s", code, p.log.String())
			}
		})
	}
	operators.Wait()
	close(stop)
	<-done
	want := 2*letters + live
	waitForAll(t, time.Minute, nc, durable, want, collector, normalizer)

	ids := map[string]bool{}
	for n := range want {
		ids[fmt.Sprintf("e-%03d", n+1)] = true
	}
	raw := dump(t, nc, event.StreamRaw, "events.raw.prod.redrive")
	normalized := dump(t, nc, event.StreamNormalized, "events.normalized.prod", "events.dead.prod")
	events := slices.DeleteFunc(slices.Clone(normalized), func(e entry) bool { return e.subject == "events.dead.prod" })
	expect(t, "redriven", checkRedriven(raw, events, letters))
	expect(t, "recorded", checkStates(dump(t, nc, event.StreamNormalized, "events.deadstate.prod"), events, letters))
	expect(t, "numbers", checkContiguous(normalized))
	expect(t, "events", checkOnce(ids, events))
	expect(t, "durable subscriber", checkOnce(ids, durable.seen()))
	expect(t, "order of the durable subscriber", checkSameOrder(events, durable.seen()))
	expect(t, "plain subscriber", checkOnce(ids, plain.seen()))
	expect(t, "order of the plain subscriber", checkSameOrder(events, plain.seen()))
	if verdict := judge(t, nc, service.Events(), letters); !verdict.OK() {
		t.Error(verdict)
	}
	t.Logf("%d letters redriven while %d events came", letters, live)
}

// checkRedriven finds fault unless RAW has each letter once, numbered, and each became the one event that is marked with it.
func checkRedriven(raw, events []entry, letters int) error {
	sent, marked := map[string]string{}, map[string]string{}
	var problems []error
	for i, e := range raw {
		letter := first(e.header, event.HeaderRedriven)
		if was, twice := sent[letter]; twice || letter == "" {
			problems = append(problems, fmt.Errorf("letter %q is sent as %s and as %s", letter, was, e.id))
		}
		if e.seq != uint64(i+1) {
			problems = append(problems, fmt.Errorf("raw event %d has the number %d", i+1, e.seq))
		}
		sent[letter] = e.id
	}
	for _, e := range events {
		letter := first(e.header, event.HeaderRedriven)
		if letter == "" {
			continue
		}
		if was, twice := marked[letter]; twice || sent[letter] != e.id {
			problems = append(problems, fmt.Errorf("%s was letter %s, which is %s; the letter became %q before", e.id, letter, sent[letter], was))
		}
		marked[letter] = e.id
	}
	if len(sent) != letters || len(marked) != letters {
		problems = append(problems, fmt.Errorf("%d letters were sent, %d became events, want %d", len(sent), len(marked), letters))
	}
	return summary(problems)
}

// checkStates finds fault unless each letter is recorded as redriven once, and as the event that it became.
func checkStates(states, events []entry, letters int) error {
	became := map[string]uint64{}
	for _, e := range events {
		if letter := first(e.header, event.HeaderRedriven); letter != "" {
			became[letter] = e.seq
		}
	}
	var problems []error
	for _, e := range states {
		var s event.LetterState
		if err := json.Unmarshal(e.body, &s); err != nil {
			return err
		}
		letter := strconv.FormatUint(uint64(s.Letter), 10)
		if s.State != event.LetterRedriven || uint64(s.Seq) != became[letter] || !strings.Contains(s.Why, "mended") {
			problems = append(problems, fmt.Errorf("letter %s is recorded as %+v", letter, s))
		}
		delete(became, letter)
	}
	if len(states) != letters || len(became) > 0 {
		problems = append(problems, fmt.Errorf("%d records of %d letters", len(states), letters))
	}
	return summary(problems)
}

// judge has the checker of the long runs look at all that is in the streams. The service shows the first event of a page with more
// in it than it has on others: what was collected is what counts.
func judge(t *testing.T, nc *nats.Conn, events []authortest.Event, letters int) checker.Verdict {
	t.Helper()
	c := checker.New(checker.Options{})
	bodies := map[string][]byte{}
	each(t, nc, event.StreamRaw, []string{"events.raw.prod.http"}, func(e entry) { bodies[e.id] = e.body })
	for i, e := range events {
		fate := checker.Normal
		if i < 2*letters && e.Kind == "server.deleted" {
			fate = checker.DeadLetter
		}
		c.Handed(checker.Handed{Provider: "prod", ID: e.ID, Body: bodies[e.ID], Fate: fate})
	}
	for stream, take := range map[string]func(checker.Message){
		event.StreamRaw: c.Raw, event.StreamNormalized: c.Normalized, event.StreamDead: c.Dead,
	} {
		each(t, nc, stream, []string{"events.>"}, func(e entry) {
			take(checker.Message{Subject: e.subject, Header: e.header, Body: e.body, Sequence: e.stream})
		})
	}
	return c.Verdict()
}
