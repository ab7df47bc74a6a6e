package jetstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// rightsOfCollector is all that a collector of one provider needs to publish on.
var rightsOfCollector = []string{
	"ingest.raw.prod.>", "ingest.cursor.raw.prod", "ingest.cursor.raw.prod.>",
	"$JS.API.STREAM.INFO.EVENTS_RAW",
	"$JS.API.DIRECT.GET.EVENTS_RAW.events.cursor.raw.prod", "$JS.API.DIRECT.GET.EVENTS_RAW.events.cursor.raw.prod.>",
	"$JS.API.CONSUMER.CREATE.EVENTS_RAW.*.events.raw.prod.>",
	"$JS.API.CONSUMER.INFO.EVENTS_RAW.*", "$JS.API.CONSUMER.MSG.NEXT.EVENTS_RAW.*",
	"$JS.API.STREAM.INFO.KV_LEASES", "$JS.API.STREAM.INFO.KV_OWNERS", "$KV.LEASES.collector.>", "$KV.OWNERS.collector.>",
	"$JS.API.DIRECT.GET.KV_LEASES.$KV.LEASES.collector.>", "$JS.API.DIRECT.GET.KV_OWNERS.$KV.OWNERS.collector.>",
	"$JS.API.CONSUMER.CREATE.KV_LEASES.*.$KV.LEASES.collector.>", "$JS.API.CONSUMER.CREATE.KV_OWNERS.*.$KV.OWNERS.collector.>",
	"$JS.API.CONSUMER.DELETE.KV_LEASES.*", "$JS.API.CONSUMER.DELETE.KV_OWNERS.*",
	"$JS.FC.KV_LEASES.>", "$JS.FC.KV_OWNERS.>",
}

// rightsOfNormalizer is all that a normalizer of all providers needs to publish on.
var rightsOfNormalizer = []string{
	"ingest.normalized.*", "ingest.dead.*", "ingest.deadstate.*", "ingest.cursor.normalized.>",
	"$JS.API.STREAM.INFO.EVENTS_RAW", "$JS.API.STREAM.INFO.EVENTS_NORMALIZED",
	"$JS.API.DIRECT.GET.EVENTS_RAW.events.cursor.raw.>", "$JS.API.DIRECT.GET.EVENTS_NORMALIZED.events.cursor.normalized.>",
	"$JS.API.CONSUMER.CREATE.EVENTS_RAW.*.events.raw.>", "$JS.API.CONSUMER.DELETE.EVENTS_RAW.*",
	"$JS.API.CONSUMER.MSG.NEXT.EVENTS_RAW.*", "$JS.API.CONSUMER.RESET.EVENTS_RAW.*", "$JS.ACK.EVENTS_RAW.>",
}

// serverWithUsers starts a server with the streams and these users, and returns what connects as one of them.
func serverWithUsers(t *testing.T, rights map[string][]string) func(user string) *jetstream.Client {
	t.Helper()
	url := jetstreamtest.Users(t, rights)
	connect := func(user string) *jetstream.Client {
		t.Helper()
		c, err := jetstream.Connect(testContext(t), jetstream.Config{
			URLs: []string{url}, User: user, Password: "pw",
		}, zerolog.Nop(), jetstream.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := c.Close(ctx); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return c
	}
	if _, err := connect("admin").Provision(testContext(t), jetstream.DefaultLayout(1).Within(1<<30), jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	return connect
}

func TestRightsThatSuffice(t *testing.T) {
	connect := serverWithUsers(t, map[string][]string{"collector": rightsOfCollector, "normalizer": rightsOfNormalizer})
	ctx := testContext(t)
	collector, normalizer := connect("collector"), connect("normalizer")

	choice, err := collector.Choices().WriteChoice(ctx, prov, event.Choice{Kind: "panko"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := collector.Choices().ReadChoice(ctx, prov); err != nil || got != choice {
		t.Fatalf("the choice is %+v (%v), want %+v", got, err, choice)
	}
	b := rawBatch("panko", 1, 3, 0)
	b.Fence = event.Fence{Subject: event.ChoiceSubject(prov), Sequence: choice.Sequence}
	cursor := mustAppend(t, collector.Raw(), b)
	if m, ok, err := collector.Raw().ReadCursor(ctx, b.Cursor.Subject, cursor); err != nil || !ok || m.Sequence != cursor {
		t.Fatalf("the cursor is %+v (%v, %v)", m, ok, err)
	}
	seen := 0
	if err := collector.Memory().Identities(ctx, prov, 0, 0, func(event.Seen) { seen++ }); err != nil || seen != 3 {
		t.Fatalf("%d identities (%v), want 3", seen, err)
	}
	holdOnce(t, collector, event.RoleCollector, "prod")

	reader, err := normalizer.Feed().Open(ctx, prov, event.NormalizedCursor{})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	got, err := reader.Next(ctx, 100, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Ack(ctx, got[len(got)-1].Sequence); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, normalizer.Normalized(), event.Batch{Cursor: event.Message{
		Subject: event.NormalizedCursorSubject(prov), Body: []byte("{}"),
	}})
	if _, err := normalizer.Watermarks(ctx, ""); err != nil {
		t.Fatal(err)
	}
}

// holdOnce takes and releases a lease.
func holdOnce(t *testing.T, c *jetstream.Client, role event.Role, key string) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	leases := jetstream.NewLeases(c, role, "one")
	done := make(chan error, 1)
	go func() { done <- leases.Run(ctx) }()
	enough := errors.New("enough")
	err := leases.Hold(ctx, key, func(bool, string) {}, func(context.Context) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("holding the lease gave %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A refused right is an error at once, long before an answer would be given up, and names what to allow.
func TestAppendWithoutTheRight(t *testing.T) {
	connect := serverWithUsers(t, map[string][]string{
		"other":     {"ingest.raw.other.>", "ingest.cursor.raw.other.>", "$JS.API.STREAM.INFO.EVENTS_RAW"},
		"no-cursor": {"ingest.raw.prod.>", "$JS.API.STREAM.INFO.EVENTS_RAW", "$JS.API.DIRECT.GET.EVENTS_RAW.events.cursor.raw.prod.>"},
		"nothing":   {"_INBOX.>"},
	})
	admin := connect("admin")
	cursor := mustAppend(t, admin.Raw(), rawBatch("panko", 1, 1, 0))
	for user, text := range map[string]string{
		"other":     "ingest.raw.prod.panko",
		"no-cursor": "ingest.cursor.raw.prod.panko",
		"nothing":   "$JS.API.STREAM.INFO.EVENTS_RAW",
	} {
		t.Run(user, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(testContext(t), 8*time.Second) // less than an answer is waited for
			defer cancel()
			_, err := connect(user).Raw().Append(ctx, rawBatch("panko", 2, 3, cursor))
			wantKind(t, err, event.Invalid, text)
		})
	}
	_, _, err := connect("other").Raw().ReadCursor(testContext(t), event.RawCursorSubject(prov, "panko"), 0)
	wantKind(t, err, event.Invalid, "events.cursor.raw.prod.panko")
	if last := lastSequence(t, admin, event.StreamRaw); last != uint64(cursor) {
		t.Fatalf("something was stored: the stream is at %d, want %d", last, cursor)
	}
}
