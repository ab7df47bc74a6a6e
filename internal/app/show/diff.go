package show

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"stackstream/replay"
)

const (
	maxValue   = 90 // characters of a value
	maxChanges = 20 // of one event
	maxRows    = 20 // of a table of counts
)

// Difference writes what would become of a raw event, value by value.
func Difference(w io.Writer, d *replay.Difference, colour bool) error {
	var b strings.Builder
	of := ""
	if d.Of > 0 {
		of = fmt.Sprintf(", event %d of it", d.Of)
	}
	fmt.Fprintf(&b, "%s  %s  (%s %d, raw sequence %d%s)\n", paint(colour, bold, Clean(d.EventType)), Clean(string(d.ID)),
		Clean(string(d.Source)), d.RawNumber, d.RawSeq, of)
	old := func(text string) { b.WriteString("  " + paint(colour, red, "- "+text) + "\n") }
	is := func(text string) { b.WriteString("  " + paint(colour, green, "+ "+text) + "\n") }
	letter := "dead letter: " + Clean(string(d.Reason)) + ": " + short([]byte(d.Detail))
	switch {
	case d.Kind == replay.Revived:
		old(letter)
		is(short(d.New))
	case d.Kind == replay.Died:
		old(short(d.Old))
		is(letter)
	case d.Kind == replay.Missing:
		b.WriteString("  nothing is there to compare with\n")
	case d.New != nil:
		is(short(d.New))
	case d.Old != nil:
		old(short(d.Old))
	}
	for i, c := range d.Changes {
		if i == maxChanges {
			fmt.Fprintf(&b, "  … and %d values more\n", len(d.Changes)-i)
			break
		}
		fmt.Fprintf(&b, "  %s: %s → %s\n", Clean(c.Path), paint(colour, red, value(c.Old)), paint(colour, green, value(c.New)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func value(v []byte) string {
	if v == nil {
		return "(nothing)"
	}
	return short(v)
}

// short is the beginning of a text, safe for a terminal.
func short(text []byte) string {
	if utf8.RuneCount(text) <= maxValue {
		return Clean(string(text))
	}
	return Clean(string([]rune(string(text))[:maxValue-1])) + "…"
}

// Tally writes what a comparison has found.
func Tally(w io.Writer, t *replay.Tally) error {
	rows := [][]string{}
	for _, r := range []struct {
		n      uint64
		always bool
		name   string
	}{
		{t.Raw, true, "raw events compared"},
		{t.Same, true, "would stay as they are"},
		{t.Changed, true, "would change"},
		{t.Revived, true, "are dead letters and would be events" + redriven(t)},
		{t.Died, true, "are events and would be dead letters"},
		{t.StillDead, false, "are dead letters and would stay so"},
		{t.Missing, false, "have expired in EVENTS_NORMALIZED, so that there is nothing to compare with"},
		{t.Filtered, false, "are of other types"},
		{t.Skipped, false, "are no news"},
		{t.Again, false, "messages in EVENTS_NORMALIZED were made once more after a rewind, and are not compared"},
	} {
		if r.n > 0 || r.always {
			rows = append(rows, []string{Count(r.n), r.name})
		}
	}
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%*s  %s\n", width, r[0], r[1]); err != nil {
			return err
		}
	}
	for _, counts := range []struct {
		head   string
		names  map[string]uint64
		others uint64
	}{{"CHANGED FIELD", t.Fields, t.OtherFields}, {"CHANGED TYPE", t.Types, t.OtherTypes}} {
		if err := countTable(w, counts.head, counts.names, counts.others); err != nil {
			return err
		}
	}
	return nil
}

func redriven(t *replay.Tally) string {
	if t.Redriven == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s dead letters of the range were converted again since)", Count(t.Redriven))
}

func countTable(w io.Writer, head string, names map[string]uint64, others uint64) error {
	if len(names) == 0 {
		return nil
	}
	sorted := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(names[b], names[a]), cmp.Compare(a, b))
	})
	rows := [][]string{{head, "EVENTS"}}
	for i, name := range sorted {
		if i == maxRows {
			rows = append(rows, []string{fmt.Sprintf("… and %d more", len(sorted)-i), ""})
			break
		}
		rows = append(rows, []string{Clean(name), Count(names[name])})
	}
	if others > 0 {
		rows = append(rows, []string{"(others)", Count(others)})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return table(w, rows, nil)
}
