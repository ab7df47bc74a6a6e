package checker_test

import (
	"testing"

	"pgregory.net/rapid"

	"stackstream/chaos/checker"
)

func drawShape(t *rapid.T) shape {
	percent := func(name string) int { return rapid.SampledFrom([]int{0, 5, 30}).Draw(t, name) }
	return shape{
		seed: rapid.Uint64().Draw(t, "seed"), providers: rapid.IntRange(1, 3).Draw(t, "providers"),
		sources: rapid.IntRange(1, 3).Draw(t, "sources"), lanes: rapid.IntRange(1, 3).Draw(t, "lanes"),
		windows: rapid.IntRange(1, 8).Draw(t, "windows"), window: rapid.IntRange(1, 8).Draw(t, "window"),
		loose: percent("loose"), dead: percent("dead"), either: percent("either"), many: percent("many"),
		large: percent("large"), nameless: percent("nameless"), maybe: percent("maybe"),
	}
}

// Whatever a run is like in which the promise was kept, and in whatever order it is told of: no false alarm.
func TestNoFalseAlarm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShape(t)
		c := newRun(s, faults{}).tell(rapid.Uint64().Draw(t, "order"))
		if v := c.Verdict(); !v.OK() {
			t.Fatal(v)
		}
		if v := c.Verdict(); !v.OK() {
			t.Fatalf("asked again: %v", v)
		}
	})
}

// Progress says when all is there, in whatever order it is told.
func TestProgressArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShape(t)
		s.maybe = 0
		r := newRun(s, faults{})
		c := checker.New(checker.Options{})
		durable := c.Subscribe(checker.Subscriber{Name: "durable"})
		for _, m := range r.sees["exact"] {
			durable.Saw(m)
		}
		for _, m := range r.raw {
			c.Raw(m)
		}
		for _, m := range r.norm {
			c.Normalized(m)
		}
		for _, h := range r.handed {
			c.Handed(h)
		}
		p := c.Progress()
		if p.Handed != len(r.handed) || p.Collected != p.Handed || p.Raw != p.Dealt || durable.Missing() != 0 || p.Violations != 0 {
			t.Fatalf("%d handed over, %+v, %d not seen", len(r.handed), p, durable.Missing())
		}
	})
}
