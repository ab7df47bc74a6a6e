package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"stackstream/internal/openstack/standin"
)

// cloud is an OpenStack on loopback that misbehaves within what real ones do.
type cloud struct {
	*standin.Service
	url string

	mu     sync.Mutex
	handed map[string]time.Time // when each event put so far began to show, by id
}

// newCloud starts a cloud whose tokens last three seconds and whose event service answers one request in twelve with a
// 500 and ends pages early.
func newCloud(t *testing.T, seed uint64) *cloud {
	t.Helper()
	s := standin.New(standin.Options{Seed: seed, TokenLife: 3 * time.Second})
	s.SetFaults(standin.Faults{ErrorRate: 1.0 / 12, ShortPages: true})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return &cloud{Service: s, url: server.URL, handed: map[string]time.Time{}}
}

// emit puts n events over about the given time: several share a timestamp, so that page borders fall between equals,
// and one in twenty shows only seconds after its time, when newer ones have long been read.
func (c *cloud) emit(ctx context.Context, n int, over time.Duration, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	const steps = 100
	tick := time.NewTicker(over / steps)
	defer tick.Stop()
	for step := range steps {
		at := time.Now()
		for i := range n/steps + btoi(step < n%steps) {
			if i%7 == 0 {
				at = time.Now()
			}
			e := c.Generate(at)
			if random.IntN(20) == 0 {
				e.Visible = time.Now().Add(time.Duration(random.Int64N(int64(4 * time.Second))))
			}
			c.put(e)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// put shows an event and keeps from when on.
func (c *cloud) put(e standin.Event) {
	c.Put(e)
	shows := time.Now()
	if e.Visible.After(shows) {
		shows = e.Visible
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handed[e.ID] = shows
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ids are those of all events put so far.
func (c *cloud) ids() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]bool, len(c.handed))
	for id := range c.handed {
		out[id] = true
	}
	return out
}

// checkWatermarks finds fault if a watermark that RAW or NORMALIZED carries says more than is true: whatever showed up to
// that time must be there by then. Not every run of the source leaves one: it may have nothing to say when its events are
// already committed.
func (c *cloud) checkWatermarks(got []entry) error {
	place := make(map[string]int, len(got))
	for i, e := range got {
		place[e.id] = i
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var problems []error
	for i, e := range got {
		if e.watermark.IsZero() {
			continue
		}
		for id, shows := range c.handed {
			if at, there := place[id]; shows.Before(e.watermark) && (!there || at > i) {
				problems = append(problems, fmt.Errorf("%s showed at %v, comes after the watermark %v of %s", id, shows, e.watermark, e.id))
			}
		}
	}
	return summary(problems)
}

// configFile writes a configuration for one provider that watches the cloud. nats is the content of the nats section.
func (c *cloud) configFile(t *testing.T, nats string) string {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(standin.Admin().Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "stackstream.yaml")
	text := fmt.Sprintf(`nats:
%s
admin:
  listen: 127.0.0.1:0
providers:
  prod:
    events: auto
    panko:
      auth:
        url: %s/v3
        user: admin
        domain: Default
        password_file: %s
        project: admin
      every: 300ms
      jitter: 0s
      overlap: 10s
      limit: 100
`, nats, c.url, secret)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
