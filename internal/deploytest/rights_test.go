package deploytest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/internal/app/letters"
	"stackstream/internal/rabbitmqtest"
	"stackstream/jetstream"
	"stackstream/publisher"
	"stackstream/subscribe"
)

// TestDeployment runs the servers of compose.yaml, provisions them, and proves what each user may do and may not.
func TestDeployment(t *testing.T) {
	c := startCluster(t)
	c.provision(t)
	t.Run("streams have three replicas", func(t *testing.T) { replicas(t, c) })
	t.Run("the pipeline works with its rights", func(t *testing.T) { pipeline(t, c) })
	t.Run("writers with their rights", func(t *testing.T) { writers(t, c) })
	t.Run("backups", func(t *testing.T) { backups(t, c) })
	t.Run("an operator with the rights of one", func(t *testing.T) { operator(t, c) })
	t.Run("an operator with the administrator's", func(t *testing.T) { operates(t, c) })
	t.Run("replays with their rights", func(t *testing.T) { replays(t, c) })
	// All that was done so far is what the programs do.
	if found := c.violations(t); len(found) > 0 {
		t.Errorf("the programs lack rights:\n%s", strings.Join(found, "\n"))
	}
	t.Run("refusals", func(t *testing.T) { refusals(t, c) })
}

func replicas(t *testing.T, c *cluster) {
	js, err := natsjs.New(c.plain(t, "admin", "_INBOX").Conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{event.StreamRaw, event.StreamNormalized, event.StreamDead, "KV_LEASES"} {
		stream, err := js.Stream(within(t), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().Config.Replicas; got != 3 {
			t.Errorf("%s has %d replicas, want 3", name, got)
		}
		if peers := stream.CachedInfo().Cluster; peers == nil || len(peers.Replicas) != 2 {
			t.Errorf("%s is not on three servers: %+v", name, peers)
		}
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// pipeline runs two collectors and two normalizers against the broker, which a service notifies, and reads what they
// write as the subscriber.
func pipeline(t *testing.T, c *cluster) {
	const events = 60
	b := startBroker(t, c.dir)
	nova := b.Publisher(t, "/", rabbitmqtest.Login("openstack", b.password(t, "openstack")))
	if err := nova.Declare(t.Context(), "nova", "notifications.info"); err != nil {
		t.Fatal(err)
	}
	atBroker := func(text string) string {
		const hosts = "hosts: [rabbitmq]\n"
		if !strings.Contains(text, hosts) {
			t.Fatalf("stackstream.yaml has no %q", hosts)
		}
		return strings.Replace(text, hosts, fmt.Sprintf("hosts: [%q]\n", b.Addr()), 1)
	}
	for range 2 {
		run(t, c.command(t, "collector", atBroker, "collector"), "NATS_USER=collector")
		run(t, c.command(t, "normalizer", atBroker, "normalizer"), "NATS_USER=normalizer")
	}
	eventually(t, "until a collector has bound its queue", func() bool {
		return strings.Contains(b.Ctl(t, "list_bindings", "source_name", "destination_name"), "nova\tstackstream.my-cloud.amqp")
	})
	if err := nova.Notify(t.Context(), "nova", make([]rabbitmqtest.Notification, events)...); err != nil {
		t.Fatal(err)
	}
	sent := nova.Confirmed("nova")

	reader := c.plain(t, "subscriber", "_INBOX_subscriber")
	if _, err := reader.SubscribeSync("events.normalized.*"); err != nil {
		t.Fatal(err)
	}
	s, err := subscribe.New(reader.Conn, subscribe.Options{Durable: "subscriber"})
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	next := event.Seq(1)
	err = s.Run(within(t), func(_ context.Context, e subscribe.Event) error {
		if e.Seq != next || e.Provider != "my-cloud" || e.MessageID != sent[next-1] {
			t.Errorf("event %d of %s is %s, want %d of my-cloud, %s", e.Seq, e.Provider, e.MessageID, next, sent[next-1])
		}
		if next++; next > events {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("the subscriber read %d events and ended with %v", next-1, err)
	}
}

// writers does what the programs do seldom: large bodies, and the administrator's look at everything.
func writers(t *testing.T, c *cluster) {
	body := []byte(strings.Repeat("x", 9<<20))
	ref := event.NewBodyRef(body)
	if err := c.client(t, "collector").Bodies().PutBody(within(t), ref, body); err != nil {
		t.Fatalf("the collector stores a large body: %v", err)
	}
	collector := c.client(t, "collector").Memory()
	if err := collector.Identities(within(t), "large", 0, 0, func(event.Seen) {}); err != nil {
		t.Fatalf("the collector reads what is collected: %v", err)
	}
	normalizer := c.client(t, "normalizer").Bodies()
	if got, err := normalizer.GetBody(within(t), ref); err != nil || len(got) != len(body) {
		t.Fatalf("the normalizer reads a large body: %d bytes, %v", len(got), err)
	}
	canonical := event.Event{
		MessageID: "large", EventType: "t", Timestamp: event.NewTimestamp(time.Now()), Provider: "large", Source: "panko",
		Payload: []byte(`"` + strings.Repeat("y", 9<<20) + `"`),
	}
	whole, err := canonical.Encode()
	if err != nil {
		t.Fatal(err)
	}
	ref = event.NewBodyRef(whole)
	if err := normalizer.PutBody(within(t), ref, whole); err != nil {
		t.Fatalf("the normalizer stores a large body: %v", err)
	}
	m := event.Message{Subject: event.NormalizedSubject("large"), Header: event.Header{}}
	m.Header.Set(event.HeaderSeq, "1")
	m.Header.Set("ce-type", "t")
	event.SetBodyRef(&m, ref)
	_, err = c.client(t, "normalizer").Normalized().Append(within(t), event.Batch{
		ID: "b", Messages: []event.Message{m},
		Cursor: event.Message{Subject: event.NormalizedCursorSubject("large"), Header: event.Header{}, Body: []byte(`{"batch":"b"}`)},
	})
	if err != nil {
		t.Fatalf("the normalizer writes an event: %v", err)
	}
	reader := c.plain(t, "subscriber", "_INBOX_subscriber")
	s, err := subscribe.New(reader.Conn, subscribe.Options{Durable: "subscriber"})
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	err = s.Run(within(t), func(_ context.Context, e subscribe.Event) error {
		if e.Provider != "large" {
			return nil
		}
		if len(e.Body) != len(whole) {
			t.Errorf("the large event has %d bytes, want %d", len(e.Body), len(whole))
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatalf("the subscriber reads a large event: %v", err)
	}
}

// operator looks at dead letters, one of which is large, and has them dropped.
func operator(t *testing.T, c *cluster) {
	const p = event.Provider("dead")
	normalizer := c.client(t, "normalizer")
	w := publisher.NewNormalized(normalizer.Normalized(), normalizer.Bodies(), p, publisher.Options{Limits: publisher.Limits{MaxBody: 1 << 20}})
	if _, err := w.Open(within(t)); err != nil {
		t.Fatal(err)
	}
	var outcomes []event.Outcome
	for i, size := range []int{100, 2 << 20} {
		outcomes = append(outcomes, event.Outcome{
			Raw: event.StoredRaw{
				Raw:      event.Raw{ID: event.ID(fmt.Sprint(i)), Body: []byte(strings.Repeat("b", size))},
				Provider: p, Source: "panko", Seq: event.Seq(i + 1), Sequence: event.StreamSeq(i + 1),
			},
			Dead: &event.DeadLetter{Reason: event.ReasonMalformed, Detail: "test"},
		})
	}
	if _, err := w.Commit(within(t), outcomes, event.RawStream{}); err != nil {
		t.Fatal(err)
	}
	client := c.client(t, "operator")
	names, err := client.Letters().Providers(within(t))
	if err != nil || !slices.Contains(names, p) {
		t.Fatalf("the operator sees %v, %v", names, err)
	}
	for _, drop := range []bool{true, false} {
		job := letters.Job{
			Provider: &letters.Provider{Name: p, Streams: client.Letters(), Bodies: client.Bodies()}, Drop: drop, Why: "test",
			Writer: publisher.NewRaw(client.Raw(), client.Bodies(), p, event.SourceRedrive, event.Fence{}, publisher.Options{
				Limits: publisher.Limits{MaxBody: 1 << 20},
			}),
		}
		if err := job.Open(within(t)); err != nil {
			t.Fatalf("the operator reads what was done: %v", err)
		}
		filter := letters.Filter{Numbers: letters.Numbers{{From: 1, To: 1}}}
		if !drop {
			filter.Numbers[0] = letters.Range{From: 2, To: 2}
		}
		picked, err := job.Pick(within(t), &filter)
		if err != nil {
			t.Fatalf("the operator looks for letters: %v", err)
		}
		sent, err := job.Send(within(t), picked, func(int) {})
		if err != nil || len(sent.Letters) != 1 {
			t.Fatalf("the operator has something done: %+v, %v", sent, err)
		}
	}
	if _, err := client.Watermarks(within(t), p); err != nil {
		t.Fatalf("the operator looks how far it is: %v", err)
	}
}

// operates does what an operator's commands do.
func operates(t *testing.T, c *cluster) {
	admin := c.client(t, "admin")
	holders, err := admin.Holders(within(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := admin.Records(within(t), "my-cloud", holders)
	if err != nil {
		t.Fatal(err)
	}
	if r.Raw["amqp"].Position == 0 || r.Trouble != nil {
		t.Errorf("its records are %+v", r)
	}
	if _, err := admin.Recall(within(t), "my-cloud", "amqp", time.Now().Add(-time.Hour)); err != nil {
		t.Error(err)
	}
	if _, err := admin.Mend(within(t), "my-cloud"); !errors.Is(err, jetstream.ErrNoGap) {
		t.Error(err)
	}
	done := func(*event.RawCursor, bool) (event.Command, error) { return event.Command{Verb: event.VerbSet}, nil }
	_, err = publisher.Command(within(t), admin.Raw(), event.RawCursorSubject("my-cloud", "amqp"),
		event.RawCommandsSubject("my-cloud", "amqp"), publisher.Options{Owner: "ada"}, done)
	if err != nil {
		t.Error(err)
	}
	_, err = publisher.Command(within(t), admin.Normalized(), event.NormalizedCursorSubject("other"),
		event.NormalizedCommandsSubject("other"), publisher.Options{Owner: "ada"},
		func(*event.NormalizedCursor, bool) (event.Command, error) {
			return event.Command{Verb: event.VerbPause}, nil
		})
	if err != nil {
		t.Error(err)
	}
	if all, err := admin.Commands(within(t), ""); err != nil || len(all) != 2 {
		t.Errorf("on record are %d commands, %v", len(all), err)
	}
}

// backups writes down all that the others have written.
func backups(t *testing.T, c *cluster) {
	dir := filepath.Join(t.TempDir(), "backup")
	b, err := c.client(t, "backup").Backup(within(t), jetstream.BackupOptions{Dir: dir, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Verify(within(t), nil); err != nil {
		t.Error(err)
	}
	for _, s := range b.Streams {
		if s.Messages == 0 && s.Name != event.StreamDead {
			t.Errorf("it has nothing of %s", s.Name)
		}
	}
}

// refusals are what must not be possible.
func refusals(t *testing.T, c *cluster) {
	t.Run("no user and a wrong password", func(t *testing.T) {
		for _, opts := range [][]nats.Option{nil, {nats.UserInfo("admin", "wrong")}, {nats.UserInfo("routes", c.password("routes"))}} {
			if nc, err := nats.Connect(c.clients[0], opts...); err == nil {
				nc.Close()
				t.Error("a connection without a user's password is accepted")
			}
		}
	})
	everywhere := []string{
		"events.normalized.my-cloud", "events.raw.my-cloud.panko", "events.cursor.raw.my-cloud.panko", // past the streams
		"$JS.API.STREAM.MSG.GET.EVENTS_RAW", "$JS.API.DIRECT.GET.EVENTS_RAW", "$JS.API.STREAM.MSG.GET.EVENTS_NORMALIZED",
		"$JS.API.DIRECT.GET.EVENTS_NORMALIZED", "$JS.API.DIRECT.GET.EVENTS_RAW.events.raw.my-cloud.panko",
		"$JS.API.STREAM.PURGE.EVENTS_RAW", "$JS.API.STREAM.PURGE.EVENTS_NORMALIZED", "$JS.API.STREAM.PURGE.KV_OWNERS",
		"$JS.API.STREAM.DELETE.EVENTS_RAW", "$JS.API.STREAM.MSG.DELETE.EVENTS_NORMALIZED",
		"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.RESTORE.EVENTS_RAW", "$JS.API.STREAM.SNAPSHOT.EVENTS_RAW",
		"$JS.API.STREAM.UPDATE.EVENTS_RAW", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
		"$JS.API.CONSUMER.CREATE.EVENTS_RAW", "$JS.API.CONSUMER.CREATE.EVENTS_RAW.spy",
		"$JS.API.CONSUMER.CREATE.EVENTS_NORMALIZED.other", "$JS.API.CONSUMER.DELETE.EVENTS_NORMALIZED.subscriber",
		"$JS.API.CONSUMER.RESET.EVENTS_NORMALIZED.other", "$JS.ACK.EVENTS_NORMALIZED.other.1.1.1.1.1",
		"$JS.API.CONSUMER.DURABLE.CREATE.EVENTS_RAW.spy", "$SYS.REQ.SERVER.PING", "ingest.other",
	}
	replays := []string{"ingest.replay.fix.my-cloud", "ingest.cursor.replay.fix", "$JS.API.STREAM.PURGE.EVENTS_REPLAY"}
	for _, test := range []struct {
		user, inbox string
		publish     []string
		subscribe   []string
	}{
		{"collector", "_INBOX", []string{
			"ingest.normalized.my-cloud", "ingest.dead.my-cloud", "ingest.cursor.normalized.my-cloud", "ingest.raw.my-cloud",
			"ingest.cursor.raw.my-cloud.panko.commands", "ingest.cursor.raw.my-cloud._.commands",
			"$KV.LEASES.normalizer.x", "$KV.OWNERS.normalizer.my-cloud", "$JS.API.CONSUMER.RESET.EVENTS_RAW.normalizer-my-cloud",
			"$JS.API.CONSUMER.DELETE.EVENTS_RAW.normalizer-my-cloud", "$JS.ACK.EVENTS_RAW.normalizer-my-cloud.1.1.1.1.1",
		}, []string{"events.normalized.*", "ingest.>", "$JS.>", ">", "_INBOX_subscriber.>"}},
		{"normalizer", "_INBOX", []string{
			"ingest.raw.my-cloud.panko", "ingest.cursor.raw.my-cloud.panko", "ingest.cursor.raw.my-cloud",
			"ingest.cursor.normalized.my-cloud.commands",
			"$KV.LEASES.collector.x", "$KV.OWNERS.collector.my-cloud",
		}, []string{"events.normalized.*", "ingest.>", ">", "_INBOX_subscriber.>"}},
		{"operator", "_INBOX", []string{
			"ingest.raw.my-cloud.panko", "ingest.cursor.raw.my-cloud.panko", "ingest.cursor.raw.my-cloud", "ingest.normalized.my-cloud",
			"ingest.dead.my-cloud", "ingest.deadstate.my-cloud", "ingest.cursor.normalized.my-cloud",
			"$KV.LEASES.collector.x", "$KV.OWNERS.normalizer.my-cloud", "$JS.API.CONSUMER.RESET.EVENTS_RAW.normalizer-my-cloud",
			"$JS.API.CONSUMER.DELETE.EVENTS_RAW.normalizer-my-cloud", "$JS.API.STREAM.PURGE.EVENTS_DEAD",
		}, []string{"events.normalized.*", "ingest.>", ">", "_INBOX_subscriber.>"}},
		{"subscriber", "_INBOX_subscriber", []string{
			"ingest.raw.my-cloud.panko", "ingest.normalized.my-cloud", "ingest.cursor.normalized.my-cloud",
			"$KV.LEASES.collector.x", "$O.EVENTS_BODIES.M.x", "$JS.API.STREAM.PURGE.OBJ_EVENTS_BODIES",
			"$JS.API.CONSUMER.MSG.NEXT.EVENTS_RAW.normalizer-my-cloud", "stackstream.subscriber.other",
			"$JS.API.STREAM.INFO.EVENTS_RAW",
		}, []string{"events.raw.>", "events.dead.*", "events.replay.>", "ingest.>", "_INBOX.>", "stackstream.subscriber.*", ">"}},
	} {
		t.Run(test.user, func(t *testing.T) {
			nc := c.plain(t, test.user, test.inbox)
			for _, subject := range slices.Concat(everywhere, replays, test.publish) {
				nc.mayNot(t, &nats.Msg{Subject: subject})
			}
			for _, subject := range test.subscribe {
				nc.mayNotSubscribe(t, subject)
			}
		})
	}
	t.Run("backup", func(t *testing.T) {
		nc := c.plain(t, "backup", "_INBOX")
		for _, subject := range []string{
			"ingest.raw.my-cloud.panko", "ingest.cursor.raw.my-cloud.panko", "ingest.normalized.my-cloud", "events.normalized.my-cloud",
			"$JS.API.STREAM.RESTORE.EVENTS_RAW", "$JS.API.STREAM.DELETE.EVENTS_RAW", "$JS.API.STREAM.PURGE.OBJ_EVENTS_BODIES",
			"$JS.API.CONSUMER.CREATE.EVENTS_NORMALIZED.spy", "$KV.LEASES.collector.x", "$O.EVENTS_BODIES.M.x",
		} {
			nc.mayNot(t, &nats.Msg{Subject: subject})
		}
	})
	t.Run("admin", func(t *testing.T) {
		nc := c.plain(t, "admin", "_INBOX")
		nc.mayNot(t, &nats.Msg{Subject: "events.normalized.my-cloud"})
	})
	t.Run("replay", func(t *testing.T) {
		nc := c.plain(t, "replay", "_INBOX")
		for _, subject := range append(slices.DeleteFunc(slices.Clone(everywhere), func(subject string) bool {
			return subject == "$JS.API.CONSUMER.DELETE.EVENTS_NORMALIZED.subscriber"
		}), "ingest.raw.my-cloud.panko", "ingest.cursor.raw.my-cloud.panko", "ingest.normalized.my-cloud",
			"ingest.cursor.normalized.my-cloud", "$KV.LEASES.collector.x", "$JS.API.CONSUMER.RESET.EVENTS_RAW.normalizer-my-cloud") {
			nc.mayNot(t, &nats.Msg{Subject: subject})
		}
	})
	t.Run("another program's durable", func(t *testing.T) {
		s, err := subscribe.New(c.plain(t, "subscriber", "_INBOX_subscriber").Conn, subscribe.Options{Durable: "other"})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Run(within(t), func(context.Context, subscribe.Event) error { return nil })
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "stackstream.subscriber.other") {
			t.Errorf("error is %v, want one of the kind invalid that names the subject", err)
		}
	})
	t.Run("rolling up everything", func(t *testing.T) { rollup(t, c) })
}

// rollup is what rights on subjects can't prevent: whoever may write to a stream may empty it.
func rollup(t *testing.T, c *cluster) {
	nc := c.plain(t, "subscriber", "_INBOX_subscriber")
	for _, subject := range []string{"ingest.raw.my-cloud.panko", "ingest.normalized.my-cloud", "$KV.OWNERS.collector.x"} {
		nc.mayNot(t, &nats.Msg{Subject: subject, Header: nats.Header{"Nats-Rollup": {"all"}}})
	}
	js, err := natsjs.New(c.plain(t, "admin", "_INBOX").Conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{event.StreamRaw, event.StreamNormalized} {
		stream, err := js.Stream(within(t), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.Msgs; got < 60 {
			t.Errorf("%s has %d messages", name, got)
		}
	}
}
