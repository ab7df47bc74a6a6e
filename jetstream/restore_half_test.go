package jetstream_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

var errKilled = errors.New("killed")

// halfway restores all streams but for the end.
func halfway(t *testing.T, c *jetstream.Client, b *jetstream.Backup) {
	t.Helper()
	_, err := c.Restore(testContext(t), b, jetstream.RestoreOptions{Replace: true, Settle: func() error { return errKilled }})
	if !errors.Is(err, errKilled) || !strings.Contains(err.Error(), "run the same restore again") {
		t.Fatalf("the restore ended with %v", err)
	}
}

// What fails before anything is deleted leaves everything as it was, and the mark is there before anything is deleted.
func TestARestoreThatHasNotBegun(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	b := backupOfAll(t, client)
	mustAppend(t, client.Raw(), rawBatch("after", 1, 1, 0))
	was := contents(t, client)
	marked := false
	_, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{Replace: true, Sync: func() error {
		marked = refused(t, client)
		return errKilled
	}})
	if !errors.Is(err, errKilled) || !marked {
		t.Errorf("the restore ended with %v, and that it had begun was seen: %t", err, marked)
	}
	if refused(t, client) {
		t.Error("the streams are refused")
	}
	if diff := cmp.Diff(was, contents(t, client)); diff != "" {
		t.Error(diff)
	}
}

// The next restore has to make what the one that was interrupted would have made, and may be of another backup.
func TestTheNextRestoreLeavesNothingOut(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	b := backupOfAll(t, client)
	other := backupOfAll(t, jetstreamtest.Server(t).Client(t))
	halfway(t, client, b)
	if err := jetStream(t, client).DeleteStream(testContext(t), event.StreamRaw); err != nil {
		t.Fatal(err)
	}
	for name, streams := range map[string][]string{
		event.StreamRaw:  {event.StreamNormalized, "OBJ_" + event.BucketBodies}, // missing
		event.StreamDead: {event.StreamRaw, "OBJ_" + event.BucketBodies},        // in part
	} {
		_, err := client.Restore(testContext(t), other, jetstream.RestoreOptions{Replace: true, Streams: streams})
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), name+" is not whole since a restore of "+b.Dir()) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	restore(t, client, other, jetstream.RestoreOptions{})
	if refused(t, client) {
		t.Error("the streams are refused")
	}
}

// Earlier versions made no mark beside what they restored: that is refused for what it says itself.
func TestWhatEarlierRestoresLeft(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	b := backupOfAll(t, client)
	halfway(t, client, b)
	unmark(t, client)
	if !refused(t, client) {
		t.Error("nothing refuses the streams")
	}
	if _, err := client.Records(testContext(t), prov, jetstream.Holders{}); event.KindOf(err) != event.Invalid ||
		!strings.Contains(err.Error(), "was restored in part") {
		t.Errorf("where it stands: %v", err)
	}
	restore(t, client, b, jetstream.RestoreOptions{})
	if refused(t, client) {
		t.Error("the streams are refused")
	}
}

// What a restore of a part leaves is marked as well, and one that makes more may follow.
func TestARestoreOfAPartIsInterrupted(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	b := backupOfAll(t, client)
	whole := contents(t, client)
	_, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{
		Replace: true, Streams: []string{event.StreamRaw}, Settle: func() error { return errKilled },
	})
	if !errors.Is(err, errKilled) || !refused(t, client) {
		t.Errorf("the restore ended with %v", err)
	}
	if _, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{}); event.KindOf(err) != event.Invalid ||
		!strings.Contains(err.Error(), "would have to be replaced") {
		t.Errorf("one that would replace what is whole: %v", err)
	}
	halfway(t, client, b)
	if !refused(t, client) {
		t.Error("nothing refuses the streams")
	}
	restore(t, client, b, jetstream.RestoreOptions{Replace: true})
	if diff := cmp.Diff(whole, contents(t, client)); diff != "" || refused(t, client) {
		t.Errorf("it is refused, or has %s", diff)
	}
}

// A server that is killed while it deletes a stream, or writes its settings, does not find the stream when it runs again, but
// comes across the files as soon as there is to be one of that name.
func TestARestoreOverFilesThatAreLeft(t *testing.T) {
	b := backupOfAll(t, jetstreamtest.Server(t).Client(t))
	dir := t.TempDir()
	server := openEmbedded(t, jetstream.EmbeddedConfig{Dir: dir, Bulk: true})
	client, _ := connectInProcess(t, server)
	halfway(t, client, b)
	whole := contents(t, client)
	server.Stop()
	at := func(stream, file string) string {
		return filepath.Join(dir, "jetstream", "$G", "streams", stream, file)
	}
	for _, name := range jetstream.BackupStreams() {
		err := os.WriteFile(at(name, "meta.sum"), []byte("of other settings"), 0o600)
		if name == event.StreamRaw {
			err = os.Remove(at(name, "meta.inf"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "for the client to reconnect", func() bool { return client.Healthy() == nil })
	if found, err := client.Look(testContext(t), jetstream.BackupStreams()); err != nil || len(found) != 0 {
		t.Fatalf("it has found %+v, %v", found, err)
	}
	if !refused(t, client) {
		t.Error("nothing refuses what is there")
	}
	restore(t, client, b, jetstream.RestoreOptions{Sync: server.Sync, Settle: server.Settle})
	if diff := cmp.Diff(whole, contents(t, client)); diff != "" || refused(t, client) {
		t.Errorf("it is refused, or has %s", diff)
	}
}

// Earlier versions did back up what was restored in part.
func TestABackupOfAHalfRestoredStoreIsRefused(t *testing.T) {
	b := backupOfAll(t, jetstreamtest.Server(t).Client(t))
	name := filepath.Join(b.Dir(), "manifest.json")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]any
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, s := range manifest["streams"].([]any) {
		if s := s.(map[string]any); s["name"] == event.StreamRaw {
			s["config"].(map[string]any)["metadata"] = map[string]string{"stackstream.restoring": "another"}
		}
	}
	if text, err = json.Marshal(manifest); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = jetstream.OpenBackup(b.Dir())
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "its EVENTS_RAW lacks what would never be missed; use another backup") {
		t.Errorf("opening it: %v", err)
	}
}
