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
	handed map[string]bool // ids of all events put so far
}

// newCloud starts a cloud whose tokens last three seconds and whose event service answers one request in twelve with a
// 500 and ends pages early.
func newCloud(t *testing.T, seed uint64) *cloud {
	t.Helper()
	s := standin.New(standin.Options{Seed: seed, TokenLife: 3 * time.Second})
	s.SetFaults(standin.Faults{ErrorRate: 1.0 / 12, ShortPages: true})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return &cloud{Service: s, url: server.URL, handed: map[string]bool{}}
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
			c.mu.Lock()
			c.handed[e.ID] = true
			c.mu.Unlock()
			c.Put(e)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
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
      limit: 50
`, nats, c.url, secret)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
