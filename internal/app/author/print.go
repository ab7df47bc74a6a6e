package author

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackstream/collectors/httppoll"
	"stackstream/internal/app/show"
)

// Write prints what came of a conversation, for people.
func (r *Replay) Write(w io.Writer) error {
	for i, run := range r.Runs {
		if _, err := fmt.Fprintf(w, "run %d, by %s\n", i+1, run.Clock.Format(time.RFC3339)); err != nil {
			return err
		}
		rows := [][]string{}
		for _, q := range run.Requests {
			what := ""
			switch {
			case q.Records != nil:
				what = count(*q.Records, "record")
			case q.What != httppoll.AskedPage:
				what = q.What
			}
			rows = append(rows, []string{"  " + strconv.Itoa(q.Place), strconv.Itoa(q.Status), what, q.Method + " " + show.Clean(q.URL)})
		}
		for _, m := range run.Moves {
			rows = append(rows, []string{"  cursor", "", count(m.Events, "event"), show.Clean(standing(m.Cursor))})
		}
		if err := show.Table(w, rows); err != nil {
			return err
		}
		if run.Error != "" {
			if _, err := fmt.Fprintf(w, "  failed  %s\n", show.Clean(run.Error)); err != nil {
				return err
			}
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	if err := WriteEvents(w, r.Events); err != nil {
		return err
	}
	var notes []string
	for _, what := range slices.Sorted(maps.Keys(r.Odd)) {
		notes = append(notes, fmt.Sprintf("%s: %s", what, odd(what, r.Odd[what])))
	}
	if r.Unused > 0 {
		notes = append(notes, count(r.Unused, "recorded answer")+" nobody asked for")
	}
	for _, note := range notes {
		if _, err := fmt.Fprintln(w, note); err != nil {
			return err
		}
	}
	return nil
}

// standing says where a cursor stands, for people.
func standing(c []byte) string {
	var s struct {
		Parts map[string]map[string]any `json:"parts"`
	}
	if json.Unmarshal(c, &s) != nil {
		return string(c)
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.Parts)) {
		var words []string
		if name != "" {
			words = append(words, name+":")
		}
		for _, member := range []string{"from", "newest", "number", "token", "etag"} {
			switch v := s.Parts[name][member].(type) {
			case nil:
			case float64:
				words = append(words, member, strconv.FormatFloat(v, 'f', -1, 64))
			default:
				words = append(words, member, fmt.Sprint(v))
			}
		}
		if len(words) > 0 && words[len(words)-1] != name+":" {
			all = append(all, strings.Join(words, " "))
		}
	}
	if len(all) == 0 {
		return "at the beginning"
	}
	return strings.Join(all, "; ")
}

// WriteEvents prints a table of events.
func WriteEvents(w io.Writer, events []Event) error {
	rows := [][]string{{"TIME", "TYPE", "ID"}}
	for _, e := range events {
		at, typ := "-", e.Type
		if !e.Time.IsZero() {
			at = e.Time.Format("2006-01-02T15:04:05.999999Z07:00")
		}
		if e.Dead != "" {
			typ = "dead: " + e.Dead
		}
		rows = append(rows, []string{at, show.Clean(typ), show.Clean(e.ID)})
	}
	return show.Table(w, rows)
}

// odd says what httppoll.Hooks.Odd counts.
func odd(what string, n int) string {
	text := map[string]string{
		"no-id":                  "without what event.id says; a hash identifies it",
		"no-cursor":              "without what cursor.field says, or not as cursor.format says",
		"not-json":               "no JSON",
		"not-utf8":               "not UTF-8, identified by a hash (see request.charset)",
		"rounded":                "with an id of a number with more digits than a double has, identified by a hash",
		"disorder":               "older than the one before, though cursor.order is ascending",
		"too-early":              "from before the time that was asked for; left out",
		"filtered-by-expression": "left out by records.filter",
	}[what]
	return strings.TrimSpace(count(n, "record") + " " + text)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Write prints what came of the faults, for people.
func (t *Tests) Write(w io.Writer) error {
	rows := [][]string{{"FAULT", "INJECTED", "RESULT"}}
	for _, k := range t.Kinds {
		injected := strconv.Itoa(k.Places)
		if k.Places < k.All {
			injected += " of " + strconv.Itoa(k.All)
		}
		result := "none lost, none twice"
		switch {
		case len(k.Failed) > 0:
			result = "FAILED in " + count(len(k.Failed), "place")
		case k.Why != "":
			injected, result = "-", k.Why
		case k.Found > 0 || len(k.NotPromised) > 0:
			result = fmt.Sprintf("%d found, %d not promised by cursor.overlap and settle", k.Found, len(k.NotPromised))
		}
		rows = append(rows, []string{k.Fault, injected, result})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	if err := show.Table(w, rows); err != nil {
		return err
	}
	for _, k := range t.Kinds {
		for _, f := range k.Failed {
			if _, err := fmt.Fprintf(w, "\n%s, request %d: %s\n", k.Fault, f.Request, show.Clean(f.What)); err != nil {
				return err
			}
			for _, part := range []struct {
				what string
				ids  []string
			}{{"lost", f.Lost}, {"twice", f.Twice}, {"never shown", f.New}, {"changed", f.Changed}} {
				if err := list(w, part.what, part.ids); err != nil {
					return err
				}
			}
			for what, text := range map[string]string{"order": f.Order, "error": f.Error} {
				if text == "" {
					continue
				}
				if _, err := fmt.Fprintf(w, "  %-11s  %s\n", what, show.Clean(text)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// list prints some of many identities.
func list(w io.Writer, what string, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	const most = 8
	text := strings.Join(ids[:min(len(ids), most)], ", ")
	if len(ids) > most {
		text += fmt.Sprintf(", … (%d)", len(ids))
	}
	_, err := fmt.Fprintf(w, "  %-11s  %s\n", what, show.Clean(text))
	return err
}
