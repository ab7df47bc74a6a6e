package provider_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stackstream/collectors/backfill"
	"stackstream/event"
	"stackstream/internal/app/provider"
	"stackstream/jetstream"
	"stackstream/publisher"
)

// Pauses go with the positions that they are about: they stay with those, and go with them.
func TestPausesOfARemovedProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a")
	w.pause("prod", collecting, normalizing, "test")
	if err := w.remove("prod", false); err != nil {
		t.Fatal(err)
	}
	wantPauses(t, w.look("prod"), "collecting: upgrade", "sourcetest: floods", "normalizing: wrong converter")
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	// A name that was given up is free again, whatever was paused under it since.
	w.pause("prod", "test", normalizing)
	if err := w.remove("prod", false); err != nil {
		t.Fatal(err)
	}
	wantPauses(t, w.look("prod"))
	// One of which there was never more than a pause.
	w.pause("later", collecting, normalizing)
	if h := w.look("later"); provider.Gone(h) || provider.Unknown(h) {
		t.Errorf("a pause is nothing: %+v", h)
	}
	if err := w.remove("later", false); err != nil {
		t.Fatal(err)
	}
	if h := w.look("later"); !provider.Unknown(h) {
		t.Errorf("there is %+v", h)
	}
}

// A new name that somebody has paused so that it does not begin by itself stays so. That a name was given up is no pause of its own.
func TestRenameKeepsPausesOfTheNewName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a")
	w.pause("berlin", collecting, normalizing)
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	wantPauses(t, w.look("berlin"), "collecting: upgrade", "normalizing: wrong converter")
	w.resume("berlin")
	if err := w.remove("prod", false); err != nil {
		t.Fatal(err)
	}
	if err := w.rename("berlin", "bonn"); err != nil {
		t.Fatal(err)
	}
	if err := w.rename("bonn", "berlin"); err != nil {
		t.Fatal(err)
	}
	wantPauses(t, w.look("berlin"))
	if h := w.look("berlin"); h.Choice.Kind != "test" {
		t.Errorf("there is %+v", h)
	}
}

// Jobs are about what is stored under a name, and stay with it: those that are done, and what was done about dead letters. One that is
// not done would never be.
func TestJobsOfARenamedProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a")
	w.job("prod", "old", over)
	w.job("prod", "new", backfill.State{})
	w.cursor("prod", event.SourceRedrive, func(*event.RawCursor) {})
	wantProblem(t, w.rename("prod", "berlin"), "backfill new of prod is not done")
	w.cursor("prod", "backfill-new", func(c *event.RawCursor) {
		if _, err := backfill.Remove(c, time.Now()); err != nil {
			t.Fatal(err)
		}
	})
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	if h := w.look("berlin"); len(h.Sources) != 1 {
		t.Errorf("there is %+v", h)
	}
	if h := w.look("prod"); len(h.Sources) != 4 || h.Sources[event.SourceRedrive].Retired {
		t.Errorf("there is %+v", h)
	}
	// What is removed is forgotten, but for the numbers: a job of that name asks again.
	w.cursor("prod", "backfill-old", func(c *event.RawCursor) { c.Position = 7 })
	w.cursor("berlin", "test", func(c *event.RawCursor) { c.Former = nil })
	if err := w.remove("prod", true); err != nil {
		t.Fatal(err)
	}
	h := w.look("prod")
	state, err := backfill.ReadState(h.Sources["backfill-old"].Cursor)
	if err != nil || state.Removed.IsZero() || state.Base != 7 || !provider.Gone(h) {
		t.Errorf("there is %+v, %+v, %v", h, state, err)
	}
}

// over is a backfill that is done.
var over = backfill.State{Done: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}

// job leaves a backfill.
func (w *world) job(p event.Provider, name string, state backfill.State) {
	w.t.Helper()
	cursor, err := json.Marshal(state)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cursor(p, event.Source("backfill-"+name), func(c *event.RawCursor) { c.Cursor, c.Retired = cursor, !state.Done.IsZero() })
}

// Of a provider's work may be paused, besides a source:
const (
	collecting  = "collecting"
	normalizing = "normalizing"
)

// pause pauses parts of a provider's work.
func (w *world) pause(p event.Provider, what ...string) {
	w.t.Helper()
	why := map[string]string{collecting: "upgrade", normalizing: "wrong converter", "test": "floods"}
	for _, what := range what {
		w.mark(p, what, &event.Pause{By: "ann", Why: why[what], At: time.Now()})
	}
}

// resume ends all pauses.
func (w *world) resume(p event.Provider) {
	w.t.Helper()
	for _, what := range []string{collecting, normalizing, "test"} {
		w.mark(p, what, nil)
	}
}

func (w *world) mark(p event.Provider, what string, pause *event.Pause) {
	w.t.Helper()
	var err error
	switch what {
	case collecting:
		_, err = publisher.Command(w.t.Context(), w.client.Raw(), event.ChoiceSubject(p), event.RawCommandsSubject(p, ""),
			publisher.Options{}, func(c *event.Choice, _ bool) (event.Command, error) { c.Paused = pause; return event.Command{}, nil })
	case normalizing:
		_, err = publisher.Command(w.t.Context(), w.client.Normalized(), event.NormalizedCursorSubject(p),
			event.NormalizedCommandsSubject(p), publisher.Options{}, func(c *event.NormalizedCursor, _ bool) (event.Command, error) {
				c.Paused = pause
				return event.Command{}, nil
			})
	default:
		w.cursor(p, event.Source(what), func(c *event.RawCursor) { c.Paused = pause })
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// cursor changes the cursor of a source.
func (w *world) cursor(p event.Provider, s event.Source, change func(*event.RawCursor)) {
	w.t.Helper()
	_, err := publisher.Command(w.t.Context(), w.client.Raw(), event.RawCursorSubject(p, s), event.RawCommandsSubject(p, s),
		publisher.Options{}, func(c *event.RawCursor, _ bool) (event.Command, error) { change(c); return event.Command{}, nil })
	if err != nil {
		w.t.Fatal(err)
	}
}

// wantPauses compares the pauses of a provider, as what is paused and why.
func wantPauses(t *testing.T, h *jetstream.Holding, want ...string) {
	t.Helper()
	var got []string
	for _, p := range provider.Pauses(h) {
		got = append(got, p.What+string(p.Source)+": "+p.Why)
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("%s has the pauses %q, want %q", h.Provider, got, want)
	}
}
