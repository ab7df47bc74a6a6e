package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stackstream/event"
	"stackstream/internal/porttest"
)

var (
	posted        = flag.Int("posted", 60, "how many requests each of six senders posts in TestWebhookSurvivesKilling")
	postedServers = flag.Bool("posted-servers", false, "have a cluster of three servers in it, which are killed as well")
)

// door is one replica: its configuration, and where it is posted to.
type door struct{ file, url string }

// knownByToken is the setting of a source whose senders are postEvents.
const knownByToken = "      auth: {bearer: {token: let me in}}\n"

// doors are replicas that differ in the address they listen on. settings are more of the source's, its auth among them.
func doors(t *testing.T, n int, nats, settings string) []door {
	t.Helper()
	dir := t.TempDir()
	var all []door
	for i, addr := range porttest.Addrs(t, n) {
		d := door{filepath.Join(dir, fmt.Sprintf("replica-%d.yaml", i)), "http://" + addr + "/events"}
		text := fmt.Sprintf(`nats:
%s
streams: {replicas: %d, budget: 1GiB, lease_ttl: 2s}
admin: {listen: "127.0.0.1:0"}
providers:
  prod:
    events: webhook
    webhook:
      listen: %s
      format: ceilometer
      replicas: %d
%s`, nats, strings.Count(nats, "nats://"), addr, n, settings)
		if err := os.WriteFile(d.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// postEvents posts events as Ceilometer's agent does, and returns how that is answered.
func postEvents(ctx context.Context, client *http.Client, most time.Duration, url string, ids []string) (status int, err error) {
	var all []map[string]any
	for _, id := range ids {
		all = append(all, map[string]any{
			"message_id": id, "event_type": "compute.instance.update", "generated": time.Now().UTC().Format("2006-01-02T15:04:05.000000"),
			"traits": []any{[]any{"service", 1, "compute.h1"}, []any{"instance_id", 1, id}}, "raw": map[string]any{},
		})
	}
	body, err := json.Marshal(all)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer let me in")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// poster posts events until it is told that they are stored, to whichever replica, as a sender behind a load balancer does.
type poster struct {
	doors  []door
	client *http.Client

	mu   sync.Mutex
	told map[string]bool
}

func (p *poster) post(ctx context.Context, url string, ids []string) bool {
	if status, err := postEvents(ctx, p.client, 3*time.Second, url, ids); err != nil || status != http.StatusOK {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		p.told[id] = true
	}
	return true
}

// heardOf is how many events were answered with success.
func (p *poster) heardOf() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.told)
}

// until posts until it works, now and then to two replicas at once.
func (p *poster) until(ctx context.Context, ids []string) {
	for ctx.Err() == nil {
		var tries sync.WaitGroup
		ok := make(chan bool, 2)
		for range 1 + rand.IntN(2) {
			tries.Go(func() { ok <- p.post(ctx, p.doors[rand.IntN(len(p.doors))].url, ids) })
		}
		tries.Wait()
		close(ok)
		for stored := range ok {
			if stored {
				return
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Three replicas take events, and are killed one after the other: what was answered with success is there, once, whatever was
// posted again, and to whom.
func TestWebhookSurvivesKilling(t *testing.T) {
	t.Parallel()
	var replicas []door
	config := func(nats string) string {
		replicas = doors(t, 3, nats, knownByToken)
		return replicas[0].file
	}
	var cluster *servers
	var url string
	if *postedServers {
		cluster, _ = startServers(t, config)
		url = strings.Join(cluster.urls, ",")
	} else {
		url = startServer(t, config).url
	}
	nc := connect(t, url)
	running := make([]*process, len(replicas))
	for i, d := range replicas {
		running[i] = start(t, "collector", "-c", d.file)
	}
	normalizer := start(t, "normalizer", "-c", replicas[0].file)
	o := observe(t, nc, "webhook", "webhook-2", "webhook-3")

	const senders = 6
	p := &poster{doors: replicas, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}, told: map[string]bool{}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute+time.Duration(*posted)*time.Second)
	defer cancel()
	want := map[string]bool{}
	var sending sync.WaitGroup
	for i := range senders {
		var all [][]string
		for n := range *posted {
			var ids []string
			for k := range 1 + (i+n)%5 {
				id := fmt.Sprintf("e-%d-%d-%d", i, n, k)
				ids, want[id] = append(ids, id), true
			}
			all = append(all, ids)
		}
		sending.Go(func() {
			for _, ids := range all {
				p.until(ctx, ids)
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); sending.Wait() }()
	kills, told, began := 0, 0, time.Now()
	for i := 0; ; i = (i + 1) % len(running) {
		select {
		case <-done:
		case <-time.After(1500 * time.Millisecond):
			now := p.heardOf()
			if now == told {
				continue // they are to get up in between: without a server that takes longer
			}
			told = now
			running[i].kill()
			running[i] = start(t, "collector", "-c", replicas[i].file)
			if kills++; cluster != nil && kills%4 == 0 {
				server := kills / 4 % len(cluster.running)
				cluster.running[server].kill()
				cluster.start(server)
			}
			continue
		}
		break
	}
	t.Logf("%d events in %s, through %d kills", len(want), time.Since(began).Round(time.Second), kills)
	if ctx.Err() != nil {
		t.Fatalf("%d of %d events were taken", len(p.told), len(want))
	}
	o.awaitNormalized(t, time.Minute, len(want), append(running, normalizer)...)
	expect(t, "raw", checkOnce(want, dump(t, nc, event.StreamRaw, "events.raw.prod.>")))
	expect(t, "normalized", checkOnce(want, dump(t, nc, event.StreamNormalized, event.NormalizedSubject("prod"))))
	if len(p.told) != len(want) {
		t.Errorf("%d of %d events were answered with success", len(p.told), len(want))
	}
}
