package app

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/internal/app/metrics"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// Whoever may look at the mark of a restore is told of it, whatever else he may not look at.
func TestARestoreIsSeenWithNarrowRights(t *testing.T) {
	layout := jetstream.DefaultLayout(1).Within(1 << 30)
	url := jetstreamtest.Users(t, map[string][]string{
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
