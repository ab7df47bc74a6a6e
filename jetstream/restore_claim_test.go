package jetstream_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
)

// Of two restores at once the one that began last makes the streams, wherever the other one is then: that ends at its next step,
// touches nothing and leaves the mark.
func TestTwoRestoresAtOnce(t *testing.T) {
	server := jetstreamtest.Server(t)
	first, second := server.Client(t), server.Client(t)
	one := backupOfAll(t, first)
	other := backupOfAll(t, jetstreamtest.Server(t).Client(t))
	replace := jetstream.RestoreOptions{Replace: true}
	takesOver := func(t *testing.T, whole bool, at func(*jetstream.RestoreOptions, func() error)) {
		t.Helper()
		var was map[string][]string
		began := func() error {
			if whole {
				restore(t, second, other, replace)
				mustAppend(t, second.Raw(), rawBatch("after", 1, 1, 0))
			} else {
				halfway(t, second, other)
			}
			was = contents(t, second)
			return nil
		}
		o := replace
		at(&o, began)
		_, err := first.Restore(testContext(t), one, o)
		want := "another restore, of " + other.Dir() + ", began at "
		if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "run the same") {
			t.Errorf("the first one ended with %v", err)
		}
		if diff := cmp.Diff(was, contents(t, second)); diff != "" {
			t.Errorf("the first one went on: %s", diff)
		}
		if refused(t, second) == whole {
			t.Errorf("the second one is through: %t, and the streams are refused: %t", whole, !whole)
		}
		restore(t, second, other, replace)
	}
	for name, at := range map[string]func(*jetstream.RestoreOptions, func() error){
		"before it deletes":      func(o *jetstream.RestoreOptions, began func() error) { o.Sync = began },
		"when it has sent all":   func(o *jetstream.RestoreOptions, began func() error) { o.Settle = began },
		"while it sends the raw": func(o *jetstream.RestoreOptions, began func() error) { o.Progress = once(began) },
	} {
		t.Run(name, func(t *testing.T) {
			takesOver(t, true, at)
			takesOver(t, false, at)
		})
	}
}

// once calls f when something of RAW was sent.
func once(f func() error) func(stream string, done, total uint64) {
	called := false
	return func(stream string, done, _ uint64) {
		if stream == event.StreamRaw && done > 1 && !called {
			called = true
			_ = f() // it always is
		}
	}
}

// A mark that was taken away by one that noticed the claim too late is there again at the next step.
func TestTheMarkIsWrittenAgain(t *testing.T) {
	client := jetstreamtest.Server(t).Client(t)
	b := backupOfAll(t, client)
	gone := func() error { unmark(t, client); return nil }
	_, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{
		Replace: true, Sync: gone, Settle: func() error { return errKilled },
	})
	if err == nil || !refused(t, client) {
		t.Fatalf("it ended with %v", err)
	}
	if err := client.HalfRestored(testContext(t)); err == nil || !strings.Contains(err.Error(), "a restore of "+b.Dir()) {
		t.Errorf("what refuses is %v", err)
	}
	restore(t, client, b, jetstream.RestoreOptions{Replace: true, Settle: gone})
	if refused(t, client) {
		t.Error("the streams are refused")
	}
}

// What is made after it was looked what there is is not replaced by a restore that was not to replace anything.
func TestStreamsThatAreMadeWhileARestoreBegins(t *testing.T) {
	b := backupOfAll(t, jetstreamtest.Server(t).Client(t))
	client := jetstreamtest.Server(t, jetstreamtest.Bare()).Client(t)
	made := func() error {
		config := b.Streams[2].Config
		_, err := jetStream(t, client).CreateStream(testContext(t), config)
		if err == nil {
			mustAppend(t, client.Raw(), rawBatch("after", 1, 1, 0))
		}
		return err
	}
	_, err := client.Restore(testContext(t), b, jetstream.RestoreOptions{Sync: made})
	if event.KindOf(err) != event.Invalid || !strings.Contains(err.Error(), event.StreamRaw+" was made just now") {
		t.Errorf("it ended with %v", err)
	}
	if n := len(messages(t, client, event.StreamRaw)); n == 0 {
		t.Error("what was collected is gone")
	}
	if refused(t, client) {
		t.Error("the streams are refused")
	}
}

// unmark takes the mark of a restore away.
func unmark(t *testing.T, c *jetstream.Client) {
	t.Helper()
	mark(t, c, "")
}

// mark puts a mark, none if it is "", in place of the one that is there, and returns that.
func mark(t *testing.T, c *jetstream.Client, text string) (was string) {
	t.Helper()
	js := jetStream(t, c)
	owners, err := js.Stream(testContext(t), "KV_OWNERS")
	if err != nil {
		t.Fatal(err)
	}
	config := owners.CachedInfo().Config
	was = config.Metadata["stackstream.restore"]
	if config.Metadata["stackstream.restore"] = text; text == "" {
		delete(config.Metadata, "stackstream.restore")
	}
	if _, err := js.UpdateStream(testContext(t), config); err != nil {
		t.Fatal(err)
	}
	return was
}
