package jetstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

func show(t *testing.T, p jetstream.Plan) string {
	t.Helper()
	var b strings.Builder
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const nothingToDo = `= EVENTS_RAW
= EVENTS_NORMALIZED
= EVENTS_DEAD
= OBJ_EVENTS_BODIES
= KV_LEASES
= KV_OWNERS
= EVENTS_REPLAY
`

func smallLayout(replicas int) jetstream.Layout {
	return jetstream.DefaultLayout(replicas).Within(1 << 30)
}

func TestProvisionIsIdempotent(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)

	plan, err := client.Plan(ctx, smallLayout(1))
	if err != nil {
		t.Fatal(err)
	}
	text := show(t, plan)
	if !plan.Missing() || plan.Differs() || strings.Count(text, "+ ") != 7 ||
		!strings.Contains(text, "+ EVENTS_RAW is missing\n    subjects: ingest.raw.> ingest.cursor.raw.>\n") {
		t.Errorf("the plan for an empty server:\n%s", text)
	}
	done, err := client.Provision(ctx, smallLayout(1), jetstream.CreateMissing)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, show(t, done)); diff != "" {
		t.Errorf("what was done is not what was planned:\n%s", diff)
	}
	for _, mode := range []jetstream.Mode{jetstream.CreateMissing, jetstream.Apply} {
		again, err := client.Provision(ctx, smallLayout(1), mode)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(t, again); got != nothingToDo || again.Missing() || again.Differs() || again.Broken() != nil {
			t.Errorf("the second time, mode %d:\n%s", mode, got)
		}
	}
}

func TestProvisionShowsDriftAndChangesItOnlyWhenTold(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t).Client(t)
	js := jetStream(t, client)
	stream, err := js.Stream(ctx, event.StreamNormalized)
	if err != nil {
		t.Fatal(err)
	}
	drifted := stream.CachedInfo().Config
	drifted.MaxAge = 2 * time.Hour
	drifted.RePublish = nil
	drifted.AllowAtomicPublish = false
	drifted.Metadata = map[string]string{"owner": "ops"} // nobody's business but the operator's
	if _, err := js.UpdateStream(ctx, drifted); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(nothingToDo, "= EVENTS_NORMALIZED\n", `~ EVENTS_NORMALIZED differs
    republish: none -> {"src":"events.normalized.>","dest":"events.normalized.>"}  (needed for correctness)
    allow_atomic: false -> true  (needed for correctness)
    max_age: 2h0m0s -> 720h0m0s
`, 1)

	layout := smallLayout(1)
	plan, err := client.Provision(ctx, layout, jetstream.CreateMissing)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, show(t, plan)); diff != "" {
		t.Errorf("the drift shows as:\n%s", diff)
	}
	if err := plan.Broken(); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "EVENTS_NORMALIZED has allow_atomic false, wanted true") {
		t.Errorf("what is vital: %v", err)
	}
	if err := stream.Purge(ctx); err != nil { // the handle still works: nothing was made anew
		t.Fatal(err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c := info.Config; c.MaxAge != 2*time.Hour || c.AllowAtomicPublish || c.RePublish != nil {
		t.Errorf("the stream was changed without being told to: %+v", c)
	}

	if plan, err = client.Provision(ctx, layout, jetstream.Apply); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, show(t, plan)); diff != "" {
		t.Errorf("what was applied shows as:\n%s", diff)
	}
	if plan, err = client.Plan(ctx, layout); err != nil || show(t, plan) != nothingToDo {
		t.Errorf("after applying: %v\n%s", err, show(t, plan))
	}
	if info, err = stream.Info(ctx); err != nil || info.Config.Metadata["owner"] != "ops" {
		t.Errorf("applying touched what is not ours: %v, %v", info.Config.Metadata, err)
	}
}

// A server takes no window for duplicates that is longer than messages live, so that it has to become shorter with them.
func TestProvisionMakesMessagesLiveForLess(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t).Client(t)
	layout := smallLayout(1)
	layout.Raw.MaxAge = time.Minute
	if _, err := client.Provision(ctx, layout, jetstream.Apply); err != nil {
		t.Error(err)
	}
}

