package show

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"stackstream/subscribe"
)

// unused is after how long without use a durable is marked.
const unused = 24 * time.Hour

// Durables writes one line per durable, with a head.
func Durables(w io.Writer, found []subscribe.Durable, now time.Time) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "There are no durables on EVENTS_NORMALIZED.")
		return err
	}
	rows := [][]string{{
		"NAME", "KIND", "PROVIDERS", "POSITION", "BEHIND", "UNACKNOWLEDGED", "LAST USED", "READING", "GOES WHEN UNUSED FOR",
	}}
	for _, d := range found {
		providers := make([]string, len(d.Providers))
		for i, p := range d.Providers {
			providers[i] = string(p)
		}
		behind := strconv.FormatUint(d.Behind, 10)
		if !d.Oldest.IsZero() {
			behind += " (" + since(d.Oldest, now) + ")"
		}
		goes := "never"
		if d.InactiveAfter > 0 {
			goes = age(d.InactiveAfter)
		}
		rows = append(rows, []string{
			Clean(d.Name), string(d.Kind), orAll(strings.Join(providers, " ")), strconv.FormatUint(uint64(d.Position), 10), behind,
			strconv.Itoa(d.Unacknowledged), lastUsed(d, now), reading(d), goes,
		})
	}
	return table(w, rows, nil)
}

func orAll(providers string) string {
	if providers == "" {
		return "all"
	}
	return Clean(providers)
}

// lastUsed marks what nobody seems to need any more.
func lastUsed(d subscribe.Durable, now time.Time) string {
	text, at := "never", d.Created
	if !d.Active.IsZero() {
		text, at = since(d.Active, now)+" ago", d.Active
	}
	if !d.Reading && now.Sub(at) >= unused {
		text += " (unused)"
	}
	return text
}

func reading(d subscribe.Durable) string {
	switch {
	case d.Paused:
		return "paused"
	case d.Reading:
		return "yes"
	default:
		return "no"
	}
}
