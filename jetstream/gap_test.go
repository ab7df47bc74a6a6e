package jetstream_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/publisher"
)

var gapNoon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// collect commits the events of a source with the numbers from first to last, one a minute.
func collect(t *testing.T, c *jetstream.Client, s event.Source, first, last int) {
	t.Helper()
	w := publisher.NewRaw(c.Raw(), c.Bodies(), prov, s, event.Fence{}, publisher.Options{Owner: "host/1"})
	if _, err := w.Open(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var events []event.Raw
	for i := first; i <= last; i++ {
		at := gapNoon.Add(time.Duration(i) * time.Minute)
		events = append(events, event.Raw{ID: event.ID(fmt.Sprintf("%s-%d", s, i)), Time: at, Received: at, Format: "x", Body: []byte("{}")})
	}
	progress := event.Progress{Watermark: gapNoon.Add(time.Duration(last) * time.Minute)}
	if _, err := w.Commit(testContext(t), events, progress); err != nil {
		t.Fatal(err)
	}
}

// normalize deals with what RAW has next: so many events.
func normalize(t *testing.T, c *jetstream.Client, n int) event.NormalizedCursor {
	t.Helper()
	w := publisher.NewNormalized(c.Normalized(), c.Bodies(), prov, publisher.Options{Owner: "norm/1"})
	from, err := w.Open(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, c, from)
	defer r.Close()
	for n > 0 {
		batch, err := r.Next(testContext(t), n, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		n -= len(batch)
		var outcomes []event.Outcome
		for _, m := range batch {
			raw, err := event.ParseRaw(m)
			if err != nil {
				t.Fatal(err)
			}
			outcomes = append(outcomes, event.Outcome{Raw: raw, Events: []event.Event{{MessageID: string(raw.ID), EventType: "x"}}, Converter: "x/1"})
		}
		if from, err = w.Commit(testContext(t), outcomes, r.Stream()); err != nil {
			t.Fatal(err)
		}
	}
	return from
}

// mend finds out what is wrong and does what is to be done, and returns that.
func mend(t *testing.T, c *jetstream.Client, kind event.Kind) jetstream.Mend {
	t.Helper()
	m, err := c.Mend(testContext(t), prov)
	if err != nil {
		t.Fatal(err)
	}
	if event.KindOf(m.Found) != kind {
		t.Fatalf("found %v, want %v", m.Found, kind)
	}
	_, err = publisher.Command(testContext(t), c.Normalized(), event.NormalizedCursorSubject(prov), event.NormalizedCommandsSubject(prov),
		publisher.Options{Owner: "ada"}, func(cursor *event.NormalizedCursor, _ bool) (event.Command, error) {
			cursor.RawSeq, cursor.RawCreated, cursor.Sources = m.Cursor.RawSeq, m.Cursor.RawCreated, m.Cursor.Sources
			return event.Command{Verb: event.VerbAcceptGap, Why: "test", Gaps: m.Gaps}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mend(testContext(t), prov); !errors.Is(err, jetstream.ErrNoGap) {
		t.Fatalf("mended, and there is %v", err)
	}
	return m
}

// drop takes messages out of RAW, as their age does.
func drop(t *testing.T, c *jetstream.Client, from, to uint64) {
	t.Helper()
	stream, err := jetStream(t, c).Stream(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	for seq := from; seq <= to; seq++ {
		if err := stream.DeleteMsg(testContext(t), seq); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMendGoesOverWhatIsGone(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	if _, err := c.Mend(testContext(t), prov); !errors.Is(err, jetstream.ErrNoGap) {
		t.Errorf("nothing was normalized: %v", err)
	}
	collect(t, c, "panko", 1, 10) // 1 to 10, the cursor at 11
	collect(t, c, "amqp", 1, 5)   // 12 to 16, the cursor at 17
	collect(t, c, "http", 1, 2)   // 18 and 19, the cursor at 20
	before := normalize(t, c, 3)
	if _, err := c.Mend(testContext(t), prov); !errors.Is(err, jetstream.ErrNoGap) {
		t.Errorf("nothing is gone: %v", err)
	}
	drop(t, c, 1, 6)
	drop(t, c, 12, 16)
	m := mend(t, c, event.Expired)
	minute := func(i int) time.Time { return gapNoon.Add(time.Duration(i) * time.Minute) }
	want := []event.RawGap{
		{Source: "amqp", From: 1, To: 5, Before: minute(5)},
		{Source: "panko", From: 4, To: 6, After: minute(3), Before: minute(7)},
	}
	if diff := cmp.Diff(want, m.Gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if m.Cursor.RawSeq != before.RawSeq || m.Cursor.Position != before.Position || len(m.Again) > 0 {
		t.Errorf("the cursor went from %+v to %+v, again %v", before, m.Cursor, m.Again)
	}
	after := normalize(t, c, 6)
	if after.Position != 9 || after.Sources["panko"].Position != 10 || after.Sources["http"].Position != 2 {
		t.Errorf("it ended at %+v", after)
	}
	all, err := c.Commands(testContext(t), prov)
	if err != nil || len(all) != 1 || all[0].By != "ada" || all[0].Record != "normalizing" || cmp.Diff(want, all[0].Gaps) != "" {
		t.Errorf("on record is %+v, %v", all, err)
	}
}

// A RAW that drops what is too old goes on doing so: what would be gone before the normalizer gets to it is given up with the rest.
func TestMendGoesOverWhatIsAboutToGo(t *testing.T) {
	c := jetstreamtest.Server(t, jetstreamtest.Layout(func(l *jetstream.Layout) { l.Raw.MaxAge = 4 * time.Second })).Client(t)
	began := time.Now()
	collect(t, c, "panko", 1, 10)
	collect(t, c, "amqp", 1, 2)
	normalize(t, c, 3)
	until(t, "for a second", func() bool { return time.Since(began) > time.Second })
	collect(t, c, "panko", 11, 12)
	until(t, "for the first events to go", func() bool { m, err := c.Mend(testContext(t), prov); return err == nil && len(m.Gaps) == 2 })
	collect(t, c, "panko", 13, 14)
	m := mend(t, c, event.Expired)
	minute := func(i int) time.Time { return gapNoon.Add(time.Duration(i) * time.Minute) }
	want := []event.RawGap{
		{Source: "amqp", From: 1, To: 2, Before: minute(2)},
		{Source: "panko", From: 4, To: 12, After: minute(3), Before: minute(13)},
	}
	if diff := cmp.Diff(want, m.Gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if at := m.Cursor.Sources["panko"].Position; at != 12 || m.Ahead != 2*time.Second {
		t.Errorf("it goes on behind %d, and %s were looked ahead", at, m.Ahead)
	}
}

func TestMendTakesOverAnotherRaw(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	layout := jetstream.DefaultLayout(1).Within(1 << 30)
	collect(t, c, "panko", 1, 5)
	normalize(t, c, 4)
	anew := func() {
		t.Helper()
		if err := jetStream(t, c).DeleteStream(testContext(t), event.StreamRaw); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Provision(testContext(t), layout, jetstream.CreateMissing); err != nil {
			t.Fatal(err)
		}
	}
	// A copy that lacks the last three, and what was collected since.
	anew()
	collect(t, c, "panko", 1, 2)
	collect(t, c, "panko", 101, 104)
	m := mend(t, c, event.Regressed)
	want := []event.RawGap{{Source: "panko", From: 3, To: 4, Before: gapNoon.Add(4 * time.Minute)}}
	if diff := cmp.Diff(want, m.Again); diff != "" || len(m.Gaps) > 0 {
		t.Errorf("may come again (-want +got):\n%s\nlost: %v", diff, m.Gaps)
	}
	if got := normalize(t, c, 4); got.Position != 8 || got.Sources["panko"].Position != 6 {
		t.Errorf("it ended at %+v", got)
	}
	// Nothing of what was there, and what was collected since has numbers from 1.
	anew()
	collect(t, c, "panko", 201, 203)
	m = mend(t, c, event.Regressed)
	if len(m.Again) != 1 || m.Again[0].From != 1 || m.Again[0].To != 6 || m.Cursor.Sources["panko"].Position != 0 {
		t.Errorf("it goes on at %+v, again %v", m.Cursor, m.Again)
	}
	if got := normalize(t, c, 3); got.Position != 11 || got.Sources["panko"].Position != 3 {
		t.Errorf("it ended at %+v", got)
	}
}

func TestRecall(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	collect(t, c, "panko", 1, 10) // 1 to 10
	collect(t, c, "amqp", 6, 9)   // 12 to 15
	w := publisher.NewRaw(c.Raw(), c.Bodies(), prov, "http", event.Fence{}, publisher.Options{})
	if _, err := w.Open(testContext(t)); err != nil {
		t.Fatal(err)
	}
	to := gapNoon.Add(7 * time.Minute)
	recall := func() jetstream.Recall {
		t.Helper()
		r, err := c.Recall(testContext(t), prov, "panko", to)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	got := recall()
	if got.From != 7 || got.Events != 4 || got.Timeless != 0 || got.Gone != 0 || got.First.IsZero() || got.Keeps != 7*24*time.Hour {
		t.Errorf("recalled %+v", got)
	}
	if since := got.Since(time.Now()); !since.IsZero() {
		t.Errorf("everything is there, and it can be rewound to %v only", since)
	}
	// In six days and 23.5 hours RAW will have dropped some of it before it is read again.
	if since, soon := got.Since(got.First.Add(7*24*time.Hour-30*time.Minute)), got.First.Add(30*time.Minute); !since.Equal(soon) {
		t.Errorf("what is soon gone counts as held: %v, want %v", since, soon)
	}
	if _, err := w.Commit(testContext(t), []event.Raw{{ID: "a", Received: time.Now()}}, event.Progress{}); err != nil {
		t.Fatal(err)
	}
	drop(t, c, 1, 2)
	got = recall()
	if got.From != 7 || got.Timeless != 1 || got.Deep != 1 || got.Gone != 2 || !got.Since(time.Now()).Equal(got.First) {
		t.Errorf("recalled %+v", got)
	}
	to = gapNoon.Add(time.Hour)
	if got = recall(); got.From != 17 || got.Events != 0 {
		t.Errorf("recalled %+v, want nothing but the one without a time", got)
	}
}

func TestRecordsSayWhoWorks(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	collect(t, c, "panko", 1, 10)
	normalize(t, c, 4)
	h := newHolders(t)
	lease := "normalizer." + string(prov)
	defer member(t, h, c, "norm/2", lease)()
	until(t, "for the lease", func() bool { return h.holder(lease) == "norm/2" })
	holders, err := c.Holders(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Records(testContext(t), prov, holders)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Normalizer; got.Name != "norm/2" || got.Processes != 1 {
		t.Errorf("the lease is held by %+v", got)
	}
	if r.Collectors["panko"] != (event.Holder{}) || r.Waiting.IsZero() || r.Trouble != nil || r.Raw["panko"].Position != 10 ||
		r.Normalized.Position != 4 {
		t.Errorf("records are %+v", r)
	}
	names, err := c.Providers(testContext(t))
	if err != nil || len(names) != 1 || names[0] != prov {
		t.Errorf("providers are %v, %v", names, err)
	}
	drop(t, c, 5, 6)
	drop(t, c, 1, 4)
	if r, err = c.Records(testContext(t), prov, holders); err != nil || event.KindOf(r.Trouble) != event.Expired {
		t.Errorf("raw events are gone, and it says %v, %v", r.Trouble, err)
	}
}

// What was given up is so in the RAW that was there: in another one the numbers are those of others.
func TestGivenUp(t *testing.T) {
	c := jetstreamtest.Server(t).Client(t)
	given := func() event.GivenUp {
		t.Helper()
		g, err := c.Archive().GivenUp(testContext(t), prov)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	if g := given(); len(g.Gaps) > 0 || !g.At.IsZero() {
		t.Errorf("nothing was normalized, and given up is %+v", g)
	}
	collect(t, c, "panko", 1, 10)
	normalize(t, c, 3)
	drop(t, c, 1, 6)
	if g, err := c.Archive().GivenUp(testContext(t), prov); event.KindOf(err) != event.Expired {
		t.Errorf("it waits for somebody who gives up events, and says %+v, %v", g, err)
	}
	mend(t, c, event.Expired)
	before := given()
	if before.Has("panko", 3) || !before.Has("panko", 4) || !before.Has("panko", 6) || before.Has("panko", 7) || before.Has("amqp", 5) {
		t.Errorf("given up is %+v", before)
	}
	if err := jetStream(t, c).DeleteStream(testContext(t), event.StreamRaw); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Provision(testContext(t), jetstream.DefaultLayout(1).Within(1<<30), jetstream.CreateMissing); err != nil {
		t.Fatal(err)
	}
	collect(t, c, "panko", 101, 110)
	if g := given(); len(g.Gaps) > 0 || !g.At.Equal(before.At) {
		t.Errorf("RAW is another one, and given up is %+v", g)
	}
}
