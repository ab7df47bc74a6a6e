package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A stream that is full stops what writes to it, and readiness and log say which it is; nothing is lost, and everything
// goes on when an operator makes it larger, without a restart.
func TestFullStreamsWaitAndSaySo(t *testing.T) {
	t.Parallel()
	// A batch has 500 events at most, so that EVENTS_RAW takes several hundred before one finds no room, and these are too
	// many for EVENTS_NORMALIZED.
	const events = 3000
	sky := newCloud(t, seed+3)
	sky.emit(t.Context(), events, time.Millisecond, seed+3)
	addr := freeAddr(t)
	small := sky.configFile(t, "  embedded: {dir: "+filepath.Join(t.TempDir(), "store")+"}\n"+
		"streams: {raw: {max_bytes: 1200KiB}, normalized: {max_bytes: 100KiB}}")
	running := start(t, "stackstream", "up", "-c", small, "--nats-listen", addr)
	nc := connect(t, "nats://"+addr)
	plain := plainSubscriber(t, nc)
	durable := durableSubscriber(t, nc)

	var said string
	eventually(t, time.Minute, "both to say that they wait", func() bool {
		said = running.ask("/readyz")
		return strings.Contains(said, "collector prod (panko): backoff: writing waits: append to EVENTS_RAW: full") &&
			strings.Contains(said, "normalizer prod: backoff: writing waits: append to EVENTS_NORMALIZED: full")
	}, func() string { return said })
	if got := running.ask("/healthz"); got != "200 ok\n" {
		t.Errorf("waiting is taken for being stuck: %s", got)
	}
	if n := strings.Count(running.log.String(), `"message":"writing waits"`); n != 2 {
		t.Errorf("the log says %d times that writing waits, want once for each stream", n)
	}

	large := sky.configFile(t, "  url: nats://"+addr+"\n"+
		"streams: {replicas: 1, raw: {max_bytes: 64MiB}, normalized: {max_bytes: 64MiB}}")
	if code := start(t, "stackstream", "provision", "-c", large, "--apply").wait(); code != 0 {
		t.Fatalf("provision --apply exits with %d", code)
	}
	want := sky.ids()
	waitForAll(t, 2*time.Minute, nc, durable, len(want), running)
	expectReady(t, running)
	verify(t, sky, want, nc, plain, durable)
	if code := running.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
}
