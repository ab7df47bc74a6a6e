package provider_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/app/provider"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/publisher"
)

// Nothing is touched while somebody works for it.
func TestRemoveRefusesWhatIsWorkedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.work("prod", 2, "a", "b")
	wantProblem(t, w.remove("prod", true), "host/1 collects through test; host/1 normalizes")
	wantProblem(t, w.rename("prod", "next"), "is still worked for")
	stop()
	w.wantRaw("prod", "a", "b")
}

// As long as there are events the positions stay: added again it goes on, and nothing comes twice.
func TestRemovedAndAddedAgainGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := w.subscriber()
	w.works("prod", 3, "a", "b", "c")
	if err := w.remove("prod", false); err != nil {
		t.Fatal(err)
	}
	if h := w.look("prod"); h.Consumer || len(h.Owners) > 0 || len(h.Sources["test"].Cursor) == 0 || h.Choice.Kind != "test" ||
		h.Choice.Removed == nil || h.Sources["test"].Sequence > h.Choice.Sequence {
		t.Errorf("there is %+v", h)
	}
	w.works("prod", 4, "b", "c", "d")
	w.wantRaw("prod", "a", "b", "c", "d")
	jetstreamtest.Eventually(t, "for the subscriber to have all", func() bool { return len(seen()) == 4 })
	if got, want := seen(), []string{"prod a 1", "prod b 2", "prod c 3", "prod d 4"}; !slices.Equal(got, want) {
		t.Errorf("the subscriber has %v, want %v", got, want)
	}
}

// A lease that is changing hands when one looks does not make a provider idle.
func TestWhoWaitsForALeaseIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a")
	other := jetstream.NewLeases(w.client, event.RoleCollector, "host/2")
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() { _ = other.Run(ctx) })
	held := make(chan struct{})
	hold := func(l *jetstream.Leases, work func(context.Context) error) {
		loops.Go(func() { _ = l.Hold(ctx, collectors.LeaseKey("prod", "test"), func(bool, string) {}, work) })
	}
	release := make(chan struct{})
	hold(other, func(ctx context.Context) error { close(held); <-release; return nil })
	<-held
	taken := make(chan struct{})
	hold(w.leases[event.RoleCollector], func(ctx context.Context) error { close(taken); <-ctx.Done(); return nil })
	jetstreamtest.Eventually(t, "for it to be seen that somebody waits", func() bool { return w.look("prod").Unsure() > 0 })
	close(release)
	wantProblem(t, w.remove("prod", true), "collects through test")
	<-taken
	w.wantRaw("prod", "a")
	cancel()
	loops.Wait()
}

// Purged, nothing is left but the numbers: it begins anew behind them, and subscribers do not notice.
func TestPurgedAndAddedAgainBeginsAnewBehindItsNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := w.subscriber()
	w.works("prod", 3, "a", "b", "c")
	w.works("other", 1, "x")
	jetstreamtest.Eventually(t, "for the subscriber to have all", func() bool { return len(seen()) == 4 })
	if err := w.remove("prod", true); err != nil {
		t.Fatal(err)
	}
	h := w.look("prod")
	if !provider.Gone(h) || h.Sources["test"].Position != 3 || h.Normalized.Position != 3 {
		t.Errorf("there is %+v", h)
	}
	w.wantRaw("prod")
	w.wantRaw("other", "x")
	if err := w.remove("prod", true); err != nil { // once more does no harm
		t.Fatal(err)
	}
	w.works("prod", 6, "a", "b", "z")
	w.wantRaw("prod", "a", "b", "z")
	jetstreamtest.Eventually(t, "for the subscriber to have all", func() bool { return len(seen()) == 7 })
	if got, want := seen()[4:], []string{"prod a 4", "prod b 5", "prod z 6"}; !slices.Equal(got, want) {
		t.Errorf("the subscriber has %v, want %v", got, want)
	}
}

// What was not normalized is passed over knowingly when it is purged, or the normalizer would wait for it for ever.
func TestPurgeOfWhatIsNotNormalized(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.works("prod", 2, "a", "b")
	raw := publisher.NewRaw(w.client.Raw(), w.client.Bodies(), "prod", "test", event.Fence{}, publisher.Options{})
	if _, err := raw.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Commit(t.Context(), []event.Raw{{ID: "c", Format: "test", Body: []byte(`{}`)}}, event.Progress{}); err != nil {
		t.Fatal(err)
	}
	if n := w.look("prod").Unnormalized(); n != 1 {
		t.Fatalf("%d are not normalized", n)
	}
	wantProblem(t, w.rename("prod", "next"), "1 raw events of prod are not normalized")
	if err := w.remove("prod", true); err != nil {
		t.Fatal(err)
	}
	w.works("prod", 4, "d")
	if h := w.look("prod"); h.Canonical != 1 || h.Normalized.Position != 3 {
		t.Errorf("there is %+v", h)
	}
}

