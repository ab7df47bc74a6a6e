package provider_test

import (
	"strings"
	"testing"

	"stackstream/event"
	"stackstream/internal/app/provider"
)

// Events that another name is known by are purged once none of them can be shown again, and until then it is said what that needs.
func TestPurgeOfWhatAnotherNameRemembers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant("prod", 0, "a", "b", "c")
	remembers := func(n int) func(event.Provider, event.Source) int {
		return func(event.Provider, event.Source) int { return n }
	}
	last := w.look("prod").Sources["test"].Sequence - 1
	if err := w.rename("prod", "berlin"); err != nil {
		t.Fatal(err)
	}
	refused := func(wayOut string) {
		t.Helper()
		err := provider.Forgettable(t.Context(), w.client, w.look("prod"), remembers(0))
		wantProblem(t, err, wayOut)
		wantProblem(t, w.remove("prod", true), wayOut)
		if !strings.Contains(err.Error(), "the last event of prod expires at 20") {
			t.Errorf("it does not say when they expire: %v", err)
		}
	}
	refused("nobody works for berlin: put it into the configuration, and run this again when it has collected more of its own")
	for known, want := range map[int]string{
		-1:  "run this again when it has collected so many events of its own as it remembers whatever their time",
		100: "has collected about 100 events more: it remembers the last 100 whatever their time (its setting remember), and EVENTS_RAW has 0 of",
	} {
		wantProblem(t, provider.Forgettable(t.Context(), w.client, w.look("prod"), remembers(known)), want)
	}
	w.pause("berlin", collecting)
	refused("it is paused: resume it (stackstream resume --provider berlin)")
	w.choice("berlin", func(c *event.Choice) { c.Paused, c.Kind = nil, "other" })
	refused("that source does not collect now, and forgets nothing before it does")
	w.choice("berlin", func(c *event.Choice) { c.Kind, c.Removed = "test", &event.Removed{By: "ann"} })
	refused("berlin was removed: remove its events and positions first")

	// Their number decides, and not that a name is on record.
	w.cursor("berlin", "test", func(c *event.RawCursor) { c.DedupeFrom = last })
	refused("may still show events that are stored under it")
	w.cursor("berlin", "test", func(c *event.RawCursor) { c.DedupeFrom = last + 1 })
	if former := w.look("berlin").Sources["test"]; len(event.StillFormer(former.Former, former.DedupeFrom)) == 0 {
		t.Fatal("the name is not on record any more")
	}
	if err := w.remove("prod", true); err != nil {
		t.Fatal(err)
	}
	w.wantRaw("prod")
}
