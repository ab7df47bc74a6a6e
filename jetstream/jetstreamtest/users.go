package jetstreamtest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"stackstream/jetstream"
)

// Users starts a server without streams whose users, with the password "pw", may publish on the given subjects only; "admin" may do
// everything. It is stopped with the test.
func Users(t testing.TB, rights map[string][]string) (url string) {
	t.Helper()
	users := []*server.User{{Username: "admin", Password: "pw"}}
	for name, allowed := range rights {
		users = append(users, &server.User{Username: name, Password: "pw", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: allowed},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}})
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		JetStreamMaxStore: 4 << 30, JetStreamMaxMemory: 64 << 20, MaxPayload: jetstream.MaxPayload, Users: users,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s.ClientURL()
}
