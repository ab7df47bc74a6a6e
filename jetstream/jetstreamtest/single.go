package jetstreamtest

import (
	"testing"

	"github.com/rs/zerolog"

	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
)

// Single is one embedded server, which syncs every write.
type Single struct {
	embedded *embedded.Server
}

// Server starts a server with the streams.
func Server(t testing.TB, opts ...Option) *Single {
	t.Helper()
	s := apply(1, opts)
	e, err := embedded.Open(jetstream.EmbeddedConfig{
		Dir: tempDir(t), Listen: "127.0.0.1:0", MaxFile: 8 << 30, MaxPayload: s.maxPayload,
	}, zerolog.Nop())
	if err != nil {
		t.Fatalf("start the test server: %v", err)
	}
	server := &Single{embedded: e}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("stop the test server: %v", err)
		}
	})
	provision(t, s, jetstream.Config{Embedded: e})
	return server
}

// URL is where clients reach the server; it stays the same over restarts. It is "" while the server is shut down.
func (s *Single) URL() string { return s.embedded.ClientURL() }

// Embedded is the server itself, for those who connect in process.
func (s *Single) Embedded() *embedded.Server { return s.embedded }

// Client connects to the server over TCP. The client is closed when the test ends.
func (s *Single) Client(t testing.TB) *jetstream.Client {
	t.Helper()
	return connect(t, jetstream.Config{URLs: []string{s.URL()}})
}

// Restart stops the server and starts it again on the same data and address.
func (s *Single) Restart(t testing.TB) {
	t.Helper()
	if err := s.embedded.Restart(); err != nil {
		t.Fatalf("restart the test server: %v", err)
	}
}

// Shutdown stops the server until Restart.
func (s *Single) Shutdown() { s.embedded.Stop() }
