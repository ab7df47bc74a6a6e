package jetstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// A backup of a single server goes into a cluster, with three replicas, and the pipeline works on there; one of the cluster
// replaces what the cluster has, in a second try. When a stream was made is the same whoever leads it: cursors and copies go by
// that.
func TestBackupIntoACluster(t *testing.T) {
	single := jetstreamtest.Server(t).Client(t)
	p := startPipeline(t, single, 1)
	p.more(30)
	if err := single.Bodies().PutBody(testContext(t), event.NewBodyRef(large), large); err != nil {
		t.Fatal(err)
	}
	subscriber(t, single)
	b := backup(t, single)
	p.stop()

	cluster := jetstreamtest.Cluster(t, jetstreamtest.Bare())
	client := cluster.Client(t)
	restore(t, client, b, jetstream.RestoreOptions{Replicas: 3})
	if _, err := client.Provision(testContext(t), jetstream.DefaultLayout(3).Within(1<<30), jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	again := func() {
		t.Helper()
		made := map[string]time.Time{}
		for _, name := range jetstream.BackupStreams() {
			made[name] = created(t, client, name)
			leader := cluster.Leader(name)
			until(t, "for another leader of "+name, func() bool { cluster.StepDown(name); return cluster.Leader(name) != leader })
			if now := created(t, client, name); !now.Equal(made[name]) {
				t.Errorf("%s was made at %s, says its next leader, and at %s", name, now, made[name])
			}
		}
		p = startPipeline(t, client, 1)
		p.more(20)
		p.stop()
		t.Logf("%v are there", settled(t, client))
		for _, name := range jetstream.BackupStreams() {
			if now := created(t, client, name); !now.Equal(made[name]) {
				t.Errorf("%s was made at %s, and at %s before", name, now, made[name])
			}
		}
		body, err := client.Bodies().GetBody(testContext(t), event.NewBodyRef(large))
		if err != nil || len(body) != len(large) {
			t.Errorf("the large body has %d bytes, %v", len(body), err)
		}
		cons, err := jetStream(t, client).Consumer(testContext(t), event.StreamNormalized, "reader")
		if err != nil {
			t.Fatal(err)
		}
		if floor := cons.CachedInfo().AckFloor.Stream; floor != b.Streams[1].Durables[0].State.AckFloor.Stream {
			t.Errorf("the subscriber stands at %d", floor)
		}
	}
	again()
	p = startPipeline(t, client, 1)
	p.more(30)
	b = backup(t, client)
	p.more(10)
	p.stop()
	for n := 8; n < 32; n += 3 { // while it marks and deletes, asking twice before each step
		if killed(t, cluster.URLs()[0], b, jetstream.RestoreOptions{Replace: true}, n) {
			t.Errorf("the restore ended with %d requests", n)
		}
		left, err := client.Look(testContext(t), jetstream.BackupStreams())
		if err != nil {
			t.Fatal(err)
		}
		plan, err := client.Provision(testContext(t), jetstream.DefaultLayout(3).Within(1<<30), jetstream.CreateMissing)
		if len(left) < 4 && (event.KindOf(err) != event.Invalid || plan.HalfRestored() == nil) {
			t.Errorf("killed before request %d it leaves %+v, which nothing refuses: %v", n, left, err)
		}
	}
	ctx, cancel := context.WithCancel(testContext(t))
	_, err := client.Restore(ctx, b, jetstream.RestoreOptions{Replace: true, Progress: func(stream string, _, _ uint64) {
		if stream == event.StreamNormalized {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the restore ended with %v", err)
	}
	plan, err := client.Plan(testContext(t), jetstream.DefaultLayout(3).Within(1<<30))
	if err != nil || plan.Broken() == nil {
		t.Errorf("the streams are %v, %v", plan.Broken(), err)
	}
	restore(t, client, b, jetstream.RestoreOptions{})
	again()
}

var large = make([]byte, 3<<20)

// subscriber makes a durable that has read ten events.
func subscriber(t *testing.T, c *jetstream.Client) {
	t.Helper()
	cons, err := jetStream(t, c).CreateConsumer(testContext(t), event.StreamNormalized, natsjs.ConsumerConfig{
		Durable: "reader", AckPolicy: natsjs.AckAllPolicy, FilterSubject: "events.normalized.*",
	})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := cons.Fetch(10)
	if err != nil {
		t.Fatal(err)
	}
	var last natsjs.Msg
	for m := range batch.Messages() {
		last = m
	}
	if err := last.DoubleAck(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func created(t *testing.T, c *jetstream.Client, stream string) time.Time {
	t.Helper()
	var at time.Time
	until(t, "for an answer about "+stream, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := jetStream(t, c).Stream(ctx, stream)
		if err == nil {
			at = s.CachedInfo().Created
		}
		return err == nil
	})
	return at
}
