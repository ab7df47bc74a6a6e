package jetstream

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"stackstream/event"
)

// Whatever became of RAW, the normalizer goes on so that what it has not dealt with is normalized or told to be lost, and what
// it has dealt with, and RAW still has, is not normalized again. What it has dealt with and RAW has lost is told.
func TestTakingOverAnotherRaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		begin := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		type held struct {
			event.Seen
			dealt bool // it was normalized
		}
		done := rapid.IntRange(0, 6).Draw(t, "normalized")
		old := done + rapid.IntRange(0, 4).Draw(t, "waiting")
		var received time.Time
		var raw []held
		at := begin
		for i := 1; i <= old; i++ {
			if rapid.Bool().Draw(t, "another page") {
				at = at.Add(time.Second)
			}
			raw = append(raw, held{event.Seen{Source: "panko", Seq: event.Seq(i), Received: at}, i <= done})
			if i == done {
				received = at
			}
		}
		kept := rapid.IntRange(0, old).Draw(t, "restored")
		raw = raw[:kept]
		position := kept
		for range rapid.IntRange(0, 8).Draw(t, "collected since") {
			position++
			raw = append(raw, held{Seen: event.Seen{Source: "panko", Seq: event.Seq(position), Received: begin.Add(time.Hour)}})
		}
		m := Mend{Cursor: event.NormalizedCursor{Sources: map[event.Source]event.SourcePosition{}}}
		if done > 0 {
			m.Cursor.Sources["panko"] = event.SourcePosition{Position: event.Seq(done), Received: received}
		}
		found := map[event.Source]*taking{"panko": {}}
		for i := range raw {
			raw[i].Sequence = event.StreamSeq(i + 1)
			m.saw(found, raw[i].Seen)
		}
		last := event.RawCursor{Position: event.Seq(position)}
		m.take("panko", found["panko"], last, rapid.Bool().Draw(t, "made anew") || kept == 0)

		to := m.Cursor.Sources["panko"].Position
		for _, e := range raw {
			switch again := e.Seq > to; {
			case e.dealt && again:
				t.Fatalf("event %d was normalized, and it goes on behind %d", e.Seq, to)
			case !e.dealt && !again:
				t.Fatalf("event %d is new, and it goes on behind %d", e.Seq, to)
			}
		}
		if len(m.Gaps) > 0 {
			t.Fatalf("nothing is gone, and it tells of %v", m.Gaps)
		}
		lost := 0
		for _, g := range m.Again {
			lost += int(g.Events())
		}
		if want := max(0, done-kept); lost != want {
			t.Fatalf("%d normalized events are lost, %d are told", want, lost)
		}
	})
}
