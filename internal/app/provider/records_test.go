package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
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

// A rename that was interrupted is ended before anything else is done to the name.
func TestHalfRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a")
	died, _ := w.killed(6, func(ctx context.Context, c *jetstream.Client) error {
		return provider.Rename(ctx, c, "prod", "berlin", by)
	})
	if h := w.look("prod"); !died || h.Choice.Kind != "" || len(h.Sources["test"].Cursor) == 0 {
		t.Fatalf("there is %+v", h)
	}
	wantProblem(t, w.rename("prod", "bonn"), "prod is being renamed to berlin")
	wantProblem(t, w.remove("prod", true), "the rename of prod to berlin was interrupted")
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
}

// A name that was put to work before it had taken over everything gets the old position all the same, and knows what it has collected.
func TestHalfRenamedAndPutToWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a", "b")
	died, _ := w.killed(6, func(ctx context.Context, c *jetstream.Client) error {
		return provider.Rename(ctx, c, "prod", "berlin", by)
	})
	if h := w.look("prod"); !died || h.Choice.Renamed() != "berlin" || len(h.Sources["test"].Cursor) == 0 {
		t.Fatalf("there is %+v", h)
	}
	w.works("berlin", 2, "d", "e")
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	w.works("berlin", 4, "b", "c", "d", "e", "f")
	w.wantRaw("berlin", "d", "e", "c", "f")
}

// A name that has taken over a position is not removed while others are to follow, nor does it forget them while there are events that
// its sources may show again.
func TestRemovingANameThatHasTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := 0
	for sent := 6; ; sent++ {
		from, to := event.Provider(fmt.Sprintf("from%d", sent)), event.Provider(fmt.Sprintf("to%d", sent))
		w.plant(from, 0, "a", "b")
		died, _ := w.killed(sent, func(ctx context.Context, c *jetstream.Client) error { return provider.Rename(ctx, c, from, to, by) })
		if !died {
			if err := w.remove(to, false); err != nil {
				t.Fatal(err)
			}
			w.works(to, 1, "b", "c")
			w.wantRaw(to, "c")
			break
		}
		if len(w.look(from).Sources["test"].Cursor) > 0 && len(w.look(to).Sources["test"].Cursor) > 0 {
			wantProblem(t, w.remove(to, false), fmt.Sprintf("%s is being renamed to %s", from, to))
			refused++
		}
		if err := w.rename(from, to); err != nil && !strings.Contains(err.Error(), "already") {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("it never stood under both names")
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
