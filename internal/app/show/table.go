package show

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"stackstream/event"
	"stackstream/internal/check"
)

// Watermarks writes one line per provider and source, with a head. now is what ages are counted from.
func Watermarks(w io.Writer, marks []event.Watermark, now time.Time) error {
	if len(marks) == 0 {
		_, err := fmt.Fprintln(w, "No source has collected anything yet.")
		return err
	}
	rows := [][]string{{
		"PROVIDER", "SOURCE", "COLLECTED", "NORMALIZED", "LAG", "COMPLETE UP TO", "BEHIND NOW", "WRITTEN BY",
	}}
	for _, m := range marks {
		lag, behind := strconv.FormatUint(m.LagEvents, 10), since(m.NormalizedTime, now)
		if m.Lag > 0 {
			lag += " (" + age(m.Lag) + ")"
		}
		if m.Retired {
			behind = "retired" // nothing will come
		}
		rows = append(rows, []string{
			string(m.Provider), string(m.Source), number(m.Collected), number(m.Normalized), lag,
			instant(m.NormalizedTime), behind, Clean(m.Owner),
		})
	}
	return table(w, rows, nil)
}

// Findings writes one line per finding.
func Findings(w io.Writer, findings check.Findings, colour bool) error {
	rows := [][]string{{"CHECKED", "RESULT", "WHAT WAS FOUND"}}
	for _, f := range findings {
		message := Clean(f.Message)
		if f.Hint != "" {
			message += " (" + Clean(f.Hint) + ")"
		}
		rows = append(rows, []string{Clean(f.Subject), f.Severity.String(), message})
	}
	return table(w, rows, func(row, column int, text string) string {
		if row == 0 || column != 1 {
			return text
		}
		return paint(colour, severityColour(findings[row-1].Severity), text)
	})
}

func severityColour(s check.Severity) string {
	switch s {
	case check.OK:
		return green
	case check.Warning:
		return yellow
	default:
		return red
	}
}

// table aligns the columns of rows; style, if not nil, dresses a cell that has been padded already.
func table(w io.Writer, rows [][]string, style func(row, column int, text string) string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for r, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if i < len(row)-1 {
				cell += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			}
			if style != nil {
				cell = style(r, i, cell)
			}
			cells[i] = cell
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "  "), " ")); err != nil {
			return err
		}
	}
	return nil
}

func number(s event.Seq) string { return strconv.FormatUint(uint64(s), 10) }

func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return age(max(0, now.Sub(t)))
}

// Age is a duration in the two units that matter.
func Age(d time.Duration) string { return age(d) }

// age is a duration in the two units that matter.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 24*time.Hour:
		return d.Round(time.Second).String()
	default:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// Table aligns the columns of rows, of which the first is the head.
func Table(w io.Writer, rows [][]string) error { return table(w, rows, nil) }
