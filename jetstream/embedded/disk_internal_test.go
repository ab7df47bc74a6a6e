package embedded

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
)

func TestWhenADiskIsFull(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, tt := range []struct {
		name          string
		disk          disk
		full, hasRoom bool
	}{
		{"empty", disk{size: 100 * gib, free: 100 * gib}, false, true},
		{"a little is left", disk{size: 100 * gib, free: 100 * mib}, false, false},
		{"full", disk{size: 100 * gib, free: 31 * mib}, true, false},
		{"room again", disk{size: 100 * gib, free: gib}, false, true},
		{"a small one", disk{size: 128 * mib, free: 3 * mib}, false, false},
		{"a small one that is full", disk{size: 128 * mib, free: mib}, true, false},
		{"a small one with room", disk{size: 128 * mib, free: 32 * mib}, false, true},
		{"a very large one", disk{size: 10_000 * gib, free: gib}, false, true},
		{"no more files", disk{size: 100 * gib, free: 50 * gib, noFiles: true}, true, false},
	} {
		if got := tt.disk.full(); got != tt.full {
			t.Errorf("%s: full is %v", tt.name, got)
		}
		if got := tt.disk.hasRoom(); got != tt.hasRoom {
			t.Errorf("%s: hasRoom is %v", tt.name, got)
		}
	}
}

func TestEmbeddedIsNotOpenedWithoutRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	d, err := diskOf("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := roomToStart(dir, jetstream.EmbeddedConfig{}); err != nil {
		t.Errorf("a directory that is to be made: %v", err)
	}
	dir = t.TempDir()
	var full *jetstream.DiskFull
	if err := roomToStart(dir, jetstream.EmbeddedConfig{Least: d.free}); !errors.As(err, &full) || full.Dir != dir || full.Need != d.free {
		t.Errorf("asked for all that is free it says %v", err)
	}
	if err := roomToStart(dir, jetstream.EmbeddedConfig{Least: 2 * d.size}); err != nil {
		t.Errorf("a disk that will never do is taken for a full one: %v", err)
	}
}

func TestServerLogKnowsWhatStopsWriting(t *testing.T) {
	l := &serverLog{log: zerolog.Nop()}
	l.Noticef("a stream called %q", "JetStream failed to store a msg")
	l.Warnf("slow consumer")
	if got := l.writeFault(); got != "" {
		t.Errorf("taken for a fault: %s", got)
	}
	l.Errorf("Filestore [%s] Critical write error: %v", "EVENTS_RAW", "no space left on device")
	l.Errorf("JetStream out of resources, will be DISABLED")
	if got, want := l.writeFault(), "Filestore [EVENTS_RAW] Critical write error: no space left on device"; got != want {
		t.Errorf("the fault is %q, want %q", got, want)
	}
}

// told is what a keeper reports.
type told struct {
	states    []string
	restarted int
}

func (o *told) hooks() jetstream.DiskHooks {
	return jetstream.DiskHooks{
		State: func(state event.State, reason string) {
			said := strings.TrimSpace(string(state) + " " + reason)
			if len(o.states) == 0 || o.states[len(o.states)-1] != said {
				o.states = append(o.states, said)
			}
		},
		Restarted: func(error) { o.restarted++ },
	}
}

// A server that disabled its JetStream, or that says that it could not write, is restarted; one that does so again is
// given time.
func TestKeeperRestartsAServerThatDoesNotWrite(t *testing.T) {
	e, err := Open(jetstream.EmbeddedConfig{Dir: t.TempDir()}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	var seen told
	k := newKeeper(e, seen.hooks())
	k.look()
	if err := e.server.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	k.look()
	if !e.server.JetStreamEnabled() || seen.restarted != 1 {
		t.Fatalf("restarted %d times, enabled %v", seen.restarted, e.server.JetStreamEnabled())
	}
	e.lines.Errorf("Critical write error: no space left on device")
	k.look()
	k.look()
	if seen.restarted != 1 {
		t.Error("the second restart follows the first at once")
	}
	k.earlier = k.since
	k.look()
	want := []string{"live", "backoff the embedded NATS server could not write and will be restarted: " +
		"Critical write error: no space left on device", "live"}
	if seen.restarted != 2 || strings.Join(seen.states, "; ") != strings.Join(want, "; ") {
		t.Errorf("restarted %d times, said %q, want %q", seen.restarted, seen.states, want)
	}
}
