package rules

import (
	"strings"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

// facts looks things up in what is known of one event.
type facts struct {
	event *event.Event
	docs  []rawjson.Object
}

// first returns the first identifier at any of the paths. Paths are tried in order, each in all documents.
func (f *facts) first(paths ...string) string {
	found := ""
	for _, path := range paths {
		if f.each(path, func(id string) bool { found = id; return false }) {
			continue
		}
		return found
	}
	return ""
}

// each calls yield with the identifiers at a path like "port.id", in document order, until yield returns false; it
// returns whether it got to the end. Lists on the way are looked into, so that "ports.id" finds the ids of all ports.
func (f *facts) each(path string, yield func(id string) bool) bool {
	for _, doc := range f.docs {
		if !eachAt(doc, path, yield) {
			return false
		}
	}
	return true
}

func eachAt(members rawjson.Object, path string, yield func(id string) bool) bool {
	name, rest, nested := strings.Cut(path, ".")
	return eachIn(members.Get(name), rest, nested, yield)
}

func eachIn(v rawjson.Value, rest string, nested bool, yield func(id string) bool) bool {
	if elements, ok := v.Elements(); ok {
		for _, e := range elements {
			if !e.IsArray() && !eachIn(e, rest, nested, yield) {
				return false
			}
		}
		return true
	}
	if !nested {
		id := strings.TrimSpace(Text(v))
		return id == "" || yield(id)
	}
	members, ok := v.Members()
	return !ok || eachAt(members, rest, yield)
}
