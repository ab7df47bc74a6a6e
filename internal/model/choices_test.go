package model_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	replay = flag.String("model.replay", "", "run this one schedule (\"0,0,3\") in place of all of a scope; name the scope with -run")
	deep   = flag.Int("model.deep", 0, "explore further: each step takes some ten times as long")
)

// chooser makes the decisions of one schedule, in order. Of n things it takes one; 0 is the one where nothing goes wrong
// and nobody is interrupted.
type chooser interface {
	choose(label string, n int) int
}

// choice is one decision that was made.
type choice struct {
	label  string
	n, was int
}

func (c choice) String() string { return fmt.Sprintf("%s: %d of %d", c.label, c.was, c.n) }

// path makes the decisions that it is given, and then always 0.
type path struct {
	given   []int
	lenient bool // towards decisions that are none
	made    []choice
	wrong   error
}

func (p *path) choose(label string, n int) int {
	c := choice{label: label, n: n}
	if i := len(p.made); i < len(p.given) {
		c.was = p.given[i]
	}
	if c.was >= n {
		if !p.lenient {
			p.wrong = errors.Join(p.wrong, fmt.Errorf("decision %d is %s", len(p.made), c))
		}
		c.was = 0
	}
	p.made = append(p.made, c)
	return c.was
}

func taken(made []choice) []int {
	out := make([]int, len(made))
	for i, c := range made {
		out[i] = c.was
	}
	return out
}

func format(decisions []int) string {
	for len(decisions) > 0 && decisions[len(decisions)-1] == 0 {
		decisions = decisions[:len(decisions)-1]
	}
	text := make([]string, len(decisions))
	for i, d := range decisions {
		text[i] = strconv.Itoa(d)
	}
	if len(text) == 0 {
		return "0"
	}
	return strings.Join(text, ",")
}

func parse(text string) ([]int, error) {
	var out []int
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("decision %q is no number", field)
		}
		out = append(out, n)
	}
	return out, nil
}

// bounds say which schedules are explored: all in which only the first depth decisions are others than 0, and of those at
// most deviations.
type bounds struct{ depth, deviations int }

// next is the schedule after the one that made these decisions, nil after the last.
func (b bounds) next(made []choice) []int {
	for i := min(len(made), b.depth) - 1; i >= 0; i-- {
		if made[i].was+1 == made[i].n {
			continue
		}
		deviations := 1
		for _, c := range made[:i] {
			if c.was != 0 {
				deviations++
			}
		}
		if deviations <= b.deviations {
			return append(taken(made[:i]), made[i].was+1)
		}
	}
	return nil
}

// schedule runs a world under a chooser and returns what is wrong with it.
type schedule func(c chooser) error

// explored is what an exploration found.
type explored struct {
	schedules int
	longest   int   // decisions in a schedule
	failing   []int // the decisions of the first schedule that failed, if one did
	err       error // what is wrong with it
}

// explore runs all schedules within bounds, until one fails. It also fails where a schedule can't be repeated: a model
// whose decisions depend on anything but decisions explores nobody knows what.
func (b bounds) explore(run schedule) explored {
	var out explored
	var given []int
	var before []choice
	for {
		p := &path{given: given}
		err := run(p)
		out.schedules++
		out.longest = max(out.longest, len(p.made))
		if len(given) > 0 {
			same := len(given) - 1
			if len(p.made) < len(given) || !slices.Equal(before[:same], p.made[:same]) {
				p.wrong = errors.Join(p.wrong, fmt.Errorf("the same decisions led elsewhere: %v, then %v", before, p.made))
			}
		}
		if err = errors.Join(err, p.wrong); err != nil {
			out.failing, out.err = taken(p.made), err
			return out
		}
		before = p.made
		if given = b.next(p.made); given == nil {
			return out
		}
	}
}

// exhaust explores and reports, or replays what the flag says.
func exhaust(t *testing.T, b bounds, run schedule) {
	t.Helper()
	if *replay != "" {
		given, err := parse(*replay)
		if err != nil {
			t.Fatal(err)
		}
		p := &path{given: given}
		if err := run(p); err != nil {
			t.Errorf("%v\ndecisions: %v", err, p.made)
		}
		return
	}
	start := time.Now()
	out := b.explore(run)
	took := time.Since(start)
	t.Logf("%d schedules with up to %d of the first %d decisions against the grain, up to %d decisions long: %v, %.0f a second",
		out.schedules, b.deviations, b.depth, out.longest, took.Round(time.Millisecond), float64(out.schedules)/took.Seconds())
	if out.err != nil {
		t.Errorf("schedule %d: %v\nrun it again: go test -run '^%s$' ./internal/model -model.replay=%s",
			out.schedules, out.err, t.Name(), format(out.failing))
	}
}

// drawDecisions lets rapid decide, before anything happens, so that a schedule that fails shrinks to one with smaller
// decisions. What is no decision where it is taken counts as 0; behind the last one all ends well.
func drawDecisions(t *rapid.T) *path {
	n := rapid.IntRange(0, 120).Draw(t, "decisions that may be against the grain")
	return &path{given: rapid.SliceOfN(rapid.IntRange(0, 15), n, n).Draw(t, "decisions"), lenient: true}
}
