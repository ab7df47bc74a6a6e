package jetstream_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// filled returns a client of a server with a hundred events, which do not become smaller on their way.
func filled(t *testing.T) *jetstream.Client {
	t.Helper()
	client := jetstreamtest.Server(t).Client(t)
	b := rawBatch("panko", 1, 100, 0)
	noise := rand.NewChaCha8([32]byte{})
	for i := range b.Messages {
		b.Messages[i].Body = make([]byte, 8<<10)
		_, _ = noise.Read(b.Messages[i].Body) // never fails
	}
	mustAppend(t, client.Raw(), b)
	return client
}

func TestAnInterruptedBackupIsNone(t *testing.T) {
	client := filled(t)
	dir := filepath.Join(t.TempDir(), "backup")
	ctx, cancel := context.WithCancel(testContext(t))
	_, err := client.Backup(ctx, jetstream.BackupOptions{Dir: dir, Progress: func(stream string, _, _ uint64) {
		if stream == event.StreamRaw {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the backup ended with %v", err)
	}
	if _, err := jetstream.OpenBackup(dir); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("opening what is left of it: %v", err)
	}
	if _, err := client.Backup(testContext(t), jetstream.BackupOptions{Dir: dir}); event.KindOf(err) != event.Invalid ||
		!strings.Contains(err.Error(), "is not empty") {
		t.Errorf("another one into its directory: %v", err)
	}
}

func TestADamagedBackupIsRefusedByName(t *testing.T) {
	b := backup(t, filled(t))
	if _, err := filled(t).Backup(testContext(t), jetstream.BackupOptions{Dir: b.Dir()}); event.KindOf(err) != event.Invalid {
		t.Errorf("another backup into its directory: %v", err)
	}
	entries, err := os.ReadDir(b.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(b.Dir(), e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		if e.Name() == "manifest.json" {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, damaged := range map[string][]byte{
			"cut short": content[:len(content)-1], "changed": append([]byte{content[0] ^ 1}, content[1:]...), "gone": nil,
		} {
			if damaged == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, damaged, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Verify(testContext(t), nil); event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), e.Name()) {
				t.Errorf("%s %s: %v", e.Name(), what, err)
			}
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Verify(testContext(t), nil); err != nil {
		t.Error(err)
	}
}

// A server keeps what it has got of a stream whose rest never comes. Nothing takes it for the whole, nothing can be collected
// into it, and the next restore begins anew.
func TestAnInterruptedRestore(t *testing.T) {
	b := backup(t, filled(t))
	server := jetstreamtest.Server(t, jetstreamtest.Bare())
	client := server.Client(t)
	ctx, cancel := context.WithCancel(testContext(t))
	_, err := client.Restore(ctx, b, jetstream.RestoreOptions{Progress: func(stream string, done, _ uint64) {
		if stream == event.StreamRaw && done == 50 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the restore ended with %v", err)
	}
	js := jetStream(t, client)
	half, err := js.Stream(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the server has %d messages, in %v", half.CachedInfo().State.Msgs, half.CachedInfo().Config.Subjects)
	if !refused(t, client) {
		t.Error("nothing refuses it")
	}
	if _, err := client.Raw().Append(testContext(t), rawBatch("panko", 1, 1, 0)); err == nil {
		t.Error("something can be collected into it")
	}
	restore(t, client, b, jetstream.RestoreOptions{})
	server.Restart(t)
	client = server.Client(t)
	plan, err := client.Plan(testContext(t), jetstream.DefaultLayout(1).Within(1<<30))
	if err != nil || plan.Broken() != nil {
		t.Errorf("the streams are %v, %v", plan.Broken(), err)
	}
	read(t, open(t, client, event.NormalizedCursor{}), "panko", 1, 100)
}

// What a restore that did not end has left is replaced by the next one without a word.
func TestARestoreIsBegunAnew(t *testing.T) {
	b := backup(t, filled(t))
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	ctx, cancel := context.WithCancel(testContext(t))
	_, err := client.Restore(ctx, b, jetstream.RestoreOptions{Progress: func(string, uint64, uint64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the restore ended with %v", err)
	}
	restore(t, client, b, jetstream.RestoreOptions{})
	read(t, open(t, client, event.NormalizedCursor{}), "panko", 1, 100)
	if _, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{}); event.KindOf(err) != event.Invalid ||
		!strings.Contains(err.Error(), "exists") {
		t.Errorf("another restore over it: %v", err)
	}
}

// A stream that copies another would copy all of one that is made anew.
func TestDeadLettersAreNotCopiedTwice(t *testing.T) {
	client := filled(t)
	b := backup(t, client, event.StreamNormalized)
	_, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{Replace: true})
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "would copy all dead letters") {
		t.Errorf("the restore ended with %v", err)
	}
}

// The sequences that a stream handed out after the backup are not used again, and what the backup does not have of a durable's
// past comes again.
func TestRestoredPositions(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	cursor := mustAppend(t, client.Raw(), rawBatch("panko", 1, 100, 0))
	r := open(t, client, event.NormalizedCursor{})
	before := normalized(r, cursor-1, "panko", 100)
	r.Close()
	js := jetStream(t, client)
	for _, name := range []string{"archive", "normalizer-" + string(prov)} {
		if _, err := js.CreateConsumer(testContext(t), event.StreamRaw, natsjs.ConsumerConfig{
			Durable: name, AckPolicy: natsjs.AckAllPolicy, FilterSubject: event.RawSubjects(prov),
		}); err != nil && !errors.Is(err, natsjs.ErrConsumerExists) {
			t.Fatal(err)
		}
	}
	take := func(n int) natsjs.Msg {
		t.Helper()
		cons, err := jetStream(t, client).Consumer(testContext(t), event.StreamRaw, "archive")
		if err != nil {
			t.Fatal(err)
		}
		batch, err := cons.Fetch(n)
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
		return last
	}
	take(40)
	b := backup(t, client, event.StreamRaw)
	mustAppend(t, client.Raw(), rawBatch("panko", 101, 100, cursor))
	take(120)

	done := restore(t, client, b, jetstream.RestoreOptions{Replace: true})
	if len(done) != 1 || len(done[0].Durables) != 1 || done[0].Durables[0] != "archive" || done[0].Messages != 101 {
		t.Fatalf("restored are %+v", done)
	}
	// The normalizer, whose stream was not restored, does not take it for the one that it knows.
	if _, err := client.Feed().Open(testContext(t), prov, before); event.KindOf(err) != event.Regressed {
		t.Errorf("a normalizer goes on with %v", err)
	}
	if m := take(1); m.Headers().Get(event.HeaderID) != "panko-41" {
		t.Errorf("the durable goes on with %s", m.Headers().Get(event.HeaderID))
	}
	if next := mustAppend(t, client.Raw(), rawBatch("panko", 101, 1, cursor)); next <= 2*cursor {
		t.Errorf("what is collected next is at %d", next)
	}
	if err := b.Verify(testContext(t), nil); err != nil {
		t.Error(err)
	}
}
