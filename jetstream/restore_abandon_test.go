package jetstream_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// marked is a restore that is killed when it has made its mark.
func marked(t *testing.T, server string, b *jetstream.Backup, streams ...string) {
	t.Helper()
	client, err := jetstream.Connect(testContext(t), jetstream.Config{URLs: []string{server}}, zerolog.Nop(), jetstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Restore(testContext(t), b, jetstream.RestoreOptions{Replace: true, Streams: streams, Sync: func() error {
		closed, cancel := context.WithCancel(context.Background())
		cancel()
		_ = client.Close(closed) // at once
		return errKilled
	}})
	if !errors.Is(err, errKilled) {
		t.Fatalf("it ended with %v", err)
	}
}

// cannotBeAbandoned wants that a restore can't be.
func cannotBeAbandoned(t *testing.T, c *jetstream.Client, why string) {
	t.Helper()
	err := c.Abandon(testContext(t))
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "`stackstream restore --replace ") {
		t.Errorf("it is abandoned: %v, want %q", err, why)
	}
	if !refused(t, c) {
		t.Error("nothing refuses the streams")
	}
}

// What was not touched may be used again, with all that came after the backup.
func TestARestoreThatDidNothingIsAbandoned(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	b := backupOfAll(t, client)
	mustAppend(t, client.Raw(), rawBatch("after", 1, 1, 0))
	was := contents(t, client)
	if m, err := client.Interrupted(testContext(t)); m != nil || err != nil {
		t.Errorf("before any restore there is %+v, %v", m, err)
	}
	marked(t, server.URL(), b)
	m, err := client.Interrupted(testContext(t))
	if err != nil || m.Dir != b.Dir() || len(m.Streams) != 4 ||
		slices.ContainsFunc(m.Streams, func(s jetstream.WholeStream) bool { return s.Restored }) {
		t.Fatalf("there is %+v, %v", m, err)
	}
	if err := client.Abandon(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, contents(t, client)); diff != "" || refused(t, client) {
		t.Errorf("it is refused, or has %s", diff)
	}
	if err := client.Abandon(testContext(t)); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// A restore that has opened all streams and was killed before it took away its mark has left nothing undone either.
func TestARestoreThatDidAllIsAbandoned(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	b := backupOfAll(t, client)
	whole := contents(t, client)
	restore(t, client, b, jetstream.RestoreOptions{Replace: true})
	marks := "" // as it is before all streams are open
	_, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{
		Replace: true, Settle: func() error { marks = mark(t, client, ""); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	mark(t, client, marks)
	m, err := client.Interrupted(testContext(t))
	if err != nil || slices.ContainsFunc(m.Streams, func(s jetstream.WholeStream) bool { return !s.Restored }) {
		t.Fatalf("there is %+v, %v", m, err)
	}
	if err := client.Abandon(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole, contents(t, client)); diff != "" || refused(t, client) {
		t.Errorf("it is refused, or has %s", diff)
	}
}

// Whatever is missing, incomplete, or not what it was, keeps a restore from being abandoned.
func TestWhatIsNotWholeIsNotAbandoned(t *testing.T) {
	server := jetstreamtest.Server(t)
	client := server.Client(t)
	b := backupOfAll(t, client)
	js := jetStream(t, client)
	halfway(t, client, b)
	cannotBeAbandoned(t, client, "EVENTS_DEAD has only a part of what a restore of "+b.Dir())
	restore(t, client, b, jetstream.RestoreOptions{Replace: true})

	marked(t, server.URL(), b, event.StreamRaw)
	raw, err := js.Stream(testContext(t), event.StreamRaw)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(testContext(t), event.StreamRaw); err != nil {
		t.Fatal(err)
	}
	cannotBeAbandoned(t, client, "EVENTS_RAW is missing since a restore of "+b.Dir())

	// One of its name is not the one that was there, whoever looks when.
	config := raw.CachedInfo().Config
	maps.DeleteFunc(config.Metadata, func(name, _ string) bool { return strings.HasPrefix(name, "stackstream.") })
	if _, err := js.CreateStream(testContext(t), config); err != nil {
		t.Fatal(err)
	}
	const another = "EVENTS_RAW is not known to be the stream that was there"
	cannotBeAbandoned(t, client, another)
	marked(t, server.URL(), b)
	cannotBeAbandoned(t, client, another)
	restore(t, client, b, jetstream.RestoreOptions{Replace: true})

	marks := mark(t, client, `{"dir":"/old","began":"2026-01-01T00:00:00Z","streams":["EVENTS_RAW"],"there":["EVENTS_RAW"]}`)
	if marks != "" {
		t.Errorf("the restore has left the mark %s", marks)
	}
	mark(t, client, "of a newer version")
	cannotBeAbandoned(t, client, "what the restore was to make can't be read")
}

// Who is at work keeps a restore from being abandoned, and one that runs still deletes nothing any more.
func TestAbandonAndWhoeverIsThere(t *testing.T) {
	server := jetstreamtest.Server(t)
	client, other := server.Client(t), server.Client(t)
	b := backupOfAll(t, client)
	was := contents(t, client)
	_, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{
		Replace: true, Sync: func() error { return other.Abandon(testContext(t)) },
	})
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), "a `restore --abandon` began at ") {
		t.Errorf("the restore ended with %v", err)
	}
	if diff := cmp.Diff(was, contents(t, client)); diff != "" || refused(t, client) {
		t.Errorf("it is refused, or has %s", diff)
	}
}
