package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"stackstream/internal/rawjson"
)

// Change is one value of an event that is another one now.
type Change struct {
	// Path is where it stands: payload.ports[0].state.
	Path string `json:"path"`
	// Old and New are JSON; one of them is absent where the value is new, or gone.
	Old json.RawMessage `json:"old,omitempty"`
	New json.RawMessage `json:"new,omitempty"`
}

// Field is the path without the places in lists, so that what changes alike is counted together.
func (c Change) Field() string {
	if !strings.Contains(c.Path, "[") {
		return c.Path
	}
	var b strings.Builder
	for i := 0; i < len(c.Path); i++ {
		b.WriteByte(c.Path[i])
		if c.Path[i] != '[' || i+1 == len(c.Path) || c.Path[i+1] < '0' || c.Path[i+1] > '9' {
			continue
		}
		for i+1 < len(c.Path) && c.Path[i+1] != ']' {
			i++
		}
	}
	return b.String()
}

// changes lists in what two JSON documents differ as values: the order of members and how a text is escaped say nothing, every
// digit of a number does.
func changes(before, after []byte) ([]Change, error) {
	if bytes.Equal(before, after) {
		return nil, nil
	}
	was, err := rawjson.Parse(before)
	if err != nil {
		return nil, fmt.Errorf("the event as it is: %w", err)
	}
	is, err := rawjson.Parse(after)
	if err != nil {
		return nil, fmt.Errorf("the event as it would be: %w", err)
	}
	var found []Change
	compare("", was, is, &found)
	return found, nil
}

// compare is as deep as the documents are, which rawjson bounds.
func compare(path string, was, is rawjson.Value, found *[]Change) {
	oldMembers, oldObject := was.Members()
	newMembers, newObject := is.Members()
	if oldObject && newObject {
		seen := map[string]bool{}
		for _, m := range append(oldMembers, newMembers...) {
			if name := string(m.Name); !seen[name] {
				seen[name] = true
				compare(below(path, name), oldMembers.Get(name), newMembers.Get(name), found)
			}
		}
		return
	}
	oldElements, oldArray := was.Elements()
	newElements, newArray := is.Elements()
	if oldArray && newArray {
		for i := range max(len(oldElements), len(newElements)) {
			compare(path+"["+strconv.Itoa(i)+"]", at(oldElements, i), at(newElements, i), found)
		}
		return
	}
	if !sameScalar(was, is) {
		*found = append(*found, Change{Path: path, Old: json.RawMessage(was), New: json.RawMessage(is)})
	}
}

func at(elements []rawjson.Value, i int) rawjson.Value {
	if i < len(elements) {
		return elements[i]
	}
	return nil
}

// sameScalar compares values that are not both objects or both lists.
func sameScalar(a, b rawjson.Value) bool {
	x, text := a.TextBytes()
	y, alsoText := b.TextBytes()
	if text && alsoText {
		return bytes.Equal(x, y)
	}
	return bytes.Equal(a, b)
}

// below is the path of a member.
func below(path, name string) string {
	plain := name != "" && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0
	switch {
	case !plain:
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	default:
		return path + "." + name
	}
}
