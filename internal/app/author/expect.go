package author

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"stackstream/internal/cassette"
)

// Expected is what a file of expected events holds: a list of canonical events, and what could not be made one.
type expected = []json.RawMessage

// document is the file of these events.
func document(events []Event) ([]byte, error) {
	all := expected{}
	for _, e := range events {
		body := e.Body
		if body == nil {
			var err error
			if body, err = json.Marshal(map[string]string{"message_id": e.ID, "dead": e.Dead}); err != nil {
				return nil, err
			}
		}
		all = append(all, body)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(all)
	return out.Bytes(), err
}

// Update writes the file of expected events.
func Update(path string, events []Event) error {
	data, err := document(events)
	if err != nil {
		return err
	}
	return cassette.WriteFile(path, data, true)
}

// Differences compares events with the file of those that are expected, in order. It is empty where they are the same.
func Differences(path string, events []Event) ([]string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: --update writes it", path)
	}
	if err != nil {
		return nil, err
	}
	var want expected
	if err := json.Unmarshal(data, &want); err != nil {
		return nil, fmt.Errorf("%s is no list of events: %w", path, err)
	}
	got, err := document(events)
	if err != nil {
		return nil, err
	}
	var have expected
	if err := json.Unmarshal(got, &have); err != nil {
		return nil, err
	}
	var found []string
	was, is := byID(want), byID(have)
	for _, id := range order(want) {
		if _, ok := is[id]; !ok {
			found = append(found, "missing: "+id)
			continue
		}
		for _, name := range changed(was[id], is[id]) {
			got, wanted := excerpt(is[id][name]), excerpt(was[id][name])
			found = append(found, fmt.Sprintf("changed: %s: %s is %s, expected is %s", id, name, got, wanted))
		}
	}
	for _, id := range order(have) {
		if _, ok := was[id]; !ok {
			found = append(found, "new: "+id)
		}
	}
	if len(found) == 0 && !slices.Equal(order(want), order(have)) {
		found = append(found, "the order is another one")
	}
	return found, nil
}

func byID(list expected) map[string]map[string]json.RawMessage {
	out := map[string]map[string]json.RawMessage{}
	for i, id := range order(list) {
		members := map[string]json.RawMessage{}
		_ = json.Unmarshal(list[i], &members)
		out[id] = members
	}
	return out
}

// order are the identities in a list; one that comes again is told from the first.
func order(list expected) []string {
	var out []string
	seen := map[string]int{}
	for _, raw := range list {
		var e struct {
			ID string `json:"message_id"`
		}
		_ = json.Unmarshal(raw, &e)
		if seen[e.ID]++; seen[e.ID] > 1 {
			e.ID = fmt.Sprintf("%s (%d)", e.ID, seen[e.ID])
		}
		out = append(out, e.ID)
	}
	return out
}

func changed(was, is map[string]json.RawMessage) []string {
	names := maps.Clone(was)
	maps.Copy(names, is)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(names)), func(name string) bool { return compact(was[name]) == compact(is[name]) })
}

func compact(v json.RawMessage) string {
	var out bytes.Buffer
	if json.Compact(&out, v) != nil {
		return string(v)
	}
	return out.String()
}

func excerpt(v json.RawMessage) string {
	text := compact(v)
	switch {
	case text == "":
		return "nothing"
	case len(text) > 100:
		return strings.ToValidUTF8(text[:100], "") + "…"
	}
	return text
}
