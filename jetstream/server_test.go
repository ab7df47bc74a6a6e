package jetstream_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// testContext ends in time for the test to say where it hung.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// until polls until done returns true.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	jetstreamtest.Eventually(t, what, done)
}

// logBuffer collects log lines; it is safe for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func jetStream(t *testing.T, c *jetstream.Client) natsjs.JetStream {
	t.Helper()
	js, err := natsjs.New(c.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return js
}
