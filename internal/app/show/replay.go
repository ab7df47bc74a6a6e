package show

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"stackstream/event"
	"stackstream/jetstream"
)

// noSign is after what time without a record a job that is not paused is shown as one that nobody works on.
const noSign = time.Minute

// ReplayState is a job's state for people: one that was killed can't say so itself.
func ReplayState(r *event.Replay, now time.Time) string {
	if quiet := now.Sub(r.WrittenAt); r.State == event.ReplayRunning && quiet > noSign {
		return fmt.Sprintf("no sign for %s", age(quiet))
	}
	return string(r.State)
}

// Replays writes one line per job, with a head.
func Replays(w io.Writer, jobs []jetstream.ReplayJob, now time.Time) error {
	if len(jobs) == 0 {
		_, err := fmt.Fprintln(w, "There are no jobs.")
		return err
	}
	rows := [][]string{{"JOB", "PROVIDER", "STATE", "DONE", "EVENTS", "DEAD", "MADE", "WRITTEN", "BY"}}
	for _, j := range jobs {
		done := j.Counts.Raw + j.Counts.Lost
		rows = append(rows, []string{
			string(j.Name), string(j.Provider), ReplayState(&j.Replay, now), fmt.Sprintf("%s of %s", Count(done), Count(j.Total())),
			Count(j.Counts.Events), Count(j.Counts.Dead), instant(j.MadeAt), since(j.WrittenAt, now) + " ago", Clean(j.Owner),
		})
	}
	return table(w, rows, nil)
}

// Replay writes all that there is to say about a job, and how to read what it has made.
func Replay(w io.Writer, j *jetstream.ReplayJob, now time.Time) error {
	r, c := &j.Replay, &j.Counts
	rows := [][]string{
		{"job", string(j.Name)},
		{"state", ReplayState(r, now)},
		{"provider", string(r.Provider)},
		{"range", fmt.Sprintf("%s %d to %d (--since %s%s)", event.StreamRaw, r.From, r.To, Clean(r.Since), until(r))},
	}
	if r.Halted != nil {
		rows = append(rows, []string{"", Clean(event.PauseReason(r.Halted.Err()))})
	}
	if len(r.Types) > 0 {
		rows = append(rows, []string{"types", Clean(strings.Join(r.Types, " "))})
	}
	if r.Rate > 0 {
		rows = append(rows, []string{"rate", fmt.Sprintf("%s/s at most", Count(r.Rate))})
	}
	var names []string
	for _, format := range slices.Sorted(maps.Keys(r.Converters)) {
		names = append(names, Clean(r.Converters[format]))
	}
	rows = append(rows,
		[]string{"converters", strings.Join(names, " ")},
		[]string{"made", instant(r.MadeAt) + " by " + Clean(r.MadeBy)},
		[]string{"last written", instant(r.WrittenAt) + " by " + Clean(r.Owner)},
		[]string{"raw events", fmt.Sprintf("%s of %s", Count(c.Raw+c.Lost), Count(r.Total()))},
		[]string{"events", fmt.Sprintf("%s, of which %s are still kept", Count(c.Events), Count(j.HeldEvents))},
		[]string{"dead letters", fmt.Sprintf("%s, of which %s are still kept", Count(c.Dead), Count(j.HeldDead))},
	)
	for _, more := range []struct {
		n    uint64
		name string
		note string
	}{
		{c.Filtered, "other types", "left out"},
		{c.Skipped, "repairs", "passed over: their raw events are converted in their own place, or stay dead"},
		{c.Lost, "lost", "raw events that RAW had dropped, which was accepted"},
	} {
		if more.n > 0 {
			rows = append(rows, []string{more.name, Count(more.n) + " " + more.note})
		}
	}
	if err := table(w, rows, nil); err != nil {
		return err
	}
	return HowToRead(w, j.Name, r.Provider)
}

func until(r *event.Replay) string {
	if r.Until == "" {
		return ""
	}
	return " --until " + Clean(r.Until)
}

// HowToRead says how to read what a job has made.
func HowToRead(w io.Writer, n event.ReplayName, p event.Provider) error {
	_, err := fmt.Fprintf(w, `Read it:
  stackstream tail --replay %[1]s
  nats stream view %[2]s --subject '%[3]s'
`, n, event.StreamReplay, event.ReplaySubject(n, p))
	return err
}
