package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// collect puts raw events of a source into RAW, in one batch, and returns where its cursor is then.
func gather(t *testing.T, c *jetstream.Client, s event.Source, from, to event.Seq, expect event.StreamSeq) event.StreamSeq {
	t.Helper()
	b := event.Batch{ID: newBatchID(), Expect: expect}
	for seq := from; seq <= to; seq++ {
		r := event.Raw{ID: event.ID(fmt.Sprintf("%s-%d", s, seq)), Received: time.Now(), Format: "test", Body: []byte("{}")}
		b.Messages = append(b.Messages, r.Message("cloud", s, seq, event.BodyRef{}))
	}
	b.Cursor = event.Message{
		Subject: event.RawCursorSubject("cloud", s), Body: fmt.Appendf(nil, `{"position":%d,"batch":%q,"written_at":"2026-11-22T00:00:00Z"}`, to, b.ID),
	}
	at, err := c.Raw().Append(testContext(t), b)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func newBatchID() string { return fmt.Sprint(time.Now().UnixNano()) }

func sequences(t *testing.T, r *jetstream.Range) []event.StreamSeq {
	t.Helper()
	defer r.Close()
	var all []event.StreamSeq
	for {
		m, err := r.Next(testContext(t))
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m.Sequence)
	}
}

func TestPartsOfRaw(t *testing.T) {
	server := jetstreamtest.Server(t)
	c := server.Client(t)
	ctx := testContext(t)
	if _, ok, err := c.RawSpan(ctx, "cloud", jetstream.Bound{}, jetstream.Bound{}); ok || err != nil {
		t.Fatalf("an empty RAW has a span (%v)", err)
	}
	panko := gather(t, c, "panko", 1, 3, 0) // 1-3, cursor 4
	amqp := gather(t, c, "amqp", 1, 2, 0)   // 5-6, cursor 7
	gather(t, c, "panko", 4, 5, panko)      // 8-9, cursor 10
	gather(t, c, "amqp", 3, 3, amqp)        // 11, cursor 12

	source := func(first, last event.Seq) event.ReplaySource {
		return event.ReplaySource{First: first, Last: last, Position: first - 1}
	}
	for _, test := range []struct {
		since, until jetstream.Bound
		from, to     event.StreamSeq
		sources      map[event.Source]event.ReplaySource
	}{
		{from: 1, to: 12, sources: map[event.Source]event.ReplaySource{"panko": source(1, 5), "amqp": source(1, 3)}},
		{since: jetstream.Bound{Seq: 4}, from: 5, to: 12, sources: map[event.Source]event.ReplaySource{"panko": source(4, 5), "amqp": source(1, 3)}},
		{since: jetstream.Bound{Seq: 2}, until: jetstream.Bound{Seq: 8}, from: 2, to: 8, sources: map[event.Source]event.ReplaySource{"panko": source(2, 4), "amqp": source(1, 2)}},
		{since: jetstream.Bound{Seq: 11}, until: jetstream.Bound{Seq: 99}, from: 11, to: 12, sources: map[event.Source]event.ReplaySource{"amqp": source(3, 3)}},
		{since: jetstream.Bound{Time: time.Now().Add(-time.Hour)}, until: jetstream.Bound{Time: time.Now().Add(time.Hour)}, from: 1, to: 12, sources: map[event.Source]event.ReplaySource{"panko": source(1, 5), "amqp": source(1, 3)}},
	} {
		span, ok, err := c.RawSpan(ctx, "cloud", test.since, test.until)
		if err != nil || !ok || span.From != test.from || span.To != test.to {
			t.Fatalf("%+v to %+v is %d to %d (%v, %v)", test.since, test.until, span.From, span.To, ok, err)
		}
		if diff := cmp.Diff(test.sources, span.Sources); diff != "" {
			t.Errorf("%+v to %+v (-want +got):\n%s", test.since, test.until, diff)
		}
		if len(span.Dropped) > 0 {
			t.Errorf("dropped: %v", span.Dropped)
		}
	}
	for _, b := range []jetstream.Bound{{Seq: 13}, {Time: time.Now().Add(time.Minute)}} {
		if span, ok, err := c.RawSpan(ctx, "cloud", b, jetstream.Bound{}); ok || err != nil {
			t.Errorf("behind the end there is %+v (%v)", span, err)
		}
	}
	middle, _, _ := c.RawSpan(ctx, "cloud", jetstream.Bound{}, jetstream.Bound{})
	if _, ok, err := c.RawSpan(ctx, "cloud", jetstream.Bound{}, jetstream.Bound{Time: middle.First}); ok || err != nil {
		t.Errorf("before the first one there is something (%v)", err)
	}

	if got := sequences(t, c.RawRange("cloud", time.Time{}, 2, 8)); !slices.Equal(got, []event.StreamSeq{2, 3, 5, 6, 8}) {
		t.Errorf("2 to 8 has %v", got)
	}
	if got := sequences(t, c.RawRange("cloud", middle.Created, 9, 12)); !slices.Equal(got, []event.StreamSeq{9, 11}) {
		t.Errorf("9 to 12 has %v", got)
	}
	if got := sequences(t, c.RawRange("cloud", time.Time{}, 10, 9)); len(got) > 0 {
		t.Errorf("nothing has %v", got)
	}

	// Another stream than was meant, or one that has lost its end.
	for _, r := range []*jetstream.Range{
		c.RawRange("cloud", middle.Created.Add(time.Second), 1, 12), c.RawRange("cloud", middle.Created, 1, 13),
	} {
		if m, err := r.Next(ctx); event.KindOf(err) != event.Regressed {
			t.Errorf("message %d is read (%v)", m.Sequence, err)
		}
	}

	// The oldest go.
	stream, err := jetStream(t, c).Stream(ctx, event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(ctx, natsjs.WithPurgeSequence(3)); err != nil {
		t.Fatal(err)
	}
	span, _, err := c.RawSpan(ctx, "cloud", jetstream.Bound{}, jetstream.Bound{})
	if diff := cmp.Diff(map[event.Source]event.Seq{"panko": 2}, span.Dropped); diff != "" || err != nil {
		t.Errorf("dropped (%v) (-want +got):\n%s", err, diff)
	}
}

// A reader that was paused, whose consumer is gone or whose server was restarted goes on behind the last message when it is
// asked again.
func TestARangeGoesOnAfterErrors(t *testing.T) {
	server := jetstreamtest.Server(t)
	c := server.Client(t)
	at := event.StreamSeq(0)
	for i := event.Seq(0); i < 10; i++ {
		at = gather(t, c, "panko", i*300+1, i*300+300, at)
	}
	r := c.RawRange("cloud", time.Time{}, 1, at)
	defer r.Close()
	js := jetStream(t, c)
	var got, failed int
	for {
		m, err := r.Next(testContext(t))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if failed++; failed > 200 || event.KindOf(err) != event.Unavailable {
				t.Fatal(err)
			}
			continue
		}
		if got++; m.Header.Get(event.HeaderSeq) != fmt.Sprint(got) {
			t.Fatalf("event %s comes after %d", m.Header.Get(event.HeaderSeq), got-1)
		}
		if got%1000 == 0 {
			stream, err := js.Stream(testContext(t), event.StreamRaw)
			if err != nil {
				t.Fatal(err)
			}
			for name := range stream.ConsumerNames(testContext(t)).Name() {
				if err := js.DeleteConsumer(testContext(t), event.StreamRaw, name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if got != 3000 {
		t.Errorf("%d events", got)
	}
}

func TestReplayJobs(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	if err := c.CheckReplay(ctx, smallLayout(1)); err != nil {
		t.Fatal(err)
	}
	plain, err := c.Conn().SubscribeSync("events.replay.b.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []event.ReplayName{"b", "a"} {
		_, err := c.Replay().Append(ctx, event.Batch{
			ID: newBatchID(),
			Messages: []event.Message{
				{Subject: event.ReplaySubject(name, "cloud"), Header: event.Header{}, Body: []byte("{}")},
				{Subject: event.ReplayDeadSubject(name, "cloud"), Header: event.Header{}, Body: []byte("{}")},
				{Subject: event.ReplaySubject(name, "cloud"), Header: event.Header{}, Body: []byte("{}")},
				{Subject: event.ReplayCommandsSubject(name), Header: event.Header{}, Body: []byte("{}")},
			},
			Cursor: event.Message{
				Subject: event.ReplayCursorSubject(name),
				Body:    []byte(`{"provider":"cloud","state":"done","made_at":"2026-11-22T00:00:00Z","written_at":"2026-11-22T00:00:00Z","batch":"x","counts":{}}`),
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		m, err := plain.NextMsg(10 * time.Second)
		if err != nil || m.Subject != "events.replay.b.cloud" || m.Header.Get("Nats-Sequence") == "" {
			t.Fatalf("a plain subscriber is given %+v (%v)", m, err)
		}
	}
	jobs, err := c.Replays().List(ctx)
	if err != nil || len(jobs) != 2 || jobs[0].Name != "a" || jobs[1].HeldEvents != 2 || jobs[1].HeldDead != 1 || jobs[1].Sequence == 0 {
		t.Fatalf("%+v (%v)", jobs, err)
	}
	if err := c.Replays().Remove(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := c.Replays().Read(ctx, "a"); ok || err != nil {
		t.Errorf("the job is still there (%v)", err)
	}
	if job, ok, err := c.Replays().Read(ctx, "b"); !ok || err != nil || job.HeldEvents != 2 {
		t.Errorf("the other job is %+v (%v)", job, err)
	}
	stream, err := jetStream(t, c).Stream(ctx, event.StreamReplay)
	if err != nil || stream.CachedInfo().State.Msgs != 5 {
		t.Errorf("%d messages are left (%v)", stream.CachedInfo().State.Msgs, err)
	}
}

// An installation that has no room for replays, or was made before there were any, works without.
func TestReplaysAreOptional(t *testing.T) {
	ctx := testContext(t)
	c := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	js := jetStream(t, c)
	layout := smallLayout(1)
	layout.Budget = 0
	for _, own := range []*jetstream.StreamLimits{&layout.Raw, &layout.Normalized, &layout.Dead, &layout.Bodies} {
		own.MaxBytes = 100 << 20
	}
	layout.Replay.MaxBytes = 1 << 40
	if err := c.CheckReplay(ctx, layout); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "run stackstream provision") {
		t.Errorf("without its stream a replay is told %v", err)
	}
	plan, err := c.Provision(ctx, layout, jetstream.CreateMissing)
	if err != nil {
		t.Fatal(err)
	}
	if s := plan.Lacks(); s == nil || s.Problem == nil || !strings.Contains(s.Problem.Error(), "no room for it") {
		t.Fatalf("what is missing: %+v", s)
	}
	text := show(t, plan)
	if !strings.Contains(text, "! EVENTS_REPLAY is missing, and only replays need it: ") {
		t.Errorf("the plan:\n%s", text)
	}
	for name, plan := range map[string]func(context.Context, jetstream.Layout) (jetstream.Plan, error){"all": c.Plan, "needed": c.PlanNeeded} {
		p, err := plan(ctx, layout)
		if err != nil || p.Missing() || p.Broken() != nil || (p.Lacks() != nil) != (name == "all") {
			t.Errorf("%s: %v\n%s", name, err, show(t, p))
		}
	}

	// Where nobody said how large it is to be it takes what room there is.
	taken, err := js.AccountInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	filler := natsjs.StreamConfig{Name: "FILLER", Subjects: []string{"filler"}, MaxBytes: 8<<30 - int64(taken.ReservedStore) - 100<<20}
	if _, err := js.CreateStream(ctx, filler); err != nil {
		t.Fatal(err)
	}
	layout.Replay.MaxBytes = 0
	if plan, err = c.Provision(ctx, layout, jetstream.CreateMissing); err != nil || plan.Lacks() != nil && plan.Lacks().Problem != nil {
		t.Fatalf("%v\n%s", err, show(t, plan))
	}
	stream, err := js.Stream(ctx, event.StreamReplay)
	if err != nil || stream.CachedInfo().Config.MaxBytes < 64<<20 || stream.CachedInfo().Config.MaxBytes > 100<<20 {
		t.Errorf("the stream of replays takes %d bytes (%v)", stream.CachedInfo().Config.MaxBytes, err)
	}

	// What is vital to it concerns nobody else.
	drifted := stream.CachedInfo().Config
	drifted.AllowAtomicPublish = false
	if _, err := js.UpdateStream(ctx, drifted); err != nil {
		t.Fatal(err)
	}
	if plan, err = c.Plan(ctx, layout); err != nil || plan.Broken() != nil || !plan.Differs() {
		t.Errorf("%v, broken: %v", err, plan.Broken())
	}
	if err := c.CheckReplay(ctx, layout); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "allow_atomic") {
		t.Errorf("a replay is told %v", err)
	}
}
