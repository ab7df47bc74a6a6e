package jetstream

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// connectToServer starts a server and connects to it. Tests of this package can't have package embedded, which imports it.
func connectToServer(t *testing.T) *Client {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: EmbeddedName, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		JetStreamMaxStore: 2 << 30, JetStreamMaxMemory: 64 << 20, MaxPayload: MaxPayload,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	c, err := Connect(t.Context(), Config{URLs: []string{s.ClientURL()}}, zerolog.Nop(), Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
