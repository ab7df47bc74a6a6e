// Package jetstreamtest runs real NATS servers for tests: one embedded server, or a cluster of three in this process.
// Both have the project's streams unless told otherwise. They listen on free loopback ports, keep their data in a
// temporary directory, and are gone when the test is.
package jetstreamtest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/jetstream"
)

// timeout is how long anything here may take before the test fails.
const timeout = 60 * time.Second

// Option changes what a server or a cluster is like.
type Option func(*settings)

type settings struct {
	layout     jetstream.Layout
	bare       bool
	maxPayload int64
}

func apply(replicas int, opts []Option) settings {
	s := settings{layout: jetstream.DefaultLayout(replicas).Within(1 << 30), maxPayload: jetstream.MaxPayload}
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// Layout lets change set the streams' limits, to see what happens when one is full, for instance.
func Layout(change func(*jetstream.Layout)) Option {
	return func(s *settings) { change(&s.layout) }
}

// MaxPayload sets what the server takes in one message, headers included.
func MaxPayload(bytes int64) Option {
	return func(s *settings) { s.maxPayload = bytes }
}

// Bare leaves out the streams.
func Bare() Option {
	return func(s *settings) { s.bare = true }
}

// connect returns a client that is closed with the test.
func connect(t testing.TB, cfg jetstream.Config) *jetstream.Client {
	t.Helper()
	cfg.Name = t.Name()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := jetstream.Connect(ctx, cfg, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatalf("connect to the test server: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx) // the server may be down by then, which is no failure of the test
	})
	return c
}

// provision creates the streams.
func provision(t testing.TB, s settings, cfg jetstream.Config) {
	t.Helper()
	if s.bare {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := jetstream.Connect(ctx, cfg, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatalf("connect to the test server: %v", err)
	}
	if _, err := c.Provision(ctx, s.layout, jetstream.CreateMissing); err != nil {
		t.Fatalf("provision the test server: %v", err)
	}
	if err := c.Close(ctx); err != nil {
		t.Fatalf("disconnect from the test server: %v", err)
	}
}

// tempDir is t.TempDir for directories of servers: a server that has shut down may still write a last file, so removing
// is tried until it works.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "jetstreamtest")
	if err != nil {
		t.Fatalf("make a directory for the test server: %v", err)
	}
	t.Cleanup(func() {
		Eventually(t, "to remove the test server's directory", func() bool { return os.RemoveAll(dir) == nil })
	})
	return dir
}

// Eventually polls until done returns true, and fails the test when that takes too long; what says what is waited for,
// "for …" or "to …".
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s: %s", timeout, what)
		}
	}
}
