package webhook

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
	"stackstream/jetstream/jetstreamtest"
)

// A source whose address another program has says so each time it tries, and does not count as live in between.
func TestNotLiveBeforeItListens(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	cfg := config(formatCeilometer, func(c *Config) { c.Listen = other.Addr().String() })
	front := newFront(cfg, options(nil))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { front.serve(ctx) })
	log := collectorstest.NewLog()
	states := make(chan event.State, 100)
	loop := &collectors.Loop{
		Provider: cloud, Name: Kind, Source: &Source{cfg: cfg, front: front, beat: time.Millisecond}, Spec: cfg.Spec(),
		Writer: log.NewWriter(cloud, Kind, event.Fence{}), Memory: log, Log: zerolog.Nop(),
		Report: func(s event.State, _ string) { states <- s },
	}
	for range 3 {
		if err := loop.Run(ctx); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("it ends with %v", err)
		}
	}
	if len(states) > 0 {
		t.Errorf("it says %v", <-states)
	}
	_ = other.Close()
	running.Go(func() {
		for ctx.Err() == nil {
			_ = loop.Run(ctx)
		}
	})
	if got := <-states; got != event.StateLive {
		t.Errorf("when the address is free it says %v", got)
	}
}

// The address may be taken by the pipeline that runs already, and by nothing else: not by another source of ours either.
func TestAvailableBesideOthers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		path, server string
		status       int
		free         bool
	}{
		"our pipeline": {"/events", serverName, http.StatusServiceUnavailable, true},
		"another path": {"/elsewhere", serverName, http.StatusNotFound, false},
		"another one":  {"/events", "nginx", http.StatusOK, false},
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server", test.server)
			w.WriteHeader(test.status)
		}))
		cfg := config(formatCeilometer, func(c *Config) { c.Listen, c.Path = other.Listener.Addr().String(), test.path })
		err := (&Source{cfg: cfg, front: newFront(cfg, options(nil))}).Available(t.Context())
		if other.Close(); (err == nil) != test.free {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// health asks as a load balancer does.
func (r *rig) health(t *testing.T) (status int, text string) {
	t.Helper()
	resp, err := http.Get(r.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// What is said of memory is true while nothing is stored, and when what took it is gone.
func TestPendingIsToldAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, nil)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address(t, r))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n["); err != nil {
		t.Fatal(err)
	}
	jetstreamtest.Eventually(t, "memory to be told of", func() bool { _, bytes := r.told(); return bytes == readStep })
	_ = conn.Close()
	jetstreamtest.Eventually(t, "it to be given back", func() bool { _, bytes := r.told(); return bytes == 0 })
	end := r.stall(t)
	send(t, r, "a")
	jetstreamtest.Eventually(t, "a request to be told of", func() bool { requests, bytes := r.told(); return requests == 1 && bytes > 0 })
	end(true)
	jetstreamtest.Eventually(t, "it to be stored", func() bool { requests, bytes := r.told(); return requests == 0 && bytes == 0 })
}

// What would have to be remembered beyond the limit is refused, and taken when the window has let go of what came before it.
func TestRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t, formatCeilometer, func(c *Config) { c.Limits.Remembered = 3 })
	honest(t, r, "before-", 3)
	body := ceilometerBody("next")
	for range 2 {
		got := r.post(t, body)
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" || !strings.Contains(got.Error, "limits.remembered") {
			t.Errorf("it is answered with %v", got)
		}
	}
	const why = "3 events are known again by their ids, and no more may be (limits.remembered)"
	if status, text := r.health(t); status != http.StatusServiceUnavailable || !strings.Contains(text, why) || r.reported() != "takes nothing: "+why {
		t.Errorf("who asks is answered with %d %s, and reported is %q", status, text, r.reported())
	}
	if n := r.reasons(reasonFull); n != 2 || r.front.remembered() != 3 {
		t.Errorf("%d are counted, and %d remembered", n, r.front.remembered())
	}
	r.stop()
	if n := r.front.remembered(); n != 0 {
		t.Errorf("a source that has ended remembers %d", n)
	}
	r.start(t)
	if got := r.post(t, body); got.status != http.StatusServiceUnavailable {
		t.Errorf("behind a restart it is answered with %v", got)
	}
	r.stop()
	r.cfg.Window = time.Millisecond
	r.start(t)
	jetstreamtest.Eventually(t, "it to be taken", func() bool { return r.post(t, body).status == http.StatusOK })
	if status, text := r.health(t); status != http.StatusOK || r.reported() != "" {
		t.Errorf("then who asks is answered with %d %s, and reported is %q", status, text, r.reported())
	}
	if n := len(r.log.IDs(cloud)); n != 4 {
		t.Errorf("%d events are stored", n)
	}
}

// A rate that fills what may be remembered before the window is over is doubted.
func TestDoubtedRate(t *testing.T) {
	for rate, doubted := range map[int]bool{0: false, 10: false, 11: true} {
		c := config(formatJSON, func(c *Config) {
			c.Window, c.Limits.Rate, c.Limits.Remembered = time.Hour, rate, 36_000
		})
		found := slices.ContainsFunc(c.Doubts(), func(p Problem) bool { return p.Field == "limits.remembered" })
		if found != doubted {
			t.Errorf("%d requests a second: %v", rate, c.Doubts())
		}
	}
}