// Under its new name it begins where it ended: what the source shows again is known, what it shows next is collected.
func TestRenamedGoesOnWithoutRepeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := w.subscriber()
	w.works("prod", 3, "a", "b", "c")
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	// What is under the old name a backfill does not find.
	if since, err := w.client.Archive().Since(t.Context(), "berlin"); err != nil || time.Since(since) > time.Hour {
		t.Errorf("the streams have all of it since %s, %v", since, err)
	}
	if since, err := w.client.Archive().Since(t.Context(), "prod"); err != nil || !since.IsZero() {
		t.Errorf("the streams have all of the old name since %s, %v", since, err)
	}
	was, is := w.look("prod"), w.look("berlin")
	if was.Choice.Kind != "" || was.Choice.Paused == nil || was.Consumer || len(was.Sources["test"].Cursor) > 0 || was.Events() != 3 {
		t.Errorf("the old name has %+v", was)
	}
	if is.Choice.Kind != "test" || string(is.Sources["test"].Cursor) != `{"after":"c"}` || is.Sources["test"].Position != 0 {
		t.Errorf("the new name has %+v", is)
	}
	w.works("berlin", 2, "b", "c", "d", "e")
	w.wantRaw("prod", "a", "b", "c")
	w.wantRaw("berlin", "d", "e")
	wantProblem(t, w.remove("prod", true), "berlin had the name prod, and its source test may still show events that are stored under it")
	// And once more, with events of both names to be known.
	if err := w.rename("berlin", "bonn"); err != nil {
		t.Fatal(err)
	}
	w.works("bonn", 1, "c", "e", "f")
	w.wantRaw("bonn", "f")
	jetstreamtest.Eventually(t, "for the subscriber to have all", func() bool { return len(seen()) == 6 })
	want := []string{"prod a 1", "prod b 2", "prod c 3", "berlin d 1", "berlin e 2", "bonn f 1"}
	if got := seen(); !slices.Equal(got, want) {
		t.Errorf("the subscriber has %v, want %v", got, want)
	}
	// A name that is free again is another provider's: what comes under it is no business of those that went on.
	if err := w.remove("prod", false); err != nil {
		t.Fatal(err)
	}
	w.works("prod", 4, "g")
	w.works("bonn", 2, "f", "g")
	w.wantRaw("bonn", "f", "g")
}

// A rename that was interrupted is run again, wherever that was.
func TestRenameIsRunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.works("prod", 2, "a", "b")
	// As if it had ended when the old name was fenced: its own first steps, by hand.
	for name, choice := range map[event.Provider]event.Choice{
		"berlin": {Kind: "test", Why: "renamed from prod"}, "prod": {Why: "renamed to berlin"},
	} {
		_, err := publisher.Command(t.Context(), w.client.Raw(), event.ChoiceSubject(name), event.RawCommandsSubject(name, ""),
			publisher.Options{}, func(c *event.Choice, _ bool) (event.Command, error) {
				*c = choice
				return event.Command{Verb: "rename"}, nil
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	// As if it had ended before the old position was emptied.
	is := w.look("berlin").Sources["test"]
	_, err := publisher.Command(t.Context(), w.client.Raw(), event.RawCursorSubject("prod", "test"), event.RawCommandsSubject("prod", "test"),
		publisher.Options{}, func(c *event.RawCursor, _ bool) (event.Command, error) {
			c.Progress, c.Retired = is.Progress, false
			return event.Command{Verb: "rename"}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	w.works("berlin", 1, "a", "b", "c")
	w.wantRaw("berlin", "c")
	wantProblem(t, w.rename("prod", "berlin"), "was renamed to berlin already")
}

func TestRenameRefusesANameThatIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.works("prod", 1, "a")
	w.works("berlin", 1, "a")
	wantProblem(t, w.rename("prod", "berlin"), "has 1 raw events of its own")
	if err := w.remove("berlin", true); err != nil {
		t.Fatal(err)
	}
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	w.works("berlin", 2, "a", "b") // behind the number that it had
	w.wantRaw("berlin", "b")
}

// A source whose place is on its broker can't take it along.
func TestRenameRefusesAQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.works("prod", 1, "a")
	_, err := publisher.Command(t.Context(), w.client.Raw(), event.RawCursorSubject("prod", "amqp"), event.RawCommandsSubject("prod", "amqp"),
		publisher.Options{}, func(c *event.RawCursor, _ bool) (event.Command, error) {
			c.Cursor = event.Cursor(`{"queue":"stackstream.prod.amqp","vhost":"/","keys":["notifications.info"]}`)
			return event.Command{Verb: "set"}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, w.rename("prod", "berlin"), "consumes the queue stackstream.prod.amqp")
	queues, err := provider.Queues(w.look("prod"))
	if err != nil || len(queues) != 1 || queues[0].Queue != "stackstream.prod.amqp" {
		t.Errorf("its queues are %+v, %v", queues, err)
	}
}

// Without leases, on the server that a process has in itself, what was written last tells whether anybody is at work.
func TestAtWorkWithoutLeases(t *testing.T) {
	t.Parallel()
	client := jetstreamtest.Server(t).Client(t)
	raw := publisher.NewRaw(client.Raw(), client.Bodies(), "prod", "test", event.Fence{}, publisher.Options{})
	if _, err := raw.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Commit(t.Context(), []event.Raw{{ID: "a", Format: "test", Body: []byte(`{}`)}}, event.Progress{}); err != nil {
		t.Fatal(err)
	}
	all, err := client.Holdings(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if working := all["prod"].AtWork(now.Add(70 * time.Second)); len(working) != 1 || !strings.Contains(working[0], "1m10s ago") {
		t.Errorf("at work are %q", working)
	}
	if working := all["prod"].AtWork(now.Add(80 * time.Second)); len(working) > 0 {
		t.Errorf("at work are %q", working)
	}
}
