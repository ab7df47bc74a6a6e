package show

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"stackstream/event"
)

// Standings writes one line per provider, with what holds of all its sources, and one for each of these. now is what ages are
// counted from.
func Standings(w io.Writer, stands []event.ProviderStand, now time.Time, colour bool) error {
	if len(stands) == 0 {
		_, err := fmt.Fprintln(w, "No source has collected anything yet.")
		return err
	}
	rows, states := standRows(stands, now)
	head := []string{
		"PROVIDER", "SOURCE", "COLLECTED", "NORMALIZED", "LAG", "COMPLETE UP TO", "BEHIND NOW", "WRITTEN BY", "HELD BY", "STATE",
	}
	return table(w, append([][]string{head}, rows...), func(row, column int, text string) string {
		if row == 0 || column != len(head)-1 {
			return text
		}
		return paint(colour, standColour(states[row-1]), text)
	})
}

// StandLines writes the same without a head, each line with the time, for those who follow.
func StandLines(w io.Writer, stands []event.ProviderStand, now time.Time) error {
	rows, _ := standRows(stands, now)
	for i := range rows {
		rows[i] = append([]string{instant(now)}, rows[i]...)
	}
	return table(w, rows, nil)
}

// standRows are the cells of Standings, and the states in them.
func standRows(stands []event.ProviderStand, now time.Time) (rows [][]string, states []event.Standing) {
	for _, p := range stands {
		behind := since(p.NormalizedTime, now)
		rows = append(rows, []string{
			string(p.Provider), "(all)", "-", "-", strconv.FormatUint(p.LagEvents, 10), instant(p.NormalizedTime), behind,
			dash(Clean(p.Owner)), dash(Clean(p.Normalizer)), standText(p.Stand),
		})
		states = append(states, p.State)
		for _, s := range p.Sources {
			lag, behind := strconv.FormatUint(s.LagEvents, 10), since(s.NormalizedTime, now)
			if s.Lag > 0 {
				lag += " (" + age(s.Lag) + ")"
			}
			if s.Retired {
				behind = "retired" // nothing will come
			}
			rows = append(rows, []string{
				string(s.Provider), string(s.Source), number(s.Collected), number(s.Normalized), lag,
				instant(s.NormalizedTime), behind, dash(Clean(s.Owner)), dash(Clean(s.Holder)), standText(s.Stand),
			})
			states = append(states, s.State)
		}
	}
	return rows, states
}

func standText(s event.Stand) string {
	text := string(s.State)
	if !s.Since.IsZero() {
		text += " since " + instant(s.Since)
	}
	if s.Reason != "" {
		text += " (" + Clean(s.Reason) + ")"
	}
	return text
}

func standColour(s event.Standing) string {
	switch s {
	case event.StandingLive, event.StandingRetired, event.StandingReplaced, event.StandingRemoved:
		return green
	case event.StandingPaused, event.StandingCatchingUp, event.StandingNever:
		return yellow
	default:
		return red
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
