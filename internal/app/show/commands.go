package show

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"stackstream/jetstream"
)

// Commands writes what operators did, one line each, with what it meant below where that was told.
func Commands(w io.Writer, all []jetstream.Commanded) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "Nothing was done by command.")
		return err
	}
	rows := [][]string{{"WHEN", "WHO", "PROVIDER", "RECORD", "VERB", "WHY", "CHANGED"}}
	for _, c := range all {
		record := c.Record
		if c.Source != "" {
			record = string(c.Source)
		}
		rows = append(rows, []string{
			instant(c.At), dash(Clean(c.By)), string(c.Provider), record, Clean(c.Verb), dash(Clean(c.Why)),
			Clean(changes(c.Before, c.After)),
		})
	}
	if err := table(w, rows, nil); err != nil {
		return err
	}
	for _, c := range all {
		if c.Note == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s %s %s: %s\n", instant(c.At), c.Provider, Clean(c.Verb), Clean(c.Note)); err != nil {
			return err
		}
	}
	return nil
}

// changes says which members of a record changed, but for those that every write changes.
func changes(before, after json.RawMessage) string {
	from, to := members(before), members(after)
	names := map[string]bool{}
	for name := range from {
		names[name] = true
	}
	for name := range to {
		names[name] = true
	}
	var said []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch name {
		case "batch", "owner", "written_at", "commanded", "format":
			continue
		}
		if a, b := brief(from[name]), brief(to[name]); a != b {
			said = append(said, fmt.Sprintf("%s: %s -> %s", name, a, b))
		}
	}
	return dash(strings.Join(said, "; "))
}

func members(record json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	_ = json.Unmarshal(record, &m) // what is no object has no members
	return m
}

func brief(value json.RawMessage) string {
	return dash(short([]byte(strings.Trim(string(value), `"`))))
}
