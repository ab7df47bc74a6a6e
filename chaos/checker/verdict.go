package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind is in which way the promise was broken.
type Kind string

// The kinds.
const (
	Lost         Kind = "lost"          // it is not there
	Twice        Kind = "twice"         // it is there more than once
	OutOfOrder   Kind = "out-of-order"  // it comes behind what it has to come before
	Invented     Kind = "invented"      // nobody handed it over; of a subscriber: the stream does not hold it
	Altered      Kind = "altered"       // it is not what was handed over, or not what the stream holds
	BadNumber    Kind = "bad-number"    // Evt-Seq is not the next
	BadOrigin    Kind = "bad-origin"    // what it says of the raw event that it was made from is not so
	BadFate      Kind = "bad-fate"      // a dead letter that should not be one, or the other way round
	Malformed    Kind = "malformed"     // it lacks what every message of its kind has
	BadCursor    Kind = "bad-cursor"    // a record moved back, or does not agree with the events around it
	BadWatermark Kind = "bad-watermark" // it says that everything is there up to a time, and something is not
	UntoldGap    Kind = "untold-gap"    // Nats-Last-Sequence does not tell what a plain subscriber has missed
	Regressed    Kind = "regressed"     // the sequence of a stream does not rise
)

// The streams, as a Violation names them.
const (
	inRaw        = "EVENTS_RAW"
	inNormalized = "EVENTS_NORMALIZED"
	inDead       = "EVENTS_DEAD"
	inObjects    = "EVENTS_BODIES"
)

// Violation is what was found of one kind in one place.
type Violation struct {
	Kind Kind `json:"kind"`
	// Where is a stream, or a subscriber.
	Where    string   `json:"where"`
	Count    int      `json:"count"`
	Examples []string `json:"examples"` // the first
}

// Progress is how far a run is.
type Progress struct {
	Handed     int `json:"handed"`     // over, but for those of which nobody knows
	Collected  int `json:"collected"`  // of Handed, in EVENTS_RAW
	Raw        int `json:"raw"`        // events in EVENTS_RAW
	Dealt      int `json:"dealt"`      // of Raw, that EVENTS_NORMALIZED has something of
	Normalized int `json:"normalized"` // events in EVENTS_NORMALIZED
	Dead       int `json:"dead"`       // dead letters in it
	DeadStream int `json:"dead_stream"`
	// Violations that are known already; most show in the Verdict only.
	Violations int `json:"violations"`
}

// Verdict says what was found. It holds for what the Checker was told up to then: as long as something is under way, it
// is lost.
type Verdict struct {
	Progress
	// Found is sorted by kind and place. Without any the promise was kept.
	Found []Violation `json:"found"`
}

// OK tells whether the promise was kept.
func (v Verdict) OK() bool { return len(v.Found) == 0 }

// String is the verdict for people.
func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events handed over, %d of them collected; %d raw, %d dealt with: %d normalized, %d dead letters\n",
		v.Handed, v.Collected, v.Raw, v.Dealt, v.Normalized, v.Dead)
	if v.OK() {
		b.WriteString("the promise was kept\n")
		return b.String()
	}
	fmt.Fprintf(&b, "THE PROMISE WAS BROKEN: %d violations\n", v.Violations)
	for _, f := range v.Found {
		fmt.Fprintf(&b, "%s, %s: %d\n", f.Kind, f.Where, f.Count)
		for _, e := range f.Examples {
			fmt.Fprintf(&b, "    %s\n", e)
		}
		if more := f.Count - len(f.Examples); more > 0 {
			fmt.Fprintf(&b, "    and %d more\n", more)
		}
	}
	return b.String()
}

// findings collects violations.
type findings struct {
	limit int
	count int
	by    map[place]*Violation
}

type place struct {
	kind  Kind
	where string
}

func newFindings(limit int) findings { return findings{limit: limit, by: map[place]*Violation{}} }

// add takes a violation. Its text is made for the first ones only.
func (f *findings) add(kind Kind, where string, text func() string) {
	v := f.by[place{kind, where}]
	if v == nil {
		v = &Violation{Kind: kind, Where: where}
		f.by[place{kind, where}] = v
	}
	v.Count++
	f.count++
	if len(v.Examples) < f.limit {
		v.Examples = append(v.Examples, text())
	}
}

// copy is independent of f.
func (f *findings) copy() findings {
	c := newFindings(f.limit)
	c.count = f.count
	for at, v := range f.by {
		w := *v
		w.Examples = slices.Clone(v.Examples)
		c.by[at] = &w
	}
	return c
}

func (f *findings) sorted() []Violation {
	all := make([]Violation, 0, len(f.by))
	for _, at := range slices.SortedFunc(maps.Keys(f.by), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.where, b.where))
	}) {
		all = append(all, *f.by[at])
	}
	return all
}
