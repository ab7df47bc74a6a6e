package app

import (
	"slices"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"stackstream/event"
	"stackstream/publisher"
)

// drop takes events out of RAW, as their age does.
func (w *streams) drop(at ...event.StreamSeq) {
	w.t.Helper()
	js, err := natsjs.New(w.c.Conn())
	if err != nil {
		w.t.Fatal(err)
	}
	stream, err := js.Stream(w.t.Context(), event.StreamRaw)
	for _, seq := range at {
		if err == nil {
			err = stream.DeleteMsg(w.t.Context(), uint64(seq))
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// acceptGap lets the normalizer go on behind an event, as an operator does.
func (w *streams) acceptGap(to event.Seq) {
	w.t.Helper()
	_, err := publisher.Command(w.t.Context(), w.c.Normalized(), event.NormalizedCursorSubject(sky), event.NormalizedCommandsSubject(sky),
		publisher.Options{Owner: "ada"}, func(c *event.NormalizedCursor, _ bool) (event.Command, error) {
			at := c.Sources["panko"]
			gap := event.RawGap{Source: "panko", From: at.Position + 1, To: to}
			at.Position = to
			c.Sources["panko"] = at
			return event.Command{Verb: event.VerbAcceptGap, Why: "a test", Gaps: []event.RawGap{gap}}, nil
		})
	if err != nil {
		w.t.Fatal(err)
	}
}

// What the normalizer was told to pass over does not count as there though RAW still has it: nothing will be made of it.
func TestABackfillAddsWhatWasGivenUp(t *testing.T) {
	t.Parallel()
	w := newStreams(t)
	w.collect(w.events(1, 10))
	_, at := w.store(w.events(11, 60))
	w.drop(at[:10]...)
	done, err := w.backfill(past{events: w.events(1, 60)})
	if event.KindOf(err) != event.Expired || !strings.Contains(err.Error(), "`stackstream watermark accept-gap` first") {
		t.Fatalf("RAW drops what is not normalized, and it says %+v, %v", done, err)
	}
	w.acceptGap(30) // RAW has 21 to 60
	check := func(there, added uint64, first, last int) {
		t.Helper()
		var want []string
		for _, e := range w.events(first, last) {
			want = append(want, string(e.ID))
		}
		if err != nil || done.Shown != there+added || done.There != there || done.Added != added {
			t.Errorf("%+v, %v", done, err)
		}
		if got := w.added(); !slices.Equal(got, want) {
			t.Errorf("it has added %v", got)
		}
	}
	done, err = w.backfill(past{events: w.events(1, 60)})
	check(40, 20, 11, 30)
	done, err = w.backfill(past{events: w.events(1, 60)})
	check(40, 20, 11, 30) // it is done
	// More is given up: the job, which has taken that for there, is not done any more.
	w.drop(at[20])
	w.acceptGap(40)
	done, err = w.backfill(past{events: w.events(1, 60)})
	check(30, 30, 11, 40)
}

// What is given up while a job is at work it finds when it ends.
func TestABackfillDuringWhichEventsAreGivenUp(t *testing.T) {
	t.Parallel()
	w := newStreams(t)
	w.collect(w.events(1, 10))
	_, at := w.store(w.events(11, 60))
	pages := 0
	done, err := w.backfill(past{events: w.events(1, 62), behind: func() {
		if pages++; pages == 5 {
			w.drop(at[:10]...)
			w.acceptGap(30)
		}
	}})
	if err != nil || done.Shown != 62 || done.There != 40 || done.Added != 22 {
		t.Errorf("%+v, %v", done, err)
	}
	got := w.added()
	slices.Sort(got)
	if len(got) != 22 || got[0] != "e011" || got[19] != "e030" || got[20] != "e061" || got[21] != "e062" {
		t.Errorf("it has added %v", got)
	}
}
