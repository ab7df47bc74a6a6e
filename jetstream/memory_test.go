package jetstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

func TestIdentitiesAreReadFromASequenceOn(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	read := func(from event.StreamSeq) (ids []event.ID) {
		t.Helper()
		if err := client.Memory().Identities(ctx, prov, from, 0, func(s event.Seen) { ids = append(ids, s.ID) }); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if got := read(0); len(got) != 0 {
		t.Fatalf("an empty stream has %v", got)
	}
	first := mustAppend(t, client.Raw(), rawBatch("panko", 1, 2, 0))
	mustAppend(t, client.Raw(), rawBatch("amqp-nova", 1, 2, 0))
	mustAppend(t, client.Raw(), rawBatch("panko", 3, 1, first))
	other := rawBatch("panko", 1, 1, 0)
	other.Messages[0].Subject, other.Cursor.Subject = "events.raw.other.panko", "events.cursor.raw.other.panko"
	mustAppend(t, client.Raw(), other)

	if got, want := read(0), []event.ID{"panko-1", "panko-2", "amqp-nova-1", "amqp-nova-2", "panko-3"}; !slices.Equal(got, want) {
		t.Errorf("all are %v, want %v", got, want)
	}
	if got, want := read(5), []event.ID{"amqp-nova-2", "panko-3"}; !slices.Equal(got, want) {
		t.Errorf("from 5 on they are %v, want %v", got, want)
	}
	if got := read(100); len(got) != 0 {
		t.Errorf("behind the end there are %v", got)
	}
	var seen []event.Seen
	if err := client.Memory().Identities(ctx, prov, 7, 0, func(s event.Seen) { seen = append(seen, s) }); err != nil {
		t.Fatal(err)
	}
	want := []event.Seen{{ID: "panko-3", Source: "panko", Time: time.Unix(1700000003, 0).UTC(), Received: time.Unix(1700000000, 0).UTC(),
		Seq: 3, Sequence: 7}}
	if !slices.Equal(seen, want) {
		t.Errorf("got %+v, want %+v", seen, want)
	}
}

// What a provider had under former names is known to it, up to when it had them, without the numbers it had there.
func TestIdentitiesOfFormerNames(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	of := func(p event.Provider, b event.Batch) event.Batch {
		for i := range b.Messages {
			b.Messages[i].Subject = event.RawSubject(p, "panko")
		}
		b.Cursor.Subject = event.RawCursorSubject(p, "panko")
		return b
	}
	oldest := mustAppend(t, client.Raw(), of("oldest", rawBatch("panko", 1, 2, 0)))
	older := mustAppend(t, client.Raw(), of("older", rawBatch("panko", 3, 2, 0)))
	mustAppend(t, client.Raw(), of("oldest", rawBatch("panko", 90, 1, oldest))) // somebody else has that name now
	b := of(prov, rawBatch("panko", 5, 1, 0))
	body, err := json.Marshal(event.RawCursor{Position: 5, Former: []event.Former{
		{Provider: "oldest", Until: oldest}, {Provider: "older", Until: older},
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.Cursor.Body = body
	mustAppend(t, client.Raw(), b)
	for from, want := range map[event.StreamSeq]string{
		0: "panko-1/0 panko-2/0 panko-3/0 panko-4/0 panko-5/5", 2: "panko-2/0 panko-3/0 panko-4/0 panko-5/5",
		oldest: "panko-3/0 panko-4/0 panko-5/5", older: "panko-5/5",
	} {
		var got []string
		last := event.StreamSeq(0)
		err := client.Memory().Identities(ctx, prov, from, 0, func(s event.Seen) {
			if s.Sequence <= last {
				t.Errorf("%d comes after %d", s.Sequence, last)
			}
			last = s.Sequence
			got = append(got, fmt.Sprintf("%s/%d", s.ID, s.Seq))
		})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("from %d on: %v, %v, want %s", from, got, err, want)
		}
	}
}

func TestIdentitiesOfMoreThanOneRequest(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	var cursor event.StreamSeq
	for i := range 6 {
		cursor = mustAppend(t, client.Raw(), rawBatch("panko", 999*i+1, 999, cursor))
	}
	n := 0
	last := event.StreamSeq(0)
	err := client.Memory().Identities(testContext(t), prov, 0, 0, func(s event.Seen) {
		if s.Sequence <= last {
			t.Fatalf("%d came after %d", s.Sequence, last)
		}
		last = s.Sequence
		n++
	})
	if err != nil || n != 6*999 {
		t.Fatalf("%d identities (%v), want %d", n, err, 6*999)
	}
}

func TestIdentitiesPassOverForeignMessages(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	cursor := mustAppend(t, client.Raw(), rawBatch("panko", 1, 1, 0))
	for range 2 {
		if _, err := client.Conn().RequestMsg(&nats.Msg{Subject: "ingest.raw.prod.panko", Data: []byte("by hand")}, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, client.Raw(), rawBatch("panko", 2, 1, cursor))
	var ids []event.ID
	// They must not keep the collector from starting: the normalizer makes dead letters of them.
	if err := client.Memory().Identities(testContext(t), prov, 0, 0, func(s event.Seen) { ids = append(ids, s.ID) }); err != nil {
		t.Fatal(err)
	}
	if want := []event.ID{"panko-1", "panko-2"}; !slices.Equal(ids, want) {
		t.Errorf("identities are %v, want %v", ids, want)
	}
}

func TestCursorsOfAllSources(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	if got, err := client.Memory().Cursors(ctx, prov); err != nil || len(got) != 0 {
		t.Fatalf("there are %v (%v), want none", got, err)
	}
	if _, err := client.Choices().WriteChoice(ctx, prov, event.Choice{Kind: "panko"}); err != nil {
		t.Fatal(err)
	}
	panko := mustAppend(t, client.Raw(), rawBatch("panko", 1, 2, 0))
	nova := mustAppend(t, client.Raw(), rawBatch("amqp-nova", 1, 4, 0))
	got, err := client.Memory().Cursors(ctx, prov)
	if err != nil || len(got) != 2 {
		t.Fatalf("there are %v (%v), want two", got, err)
	}
	if c := got["panko"]; c.Position != 2 || c.Sequence != panko || c.Batch != "batch-1" {
		t.Errorf("panko is at %+v, its cursor at %d", c, panko)
	}
	if c := got["amqp-nova"]; c.Position != 4 || c.Sequence != nova {
		t.Errorf("amqp-nova is at %+v, its cursor at %d", c, nova)
	}
	if _, err := client.Conn().RequestMsg(&nats.Msg{Subject: "ingest.cursor.raw.prod.panko", Data: []byte("not JSON")}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	_, err = client.Memory().Cursors(ctx, prov)
	wantKind(t, err, event.Invalid, "events.cursor.raw.prod.panko")
}

func TestChoicesAreFenced(t *testing.T) {
	choices := jetstreamtest.Server(t).Client(t).Choices()
	ctx := testContext(t)
	none, err := choices.ReadChoice(ctx, prov)
	if err != nil || none != (event.Choice{}) {
		t.Fatalf("the choice is %+v (%v), want none", none, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first, err := choices.WriteChoice(ctx, prov, event.Choice{Kind: "panko", Why: "it answers", At: at, By: "one"})
	if err != nil || first.Sequence == 0 {
		t.Fatalf("wrote %+v (%v)", first, err)
	}
	_, err = choices.WriteChoice(ctx, prov, event.Choice{Kind: "amqp"})
	if known := wantKind(t, err, event.Fenced, ""); known.Last != first.Sequence {
		t.Errorf("it says that %d is there, want %d", known.Last, first.Sequence)
	}
	second := first
	second.Kind = "amqp"
	if second, err = choices.WriteChoice(ctx, prov, second); err != nil {
		t.Fatal(err)
	}
	if got, err := choices.ReadChoice(ctx, prov); err != nil || got != second {
		t.Fatalf("the choice is %+v (%v), want %+v", got, err, second)
	}
}

func TestReadCursorWaitsForTheStream(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	ctx, log := testContext(t), client.Raw()
	subject := event.RawCursorSubject(prov, "panko")
	if m, ok, err := log.ReadCursor(ctx, subject, 0); err != nil || ok {
		t.Fatalf("there is %+v (%v), want none", m, err)
	}
	cursor := mustAppend(t, log, rawBatch("panko", 1, 1, 0))
	later := mustAppend(t, log, rawBatch("amqp-nova", 1, 1, 0))
	if m, ok, err := log.ReadCursor(ctx, subject, later); err != nil || !ok || m.Sequence != cursor {
		t.Fatalf("the cursor is at %d (%v, %v), want %d although the stream is at %d", m.Sequence, ok, err, cursor, later)
	}
	if _, ok, err := log.ReadCursor(ctx, event.RawCursorSubject(prov, "none"), later); err != nil || ok {
		t.Fatalf("there is one (%v), want none", err)
	}
	_, _, err := log.ReadCursor(ctx, subject, later+1)
	wantKind(t, err, event.Regressed, "EVENTS_RAW ends at")

	read := make(chan event.Stored, 1)
	go func() {
		m, _, err := log.ReadCursor(ctx, subject, later+2)
		if err != nil {
			t.Errorf("waiting for the cursor: %v", err)
		}
		read <- m
	}()
	next := mustAppend(t, log, rawBatch("panko", 2, 1, cursor))
	if m := <-read; m.Sequence != next {
		t.Fatalf("the cursor is at %d, want %d", m.Sequence, next)
	}
}

func TestWatermarksCompareBothCursors(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	if got, err := client.Watermarks(ctx, ""); err != nil || len(got) != 0 {
		t.Fatalf("there are %v (%v), want none", got, err)
	}
	write := func(log *jetstream.Log, subject string, record any) {
		t.Helper()
		body, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(ctx, event.Batch{Cursor: event.Message{Subject: subject, Body: body}}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	raw := func(position event.Seq, minute int) event.RawCursor {
		return event.RawCursor{Progress: event.Progress{Watermark: at(minute)}, Position: position, Received: at(minute), Owner: "one"}
	}
	write(client.Raw(), event.RawCursorSubject("b", "panko"), raw(10, 9))
	write(client.Raw(), event.RawCursorSubject("a", "panko"), raw(20, 5))
	write(client.Raw(), event.RawCursorSubject("a", "amqp"), raw(7, 6))
	write(client.Normalized(), event.NormalizedCursorSubject("a"), event.NormalizedCursor{
		Sources: map[event.Source]event.SourcePosition{"panko": {Position: 15, Received: at(3), Watermark: at(3)}, "amqp": {Position: 7}},
	})
	got, err := client.Watermarks(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []event.Watermark{
		{Provider: "a", Source: "amqp", Collected: 7, Normalized: 7, CollectedTime: at(6), NormalizedTime: at(6), Owner: "one"},
		{Provider: "a", Source: "panko", Collected: 20, Normalized: 15, CollectedTime: at(5), NormalizedTime: at(3),
			LagEvents: 5, Lag: 2 * time.Minute, Owner: "one"},
		{Provider: "b", Source: "panko", Collected: 10, CollectedTime: at(9), LagEvents: 10, Owner: "one"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, err := client.Watermarks(ctx, "b"); err != nil || !slices.Equal(got, want[2:]) {
		t.Errorf("of b alone: %+v (%v)", got, err)
	}
	if got, err := client.Providers(ctx); err != nil || !slices.Equal(got, []event.Provider{"a", "b"}) {
		t.Errorf("providers are %v (%v)", got, err)
	}
}

func TestBodiesAreStoredAndChecked(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	ctx, bodies := testContext(t), client.Bodies()
	body := make([]byte, 3<<20)
	for i := range body {
		body[i] = byte(i * 7)
	}
	ref := event.NewBodyRef(body)
	_, err := bodies.GetBody(ctx, ref)
	wantKind(t, err, event.Expired, ref.Object)
	for range 2 { // the second time it is there already
		if err := bodies.PutBody(ctx, ref, body); err != nil {
			t.Fatal(err)
		}
		if got, err := bodies.GetBody(ctx, ref); err != nil || !slices.Equal(got, body) {
			t.Fatalf("got %d bytes (%v), want %d", len(got), err, len(body))
		}
	}
	wantKind(t, bodies.PutBody(ctx, ref, body[1:]), event.Invalid, ref.Object)

	store, err := jetStream(t, client).ObjectStore(ctx, event.BucketBodies)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.PutBytes(ctx, ref.Object, []byte("something else")); err != nil {
		t.Fatal(err)
	}
	_, err = bodies.GetBody(ctx, ref)
	wantKind(t, err, event.Expired, "is not what its name says")
	if err := bodies.PutBody(ctx, ref, body); err != nil {
		t.Fatalf("putting it right: %v", err)
	}
	if got, err := bodies.GetBody(ctx, ref); err != nil || len(got) != len(body) {
		t.Fatalf("got %d bytes (%v), want %d", len(got), err, len(body))
	}
	empty := event.NewBodyRef(nil)
	if err := bodies.PutBody(ctx, empty, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := bodies.GetBody(ctx, empty); err != nil || len(got) != 0 {
		t.Fatalf("got %d bytes (%v), want none", len(got), err)
	}
}

func TestBodiesOfAFullBucket(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	change(t, client, "OBJ_"+event.BucketBodies, func(c *natsjs.StreamConfig) { c.MaxBytes = 1 << 20 })
	body := make([]byte, 2<<20)
	ref := event.NewBodyRef(body)
	for range 2 { // the second time there must be nothing that looks like the whole body
		wantKind(t, client.Bodies().PutBody(testContext(t), ref, body), event.Full, "maximum bytes")
	}
	change(t, client, "OBJ_"+event.BucketBodies, func(c *natsjs.StreamConfig) { c.MaxBytes = 8 << 20 })
	if err := client.Bodies().PutBody(testContext(t), ref, body); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Bodies().GetBody(testContext(t), ref); err != nil || len(got) != len(body) {
		t.Fatalf("got %d bytes (%v), want %d", len(got), err, len(body))
	}
	store, err := jetStream(t, client).Stream(testContext(t), "OBJ_"+event.BucketBodies)
	if err != nil {
		t.Fatal(err)
	}
	if n := store.CachedInfo().State.Msgs; n != 8+1 {
		t.Errorf("the bucket has %d messages, want eight chunks and what names them", n)
	}
}

// What is stored is an object as any client reads it, and what it replaces goes.
func TestBodiesAreObjects(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	body := make([]byte, 600<<10)
	ref := event.NewBodyRef(body)
	store, err := jetStream(t, client).ObjectStore(ctx, event.BucketBodies)
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range [][]byte{body[:1000], body} { // something else, and the same but of another size of chunks
		if _, err := store.PutBytes(ctx, ref.Object, old); err != nil {
			t.Fatal(err)
		}
		if err := client.Bodies().PutBody(ctx, ref, body); err != nil {
			t.Fatal(err)
		}
		if got, err := store.GetBytes(ctx, ref.Object); err != nil || len(got) != len(body) {
			t.Fatalf("read by another client: %d bytes, %v", len(got), err)
		}
	}
	status, err := store.Status(ctx)
	if err != nil || status.Size() < 600<<10 || status.Size() > 700<<10 {
		t.Errorf("the bucket has %d bytes, %v", status.Size(), err)
	}
}

func TestWhatANewerVersionWroteIsNotRead(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	ctx := testContext(t)
	mustAppend(t, client.Raw(), rawBatch("panko", 1, 2, 0))
	wantNewer := func(what string, err error) {
		t.Helper()
		var newer *event.NewerError
		if !errors.As(err, &newer) || newer.Found != 99 || event.KindOf(err) != event.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	put := func(subject, format, body string) {
		t.Helper()
		m := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
		if format != "" {
			m.Header.Set(event.HeaderMessageFormat, format)
		}
		if _, err := client.Conn().RequestMsg(m, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	put("ingest.raw.prod.panko", "99", "{}")
	wantNewer("identities", client.Memory().Identities(ctx, prov, 0, 0, func(event.Seen) {}))
	put("ingest.cursor.raw.prod", "", `{"kind": "panko", "format": 99}`)
	_, err := client.Choices().ReadChoice(ctx, prov)
	wantNewer("choice", err)
	put("ingest.cursor.normalized.prod", "", `{"position": 7, "format": 99}`)
	_, err = client.Watermarks(ctx, prov)
	wantNewer("watermarks by the normalizer's cursor", err)
	put("ingest.cursor.normalized.prod", "", `{"position": 7}`)
	put("ingest.cursor.raw.prod.panko", "", `{"position": 2, "format": 99}`)
	_, err = client.Watermarks(ctx, prov)
	wantNewer("watermarks by the collector's cursor", err)
	_, err = client.Memory().Cursors(ctx, prov)
	wantNewer("cursors", err)
	_, err = client.Feed().Open(ctx, prov, event.NormalizedCursor{})
	wantNewer("feed", err)
}
