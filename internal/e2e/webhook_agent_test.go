package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stackstream/event"
)

var pushed = flag.Int("pushed", 400, "how many events are pushed in TestWebhookTakesWhatAnAgentPushes")

// agent is what Ceilometer's agent is to a webhook: it takes any answer for a final one, and gives an event back to its queue only
// where there was none, from where it comes again at once.
type agent struct {
	url    string
	client *http.Client

	mu     sync.Mutex
	told   map[string]bool // answered with success
	lost   []string        // answered otherwise
	broken int             // not answered
}

// push pushes events one after the other.
func (a *agent) push(ctx context.Context, ids []string) {
	for _, id := range ids {
		for answered := false; !answered && ctx.Err() == nil; {
			status, err := postEvents(ctx, a.client, 1500*time.Millisecond, a.url, []string{id})
			answered = a.heard(id, status, err)
			if answered {
				continue
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

func (a *agent) heard(id string, status int, err error) (answered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		a.broken++
		return false
	case status == http.StatusOK:
		a.told[id] = true
	default:
		a.lost = append(a.lost, fmt.Sprint(id, ": ", status))
	}
	return true
}

// heardOf is how many events were answered with success.
func (a *agent) heardOf() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.told)
}

// An agent that would lose what is answered with anything but success pushes, while the collector is killed, ended and stopped in
// its tracks, and its server does not keep up, stands still and is killed: it loses nothing, and what each of its workers pushed is
// in the streams in that order, once.
func TestWebhookTakesWhatAnAgentPushes(t *testing.T) {
	t.Parallel()
	startServer, url := singleServer(t, t.TempDir())
	server := startServer()
	d := doors(t, 1, "  url: "+url, knownByToken+"      refuse: disconnect\n      limits: {pending: 5, answer_time: 1s}\n")[0]
	resize(t, d.file)
	nc := connect(t, url)
	collector := start(t, "collector", "-c", d.file)
	normalizer := start(t, "normalizer", "-c", d.file)
	o := observe(t, nc, "webhook")

	const workers = 6
	a := &agent{url: d.url, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}, told: map[string]bool{}}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute+time.Duration(*pushed)*40*time.Millisecond)
	defer cancel()
	all := make([][]string, workers)
	want := make(map[string]bool, *pushed)
	for n := range *pushed {
		id := fmt.Sprintf("e-%d-%d", n%workers, n)
		all[n%workers], want[id] = append(all[n%workers], id), true
	}
	var pushing sync.WaitGroup
	for _, ids := range all {
		pushing.Go(func() { a.push(ctx, ids) })
	}
	done := make(chan struct{})
	go func() { defer close(done); pushing.Wait() }()

	began := time.Now()
	harms := []func(){
		func() { collector.kill(); collector = start(t, "collector", "-c", d.file) },
		func() { server.pause(); <-time.After(1500 * time.Millisecond); server.resume() },
		func() { collector.stop(t); collector = start(t, "collector", "-c", d.file) },
		func() { server.kill(); server = startServer() },
		func() { collector.pause(); <-time.After(2 * time.Second); collector.resume() },
	}
	rounds, gap := 0, max(60, *pushed/40)
	for over := false; !over; rounds++ {
		before := a.heardOf()
		harms[rounds%len(harms)]()
		// The next harm comes when it works again.
		eventually(t, time.Minute, "events to be taken after the harm", func() bool {
			select {
			case <-done:
				over = true
			default:
			}
			return over || a.heardOf() > before+gap
		}, func() string { return collector.ask("/readyz") })
	}
	t.Logf("%d events were pushed in %s, through %d harms; %d requests had no answer", len(a.told), time.Since(began).Round(time.Second),
		rounds, a.broken)
	if ctx.Err() != nil || len(a.told) != len(want) {
		t.Errorf("%d of %d events were answered with success, others with: %s", len(a.told), len(want), strings.Join(a.lost, ", "))
	}
	if rounds < len(harms) || a.broken == 0 {
		t.Errorf("%d harms and %d requests without an answer are no trial", rounds, a.broken)
	}
	o.awaitNormalized(t, time.Minute, len(want), collector, normalizer)
	raw, normalized := dump(t, nc, event.StreamRaw, "events.raw.prod.>"), dump(t, nc, event.StreamNormalized, event.NormalizedSubject("prod"))
	expect(t, "RAW", checkOnce(want, raw))
	expect(t, "RAW", checkContiguous(raw))
	expect(t, "NORMALIZED", checkOnce(want, normalized))
	expect(t, "NORMALIZED after RAW", checkSameOrder(raw, normalized))
	for n, ids := range all {
		var pushed, got []entry
		for _, id := range ids {
			pushed = append(pushed, entry{id: id})
		}
		for _, e := range raw {
			if strings.HasPrefix(e.id, fmt.Sprintf("e-%d-", n)) {
				got = append(got, e)
			}
		}
		expect(t, fmt.Sprint("worker ", n), checkSameOrder(pushed, got))
	}
}