func TestProvisionChangesTheLeaseTTL(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t).Client(t)
	layout := smallLayout(1)
	for _, ttl := range []time.Duration{time.Second, 5 * time.Minute, 1500 * time.Millisecond, 2 * time.Second, 0} {
		layout.LeaseTTL = ttl
		if _, err := client.Provision(ctx, layout, jetstream.Apply); err != nil {
			t.Fatalf("lease_ttl %s: %v", ttl, err)
		}
		if plan, err := client.Plan(ctx, layout); err != nil || show(t, plan) != nothingToDo {
			t.Errorf("after lease_ttl %s: %v\n%s", ttl, err, show(t, plan))
		}
		if ttl == 0 {
			ttl = 10 * time.Second
		}
		bucket, err := jetStream(t, client).KeyValue(ctx, jetstream.BucketLeases)
		if err != nil {
			t.Fatal(err)
		}
		if status, err := bucket.Status(ctx); err != nil || status.TTL() != ttl || status.LimitMarkerTTL() != ttl {
			t.Errorf("entries live for %s and their markers for %s, want %s (%v)", status.TTL(), status.LimitMarkerTTL(), ttl, err)
		}
	}
}

func TestProvisionComparesSizesOnlyWhenSet(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t).Client(t)
	layout := smallLayout(1)
	layout.Budget /= 2
	plan, err := client.Plan(ctx, layout)
	if err != nil || show(t, plan) != nothingToDo {
		t.Errorf("another budget concerns new streams only: %v\n%s", err, show(t, plan))
	}
	layout.Raw.MaxBytes = 100 << 20
	if plan, err = client.Provision(ctx, layout, jetstream.Apply); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(show(t, plan), "~ EVENTS_RAW differs\n    max_bytes: ") {
		t.Errorf("a size that is set:\n%s", show(t, plan))
	}
	stream, err := jetStream(t, client).Stream(ctx, event.StreamRaw)
	if err != nil || stream.CachedInfo().Config.MaxBytes != 100<<20 {
		t.Errorf("the size was not applied: %v, %v", stream.CachedInfo().Config.MaxBytes, err)
	}
}

// A server that has nothing left to give lets a stream that is full grow by what another gives up, in one go.
func TestProvisionMovesRoomFromOneStreamToAnother(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	layout := jetstream.DefaultLayout(1).Within(8 << 30) // all that the test server has
	layout.Raw.MaxBytes, layout.Bodies.MaxBytes = 1<<30, 2<<30
	if _, err := client.Provision(ctx, layout, jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	layout.Raw.MaxBytes, layout.Bodies.MaxBytes = 2<<30, 1<<30
	if _, err := client.Provision(ctx, layout, jetstream.Apply); err != nil {
		t.Error(err)
	}
}

func TestProvisionRefusesWhatTheServerCannotChange(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	js := jetStream(t, client)
	if _, err := js.CreateStream(ctx, natsjs.StreamConfig{
		Name: event.StreamRaw, Subjects: []string{"ingest.raw.>"}, Storage: natsjs.MemoryStorage, DenyPurge: true,
	}); err != nil {
		t.Fatal(err)
	}
	plan, err := client.Provision(ctx, smallLayout(1), jetstream.Apply)
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "EVENTS_RAW has storage memory, wanted file") ||
		!strings.Contains(err.Error(), "EVENTS_RAW has deny_purge true, wanted false") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(show(t, plan), "    storage: memory -> file  (the server can't change this)\n") {
		t.Errorf("the plan does not say so:\n%s", show(t, plan))
	}
	if _, err := js.Stream(ctx, event.StreamNormalized); err == nil {
		t.Error("other streams were created although the layout can't be reached")
	}
}

func TestProvisionNamesTheStreamThatTakesOurSubjects(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	if _, err := jetStream(t, client).CreateStream(ctx, natsjs.StreamConfig{Name: "LEGACY", Subjects: []string{"ingest.normalized.cloud1"}}); err != nil {
		t.Fatal(err)
	}
	_, err := client.Provision(ctx, smallLayout(1), jetstream.CreateMissing)
	want := "create stream EVENTS_NORMALIZED: invalid: its subject ingest.normalized.* is taken by the stream LEGACY, " +
		"which is not ours; delete that stream or change its subjects"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestProvisionSaysWhenThereIsNoRoom(t *testing.T) {
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	layout := jetstream.DefaultLayout(1)
	layout.Budget = 1 << 50
	_, err := client.Provision(testContext(t), layout, jetstream.CreateMissing)
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "create stream EVENTS_RAW") ||
		!strings.Contains(err.Error(), "set a smaller budget") {
		t.Errorf("got %v", err)
	}
}

