package letters

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
)

// Whoever is killed at whatever moment, and however many operators are at work while the normalizer is, too: a letter is sent once,
// and in the end all that are to be are.
func TestNothingIsDoneTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t}
		for range rapid.IntRange(0, 12).Draw(t, "letters") {
			w.plant(rapid.SampledFrom([]event.Reason{event.ReasonMalformed, event.ReasonPanic, event.ReasonBodyLost}).Draw(t, "reason"), nil)
		}
		for range rapid.IntRange(0, 8).Draw(t, "commands") {
			w.operate()
			w.check()
		}
		w.calm = true
		for w.done < w.cursor.Position {
			w.normalize()
		}
		open := 0
		book := NewBook()
		for _, s := range w.states {
			book.Became(s)
		}
		for _, l := range w.letters {
			if state, _ := book.State(l.Number); state == Open && l.Reason != event.ReasonBodyLost {
				open++
			}
		}
		sent, err := w.run(false, &Filter{State: Open})
		if err != nil {
			t.Fatal(err)
		}
		if len(sent.Letters) != open || sent.Others+sent.Lost+sent.Gone != 0 {
			t.Fatalf("of %d open letters: %+v", open, sent)
		}
		w.check()
		if again, err := w.run(false, &Filter{State: Open}); err != nil || len(again.Letters) != 0 {
			t.Fatalf("and again: %+v, %v", again, err)
		}
	})
}

// A killed command says what it knows to have sent; what it does not know is found by the next.
func TestKilledCommandsAreGoneOnWith(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t}
		for range rapid.IntRange(1, 20).Draw(t, "letters") {
			w.plant(event.ReasonMalformed, nil)
		}
		known := 0
		for tries := 0; ; tries++ {
			if tries > 20 {
				w.calm = true
			}
			w.depth = 2 // no second operator
			sent, err := w.run(false, &Filter{State: Open})
			known += len(sent.Letters)
			if known > len(w.sent) || sent.Others > 0 {
				t.Fatalf("%d are said to be sent, %d are: %+v", known, len(w.sent), sent)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
		}
		w.check()
	})
}
