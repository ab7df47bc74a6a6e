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
	names []names // of each of docs
}

// names says of most names that are not in an object that they are not: rules ask for many more than an event has.
type names [4]uint64

func (n *names) add(members rawjson.Object) {
	for i := range members {
		at := place(members[i].Name)
		n[at/64] |= 1 << (at % 64)
	}
}

func (n *names) mayHave(name string) bool {
	at := place(name)
	return n[at/64]>>(at%64)&1 != 0
}

// place is one of 256, by what names that services use differ in.
func place[S string | []byte](name S) uint8 {
	if len(name) == 0 {
		return 0
	}
	return uint8(len(name))<<4 ^ name[0]<<1 ^ name[len(name)/2] ^ name[len(name)-1]<<3
}

// look adds an object to those that things are looked up in.
func (f *facts) look(members rawjson.Object) {
	f.docs, f.names = append(f.docs, members), append(f.names, names{})
	f.names[len(f.names)-1].add(members)
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
	name, rest, nested := strings.Cut(path, ".")
	for i := range f.docs {
		if f.names[i].mayHave(name) && !eachIn(f.docs[i].Get(name), rest, nested, yield) {
			return false
		}
	}
	return true
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
	if !ok {
		return true
	}
	name, rest, nested := strings.Cut(rest, ".")
	return eachIn(members.Get(name), rest, nested, yield)
}
