package jetstream_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/publisher"
)

// pipelined has n events of a source collected and normalized, every tenth as a dead letter and every fifth under another identity.
func pipelined(t *testing.T, c *jetstream.Client, s event.Source, first, n int) {
	t.Helper()
	ctx := testContext(t)
	raw := publisher.NewRaw(c.Raw(), c.Bodies(), prov, s, event.Fence{}, publisher.Options{})
	if _, err := raw.Open(ctx); err != nil {
		t.Fatal(err)
	}
	var events []event.Raw
	for i := first; i < first+n; i++ {
		at := time.Unix(1_700_000_000+int64(i), 0).UTC()
		events = append(events, event.Raw{ID: event.ID(fmt.Sprint("id-", i)), Time: at, Received: at, Body: []byte("{}")})
	}
	at, err := raw.Commit(ctx, events, event.Progress{})
	if err != nil {
		t.Fatal(err)
	}
	normalized := publisher.NewNormalized(c.Normalized(), c.Bodies(), prov, publisher.Options{})
	if _, err := normalized.Open(ctx); err != nil {
		t.Fatal(err)
	}
	var outcomes []event.Outcome
	for i, e := range events {
		o := event.Outcome{
			Raw: event.StoredRaw{Raw: e, Provider: prov, Source: s, Seq: event.Seq(i + 1), Sequence: at[i]}, Converter: "oslo/1",
		}
		id := string(e.ID)
		switch n := first + i; {
		case n%10 == 0:
			o.Dead = &event.DeadLetter{Reason: "test", Detail: "test"}
		case n%5 == 0:
			id, o.Converter = "another-"+strconv.Itoa(n), "http/1-x"
		}
		if o.Dead == nil {
			o.Events = []event.Event{{MessageID: id, EventType: "x", Timestamp: event.NewTimestamp(e.Time), Payload: []byte("{}")}}
		}
		outcomes = append(outcomes, o)
	}
	if _, err := normalized.Commit(ctx, outcomes, event.RawStream{}); err != nil {
		t.Fatal(err)
	}
}

// purge drops what a stream has on a subject, but for the last so many.
func purge(t *testing.T, c *jetstream.Client, name, subject string, keep uint64) {
	t.Helper()
	ctx := testContext(t)
	stream, err := jetStream(t, c).Stream(ctx, name)
	if err == nil {
		err = stream.Purge(ctx, natsjs.WithPurgeSubject(subject), natsjs.WithPurgeKeep(keep))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheArchiveKnowsWhatRawHasDropped(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	pipelined(t, c, "panko", 1, 40)
	until(t, "for the dead letters to be copied", func() bool {
		seen := 0
		err := c.Archive().Identities(ctx, prov, time.Time{}, func(event.Seen) { seen++ })
		if err != nil {
			t.Fatal(err)
		}
		return seen == 40
	})
	read := func(stored time.Time) (ids []string) {
		t.Helper()
		err := c.Archive().Identities(ctx, prov, stored, func(e event.Seen) {
			n, _ := strconv.Atoi(string(e.ID[3:]))
			if at := time.Unix(1_700_000_000+int64(n), 0); e.Source != "panko" || !e.Time.Equal(at) != (n%10 == 5) || n%10 == 5 && !e.Time.IsZero() {
				t.Errorf("%s is %+v", e.ID, e)
			}
			ids = append(ids, string(e.ID))
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(ids)
		return slices.Compact(ids)
	}
	if got := read(time.Time{}); len(got) != 40 {
		t.Errorf("all are %v", got)
	}
	if got := read(time.Now().Add(time.Hour)); len(got) != 0 {
		t.Errorf("of what was stored in an hour there are %v", got)
	}
	// Another RAW gives the same sequences to other events.
	another(t, c)
	pipelined(t, c, "panko", 41, 3)
	if got := read(time.Time{}); len(got) != 43 {
		t.Errorf("with those of another RAW all are %v", got)
	}
}

// another has RAW made anew.
func another(t *testing.T, c *jetstream.Client) {
	t.Helper()
	if err := jetStream(t, c).DeleteStream(testContext(t), event.StreamRaw); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Provision(testContext(t), jetstream.DefaultLayout(1).Within(1<<30), jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
}

func TestSinceWhenTheStreamsKnowEverything(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	began := time.Now().Add(-time.Second)
	since := func() time.Time {
		t.Helper()
		at, err := c.Archive().Since(ctx, prov)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if at := since(); !at.IsZero() {
		t.Errorf("without events it is %s", at)
	}
	pipelined(t, c, "panko", 1, 40)
	if at := since(); !at.IsZero() {
		t.Errorf("with all of them it is %s", at)
	}
	purge(t, c, event.StreamRaw, event.RawSubjects(prov), 5)
	if at := since(); !at.IsZero() {
		t.Errorf("while NORMALIZED has them it is %s", at)
	}
	purge(t, c, event.StreamNormalized, event.NormalizedSubject(prov), 10)
	if at := since(); !at.After(began) {
		t.Errorf("after NORMALIZED has dropped some it is %s", at)
	}
	purge(t, c, event.StreamNormalized, event.NormalizedSubject(prov), 0)
	purge(t, c, event.StreamNormalized, event.DeadSubject(prov), 0)
	if at := since(); !at.After(began) {
		t.Errorf("with those in RAW alone it is %s", at)
	}
	purge(t, c, event.StreamRaw, event.RawSubjects(prov), 0)
	if at, want := since(), time.Unix(1_700_000_040, 0); !at.Equal(want) {
		t.Errorf("with nothing left it is %s, want %s, when the last came", at, want)
	}
	another(t, c)
	if at, want := since(), time.Unix(1_700_000_040, 0); !at.Equal(want) {
		t.Errorf("with nothing in another RAW it is %s, want %s, when the last was normalized", at, want)
	}
}

// A RAW that was made anew has all that was collected since, and NORMALIZED may have dropped some of what was before.
func TestSinceWhenTheStreamsKnowEverythingBehindAnotherRaw(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	pipelined(t, c, "panko", 1, 40)
	another(t, c)
	pipelined(t, c, "panko", 41, 5)
	if at, err := c.Archive().Since(ctx, prov); err != nil || !at.IsZero() {
		t.Errorf("with all in NORMALIZED it is %s, %v", at, err)
	}
	purge(t, c, event.StreamNormalized, event.NormalizedSubject(prov), 10)
	if at, err := c.Archive().Since(ctx, prov); err != nil || at.IsZero() {
		t.Errorf("after NORMALIZED has dropped some it is %s, %v", at, err)
	}
}
