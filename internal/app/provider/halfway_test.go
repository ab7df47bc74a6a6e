package provider_test

import (
	"context"
	"testing"

	"stackstream/event"
	"stackstream/internal/app/provider"
	"stackstream/jetstream"
	"stackstream/jetstream/jetstreamtest"
	"stackstream/publisher"
)

// next is the new name that the tests give a provider.
func next(name event.Provider) event.Provider { return name + "-next" }

func renameToNext(ctx context.Context, c *jetstream.Client, name event.Provider) error {
	return provider.Rename(ctx, c, name, next(name), by)
}

// Killed wherever that may be, and run again, a rename leaves what it leaves otherwise. Until then nobody collects under the new name.
func TestKilledRename(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.interrupted(
		func(name event.Provider) { w.plant(name, 0, "a", "b", "c"); w.leftovers(name); w.marked(name) }, renameToNext, w.neverBoth,
		func(name event.Provider) {
			was, is := w.look(name), w.look(next(name))
			if was.Choice.Kind != "" || len(provider.Pauses(was)) != 1 || was.Choice.Paused == nil || was.Consumer || len(was.Owners) > 0 ||
				len(was.Sources["test"].Cursor) > 0 || was.Sources["test"].Position != 3 {
				t.Errorf("left of %s is %+v", name, was)
			}
			if string(is.Sources["test"].Cursor) != `{"after":"c"}` || len(is.Sources["test"].Former) != 1 || is.Choice.Kind != "test" {
				t.Errorf("%s is %+v", next(name), is)
			}
			wantPauses(t, is, "collecting: upgrade", "sourcetest: floods", "normalizing: wrong converter")
			if _, taken := is.Sources["backfill-old"]; taken || was.Sources["backfill-old"].Cursor == nil {
				t.Errorf("the job is %+v", was.Sources["backfill-old"])
			}
			wantProblem(t, renameToNext(t.Context(), w.client, name), "was renamed to "+string(next(name))+" already")
		})
	w.resume("often-next")
	w.works("often-next", 1, "b", "c", "d")
	w.wantRaw("often-next", "d")
	w.wantRaw("often", "a", "b", "c")
}

// The same of a provider that nobody has paused, and for which nobody has chosen: there is no other pause that would hold it.
func TestKilledRenameOfWhatIsNotPaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.interrupted(
		func(name event.Provider) {
			w.plant(name, 0, "a")
			w.leftovers(name)
			w.cursor(name, "other", func(c *event.RawCursor) { c.Cursor = event.Cursor(`{"after":"z"}`) })
			if name != "often" {
				w.choice(name, func(c *event.Choice) { c.Kind = "" })
			}
		}, renameToNext, w.neverBoth,
		func(name event.Provider) {
			is := w.look(next(name))
			wantPauses(t, is)
			if len(is.Sources["test"].Cursor) == 0 || len(is.Sources["other"].Cursor) == 0 || name == "often" && is.Choice.Kind != "test" {
				t.Errorf("%s is %+v", next(name), is)
			}
		})
	w.works("often-next", 1, "a", "b")
	w.wantRaw("often-next", "b")
}

// neverBoth looks at a rename that was killed: who collects for the new name has all that the old one knew, or the old one still is
// what it was.
func (w *world) neverBoth(name event.Provider) {
	w.t.Helper()
	was, is := w.look(name), w.look(next(name))
	stands := len(was.Sources["test"].Cursor)+len(was.Sources["other"].Cursor) > 0
	begun := was.Choice.Renamed() != ""
	switch {
	case begun && stands && is.Choice.Taking() != name:
		w.t.Errorf("%s may collect, and %s still stands somewhere: %+v, %+v", is.Provider, name, is.Choice, was.Sources)
	case !begun && (is.Choice.Sequence > 0 || len(is.Sources) > 0):
		w.t.Errorf("nothing is handed over, and %s has %+v", is.Provider, is)
	}
}

// What is not done can be neither removed nor given another name, nor can another one be given to it.
func TestHalfRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a")
	w.plant("third", 0, "x")
	w.halfRenamed("prod")
	for _, name := range []event.Provider{"prod", "prod-next"} {
		for _, purge := range []bool{false, true} {
			wantProblem(t, w.remove(name, purge), "the rename of prod to prod-next is not done")
		}
		wantProblem(t, w.rename(name, "elsewhere"), "prod is being renamed to prod-next")
	}
	wantProblem(t, w.rename("prod-next", "prod"), "prod is being renamed to prod-next")
	wantProblem(t, w.rename("third", "prod-next"), "prod is being renamed to prod-next")
	if err := w.rename("prod", "prod-next"); err != nil {
		t.Fatal(err)
	}
	wantPauses(t, w.look("prod-next"))
}

