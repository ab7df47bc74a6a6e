package jetstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/publisher"
)

// A source that is set back fences all who write under the provider's choice, and who reads the cursors as of the choice that is
// there then finds the one that was set.
func TestASourceIsSetBackTogetherWithTheChoice(t *testing.T) {
	t.Run("one server", func(t *testing.T) { checkSetBack(t, jetstreamtest.Server(t).Client(t)) })
	t.Run("a cluster", func(t *testing.T) { checkSetBack(t, jetstreamtest.Cluster(t).Client(t)) })
}

func checkSetBack(t *testing.T, c *jetstream.Client) {
	ctx := testContext(t)
	chosen, err := c.Choices().WriteChoice(ctx, prov, event.Choice{Kind: "panko", Why: "it answers"})
	if err != nil {
		t.Fatal(err)
	}
	fence := event.Fence{Subject: event.ChoiceSubject(prov), Sequence: chosen.Sequence}
	collect := func(s event.Source, ids ...event.ID) *publisher.Raw {
		t.Helper()
		w := publisher.NewRaw(c.Raw(), c.Bodies(), prov, s, fence, publisher.Options{})
		_, err := w.Open(ctx)
		for _, id := range ids {
			if err == nil {
				_, err = w.Commit(ctx, []event.Raw{{ID: id, Received: time.Now()}}, event.Progress{Cursor: event.Cursor(`"read"`)})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	live, job := collect("panko", "a", "b"), collect("backfill-gap", "c")
	_, err = publisher.SetBack(ctx, c.Raw(), prov, "panko", publisher.Options{Owner: "ada"},
		func(cursor *event.RawCursor, _ bool) (event.Command, error) {
			cursor.Cursor = event.Cursor(`"back"`)
			return event.Command{Verb: event.VerbRewind}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []*publisher.Raw{live, job} {
		_, err := w.Commit(ctx, []event.Raw{{ID: "d", Received: time.Now()}}, event.Progress{})
		wantKind(t, err, event.Fenced, "")
	}
	now, err := c.Choices().ReadChoice(ctx, prov)
	if err != nil || now.Kind != "panko" || now.Why != "it answers" || now.Sequence <= chosen.Sequence {
		t.Errorf("the choice is %+v, %v", now, err)
	}
	cursors, err := c.Memory().CursorsAsOf(ctx, prov, now.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if at := cursors["panko"]; len(cursors) != 2 || string(at.Cursor) != `"back"` || at.Position != 2 || at.Sequence != now.Sequence-2 {
		t.Errorf("the cursors as of the choice at %d are %+v", now.Sequence, cursors)
	}
	done, err := c.Commands(ctx, prov)
	if err != nil || len(done) != 1 || done[0].Verb != event.VerbRewind || done[0].Source != "panko" || done[0].By != "ada" {
		t.Errorf("on record is %+v, %v", done, err)
	}
	checkBackupAfterSetBack(t, c, now.Sequence, done)
	// Who has read what is there goes on.
	fence.Sequence = now.Sequence
	collect("panko", "d")
	collect("backfill-gap", "e")

	brief, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := c.Memory().CursorsAsOf(brief, prov, now.Sequence+1000); event.KindOf(err) != event.Unavailable {
		t.Errorf("as of what is not there yet: %v", err)
	}
}

// A backup that is made before anybody writes again has what was written down of the command, behind the cursor that it set.
func checkBackupAfterSetBack(t *testing.T, c *jetstream.Client, last event.StreamSeq, done []jetstream.Commanded) {
	t.Helper()
	b := backup(t, c)
	raw := b.Streams[2]
	if raw.Through != uint64(last) || raw.Last != uint64(last) {
		t.Errorf("the backup has all up to %d of %d, want %d", raw.Through, raw.Last, last)
	}
	restored := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	restore(t, restored, b, jetstream.RestoreOptions{Replicas: 1})
	end := func(c *jetstream.Client) []string { all := contents(t, c)[event.StreamRaw]; return all[len(all)-3:] }
	if diff := cmp.Diff(end(c), end(restored)); diff != "" {
		t.Errorf("cursor, trace and choice: %s", diff)
	}
	again, err := restored.Commands(testContext(t), prov)
	if diff := cmp.Diff(done, again); diff != "" || err != nil {
		t.Errorf("on record is, %v: %s", err, diff)
	}
}
