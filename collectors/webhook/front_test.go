package webhook

import (
	"context"
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