// A name that is put to work before it has taken over everything waits for that, and does not keep it from going on.
func TestHalfRenamedAndPutToWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a", "b")
	w.halfRenamed("prod")
	stop := w.begin("prod-next", "b", "c")
	jetstreamtest.Eventually(t, "for somebody to hold a lease", func() bool { return len(w.look("prod-next").Owners) > 0 })
	if err := w.rename("prod", "prod-next"); err != nil {
		t.Fatal(err)
	}
	jetstreamtest.Eventually(t, "for it to have begun", func() bool { return w.look("prod-next").Sources["test"].Position == 1 })
	stop()
	w.wantRaw("prod-next", "c")
}

// An operator's pause of the new name that comes while it takes over holds behind that.
func TestPausedWhileItTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a")
	w.halfRenamed("prod")
	w.choice("prod-next", func(c *event.Choice) { c.Paused.Own = &event.Pause{By: "ann", Why: "not before Monday"} })
	if err := w.rename("prod", "prod-next"); err != nil {
		t.Fatal(err)
	}
	wantPauses(t, w.look("prod-next"), "collecting: not before Monday")
}

// What another version has left half done, which did not keep the new name from work, is ended all the same: the name gets the old
// position, and knows what it has collected.
func TestHalfRenamedByAnotherVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a", "b")
	w.choice("prod-next", func(c *event.Choice) { *c = event.Choice{Kind: "test", Why: event.RenamedFrom("prod")} })
	w.choice("prod", func(c *event.Choice) { *c = event.Choice{Why: event.RenamedTo("prod-next")} })
	w.works("prod-next", 2, "d", "e")
	if err := w.rename("prod", "prod-next"); err != nil {
		t.Fatal(err)
	}
	w.works("prod-next", 4, "b", "c", "d", "e", "f")
	w.wantRaw("prod-next", "d", "e", "c", "f")
}

// And back: the first name is free again once it was left, and has what came under the other one.
func TestRenamedBackAfterItWasKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a")
	w.cursor("prod", "other", func(c *event.RawCursor) { c.Cursor = event.Cursor(`{"after":"z"}`) })
	w.halfRenamed("prod")
	wantProblem(t, w.rename("prod-next", "prod"), "prod is being renamed to prod-next")
	if err := w.rename("prod", "prod-next"); err != nil {
		t.Fatal(err)
	}
	if err := w.rename("prod-next", "back"); err != nil {
		t.Fatal(err)
	}
	if h := w.look("back"); h.Choice.Kind != "test" || h.Choice.Paused != nil || len(h.Sources["other"].Cursor) == 0 {
		t.Errorf("there is %+v", h)
	}
	w.works("back", 1, "a", "b")
	w.wantRaw("back", "b")
}

// A name that has taken over does not forget what was collected under the other one while there are events that its sources may show
// again.
func TestRemovingANameThatHasTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a", "b")
	if err := w.rename("prod", "prod-next"); err != nil {
		t.Fatal(err)
	}
	if err := w.remove("prod-next", false); err != nil {
		t.Fatal(err)
	}
	w.works("prod-next", 1, "b", "c")
	w.wantRaw("prod-next", "c")
}

// halfRenamed leaves a rename to the next name that was killed when the choice was handed over.
func (w *world) halfRenamed(name event.Provider) {
	w.t.Helper()
	const batch = 4 // both choices, and a trace of each
	died, _ := w.killed(batch, func(ctx context.Context, c *jetstream.Client) error { return renameToNext(ctx, c, name) })
	if was, is := w.look(name), w.look(next(name)); !died || was.Choice.Renamed() != next(name) || is.Choice.Taking() != name ||
		len(was.Sources["test"].Cursor) == 0 || len(is.Sources) > 0 {
		w.t.Fatalf("there are %+v, and %+v", was, is)
	}
}

// choice changes the choice of source of a provider.
func (w *world) choice(p event.Provider, change func(*event.Choice)) {
	w.t.Helper()
	_, err := publisher.Command(w.t.Context(), w.client.Raw(), event.ChoiceSubject(p), event.RawCommandsSubject(p, ""),
		publisher.Options{}, func(c *event.Choice, _ bool) (event.Command, error) { change(c); return event.Command{}, nil })
	if err != nil {
		w.t.Fatal(err)
	}
}
