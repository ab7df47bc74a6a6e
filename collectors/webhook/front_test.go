package webhook

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/collectorstest"
	"stackstream/event"
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
