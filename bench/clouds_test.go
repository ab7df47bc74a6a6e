//go:build bench

package bench

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stackstream/internal/openstack/standin"
)

// pollEvery is how often providers are asked that are many.
const pollEvery = 30 * time.Second

// clouds are event services that are polled, each with a Keystone and a Panko of its own, at one address below its name.
type clouds struct {
	addr   string
	secret string
	every  time.Duration

	mu      sync.Mutex
	service map[string]*standin.Service
	begun   map[string]time.Time // when a service was first asked for events, since forget
	offers  bool                 // each service shows one event more per run
	offered map[string]time.Time // when a service last did
	shown   map[string]time.Time // by the event's identity, until it has arrived
}

func (w *world) startClouds(t *testing.T, n int, every time.Duration) *clouds {
	t.Helper()
	c := &clouds{
		secret: w.file(t, "password", standin.Admin().Password+"\n"), every: every, service: map[string]*standin.Service{},
		begun: map[string]time.Time{}, offered: map[string]time.Time{}, shown: map[string]time.Time{},
	}
	for i := range n {
		c.service[quiet(i)] = standin.New(standin.Options{Seed: uint64(i + 1)})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	server := &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	return c
}

func quiet(i int) string { return fmt.Sprintf("quiet-%04d", i) }

func (c *clouds) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	service := c.service[name]
	if service == nil {
		http.NotFound(rw, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/v2/events") {
		c.ask(name, service, time.Now())
	}
	http.StripPrefix("/"+name, service).ServeHTTP(rw, r)
}

// ask notes that a service is asked for events, and puts one there first if it has shown none in this run.
func (c *clouds) ask(name string, service *standin.Service, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun[name].IsZero() {
		c.begun[name] = now
	}
	if !c.offers || now.Sub(c.offered[name]) < c.every/2 {
		return
	}
	c.offered[name] = now
	e := service.Generate(now.Add(-time.Second))
	service.Put(e)
	c.shown[e.ID] = now
}

// polled is how many services were asked since forget, and when the first and the last of them were asked first.
func (c *clouds) polled() (n int, first, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.begun {
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	return len(c.begun), first, last
}

func (c *clouds) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.begun)
}

// offer has services show events from now on, or no more.
func (c *clouds) offer(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offers = on
}

// waitedFor is how many events were shown and have not arrived.
func (c *clouds) waitedFor() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.shown)
}

// since is how long ago an event was shown that is one of ours.
func (c *clouds) since(id string, now time.Time) (took time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := c.shown[id]
	delete(c.shown, id)
	return now.Sub(at), known
}

// providers is what the configuration has of them.
func (c *clouds) providers() string {
	var b strings.Builder
	for i := range len(c.service) {
		name := quiet(i)
		fmt.Fprintf(&b, `  %[1]s:
    events: panko
    panko:
      auth: {url: "http://%[2]s/%[1]s/v3", user: admin, domain: Default, password_file: %[3]s, project: admin}
      endpoint: http://%[2]s/%[1]s
      every: %[4]s
`, name, c.addr, c.secret, c.every)
	}
	return b.String()
}