func TestProvisionThreeReplicasNeedsACluster(t *testing.T) {
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	_, err := client.Provision(testContext(t), smallLayout(3), jetstream.CreateMissing)
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "a single server takes replicas 1 only") {
		t.Errorf("got %v", err)
	}
}

func TestProvisionOnAClusterByManyAtOnce(t *testing.T) {
	ctx := testContext(t)
	cluster := jetstreamtest.Cluster(t, jetstreamtest.Bare())
	var group errgroup.Group
	for range 4 {
		client := cluster.Client(t)
		group.Go(func() error {
			_, err := client.Provision(ctx, smallLayout(3), jetstream.CreateMissing)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	client := cluster.Client(t)
	plan, err := client.Plan(ctx, smallLayout(3))
	if err != nil || show(t, plan) != nothingToDo {
		t.Errorf("afterwards: %v\n%s", err, show(t, plan))
	}
	for info := range jetStream(t, client).ListStreams(ctx).Info() {
		if info.Config.Replicas != 3 || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%s has %d replicas, its leader knows %d others", info.Config.Name, info.Config.Replicas, len(info.Cluster.Replicas))
		}
	}
}

func TestPlainSubscriberSeesCommittedEventsOnly(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t).Client(t)
	sub, err := client.Conn().SubscribeSync("events.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	log := client.Normalized()
	cursor := event.NormalizedCursorSubject("p")
	batch := func(expect event.StreamSeq, bodies ...string) event.Batch {
		b := event.Batch{ID: "b", Cursor: event.Message{Subject: cursor, Body: []byte("{}")}, Expect: expect}
		for _, body := range bodies {
			b.Messages = append(b.Messages, event.Message{Subject: event.NormalizedSubject("p"), Body: []byte(body)})
		}
		return b
	}
	at, err := log.Append(ctx, batch(0, "one", "two"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(ctx, batch(at+7, "refused")); event.KindOf(err) != event.Fenced {
		t.Fatalf("a stale batch gives %v, want it fenced", err)
	}
	if _, err := log.Append(ctx, batch(at, "three")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ body, seq, last string }{{"one", "1", "0"}, {"two", "2", "1"}, {"three", "4", "2"}} {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) != want.body || m.Subject != "events.normalized.p" ||
			m.Header.Get("Nats-Sequence") != want.seq || m.Header.Get("Nats-Last-Sequence") != want.last {
			t.Errorf("got %q on %s with %v, want %+v", m.Data, m.Subject, m.Header, want)
		}
	}
	// Everything that the server had to say to this connection has arrived once it answers a flush.
	if err := client.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := sub.Pending(); err != nil || n != 0 {
		m, _ := sub.NextMsgWithContext(ctx)
		t.Errorf("%d more messages came (%v), the first is %v", n, err, m)
	}
}

func TestDeadLettersAreKeptInAStreamOfTheirOwn(t *testing.T) {
	ctx := testContext(t)
	client := jetstreamtest.Server(t).Client(t)
	js := jetStream(t, client)
	for _, subject := range []string{"ingest.dead.p", "ingest.normalized.p", "ingest.deadstate.p", "ingest.cursor.normalized.p"} {
		if _, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: []byte(subject)}); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := js.OrderedConsumer(ctx, event.StreamDead, natsjs.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"events.dead.p", "events.deadstate.p"} {
		m, err := dead.Next(natsjs.FetchContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject() != want {
			t.Errorf("got %s, want %s", m.Subject(), want)
		}
	}
	stream, err := js.Stream(ctx, event.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(ctx); err == nil {
		t.Error("dead letters could be purged")
	}
	if n := stream.CachedInfo().State.Msgs; n != 2 {
		t.Errorf("it holds %d messages, want 2", n)
	}
}
