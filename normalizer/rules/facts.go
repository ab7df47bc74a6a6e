package rules

import (
	"strings"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

// facts looks things up in what is known of one event.
type facts struct {
	event *event.Event
	docs  []Index
}

// Index is the members of an object to look up many names in, most of which are not there.
type Index struct {
	members rawjson.Object
	names   names
}

// NewIndex shares the members.
func NewIndex(members rawjson.Object) Index {
	x := Index{members: members}
	x.names.add(members)
	return x
}

// Get is Get of the members.
func (x *Index) Get(name string) rawjson.Value {
	if !x.names.mayHave(place(name)) {
		return nil
	}
	return x.members.Get(name)
}

// names says of most names that are not in an object that they are not: rules ask for many more than an event has.
type names [4]uint64

func (n *names) add(members rawjson.Object) {
	for i := range members {
		at := place(members[i].Name)
		n[at/64] |= 1 << (at % 64)
	}
}

func (n *names) mayHave(at uint8) bool { return n[at/64]>>(at%64)&1 != 0 }

// place is one of 256, by what names that services use differ in.
func place[S string | []byte](name S) uint8 {
	if len(name) == 0 {
		return 0
	}
	return uint8(len(name))<<4 ^ name[0]<<1 ^ name[len(name)/2] ^ name[len(name)-1]<<3
}

// look adds an object to those that things are looked up in.
func (f *facts) look(members rawjson.Object) { f.docs = append(f.docs, NewIndex(members)) }

// path is where identifiers are, like "port.id".
type path struct {
	name, rest string
	nested     bool
	place      uint8 // of the name
}

func newPath(s string) path {
	p := path{}
	p.name, p.rest, p.nested = strings.Cut(s, ".")
	p.place = place(p.name)
	return p
}

// first returns the first identifier at any of the paths. Paths are tried in order, each in all documents.
func (f *facts) first(paths ...string) string {
	found := ""
	for _, path := range paths {
		p := newPath(path)
		if f.each(&p, func(id string) bool { found = id; return false }) {
			continue
		}
		return found
	}
	return ""
}

// each calls yield with the identifiers at a path, in document order, until yield returns false; it returns whether it got to the
// end. Lists on the way are looked into, so that "ports.id" finds the ids of all ports.
func (f *facts) each(p *path, yield func(id string) bool) bool {
	for i := range f.docs {
		if doc := &f.docs[i]; doc.names.mayHave(p.place) && !eachIn(doc.members.Get(p.name), p.rest, p.nested, yield) {
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
	name, rest, nested := strings.Cut(rest, ".")
	return eachIn(v.Member(name), rest, nested, yield)
}
