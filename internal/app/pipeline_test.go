package app

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/internal/app/metrics"
	"stackstream/jetstream"
)

// Whoever may look at the mark of a restore is told of it, whatever else he may not look at.
func TestARestoreIsSeenWithNarrowRights(t *testing.T) {
	layout := jetstream.DefaultLayout(1).Within(1 << 30)
	url := serverWithUsers(t, map[string][]string{
		"looks": {"$JS.API.STREAM.INFO.EVENTS_RAW", "$JS.API.STREAM.INFO.KV_OWNERS"},
		"blind": {"$JS.API.STREAM.INFO.EVENTS_RAW"},
	})
	connect := func(user string) *jetstream.Client {
		c, err := jetstream.Connect(t.Context(), jetstream.Config{URLs: []string{url}, User: user, Password: "pw"}, zerolog.Nop(), jetstream.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		return c
	}
	boss := connect("admin")
	if _, err := boss.Provision(t.Context(), layout, jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	begin := func(user string, provision bool) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p := Pipeline{Provision: provision, Log: zerolog.Nop()}
		return p.streams(ctx, connect(user), layout, metrics.New(admin.NewBoard(), "v1"))
	}
	if err := begin("looks", false); err != nil {
		t.Errorf("without a restore: %v", err)
	}
	markARestore(t, boss.Conn())
	for _, provision := range []bool{false, true} {
		err := begin("looks", provision)
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "a restore of /backups/last that began at ") {
			t.Errorf("with provision %t: %v", provision, err)
		}
	}
	if err := begin("blind", false); err != nil {
		t.Errorf("who may not look: %v", err)
	}
}

func markARestore(t *testing.T, nc *nats.Conn) {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	owners, err := js.Stream(t.Context(), "KV_"+jetstream.BucketOwners)
	if err != nil {
		t.Fatal(err)
	}
	config := owners.CachedInfo().Config
	if config.Metadata == nil {
		config.Metadata = map[string]string{}
	}
	config.Metadata["stackstream.restore"] = `{"dir":"/backups/last","began":"2026-01-01T00:00:00Z","streams":["EVENTS_RAW"]}`
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

// serverWithUsers starts a server whose users may publish on the given subjects only; "admin" may do everything.
func serverWithUsers(t *testing.T, rights map[string][]string) (url string) {
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
