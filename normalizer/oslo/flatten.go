package oslo

import (
	"bytes"
	"slices"

	"stackstream/internal/rawjson"
)

// Flatten puts the members of every versioned object's data in the place of that data, at any depth. The prefix of the
// names is the service's: nova_object, ironic_object, watcher_object, versioned_object, …
//
// It leaves an object alone that is not quite a versioned one: with other members beside those five names, with one of
// them twice, with data that is no object or has members of such names itself.
func Flatten(v rawjson.Value) rawjson.Value { return new(flattening).flatten(v) }

func (f *flattening) flatten(v rawjson.Value) rawjson.Value {
	if !bytes.Contains(v, []byte(suffix+`.data"`)) {
		return v
	}
	f.v, f.within, f.cuts = v, f.within[:0], f.cuts[:0]
	for t := range v.Tokens() {
		f.next(t)
	}
	return f.result()
}

// suffix ends the prefix of the names.
const suffix = "_object"

// flattening goes through a value once and collects what to leave out, in the memory of the one before.
type flattening struct {
	v      rawjson.Value
	within []object // the objects and lists that are open, the innermost last
	cuts   []cut
}

type cut struct{ from, to int }

// object is an object that is being read, or a list.
type object struct {
	begin   int    // behind the brace
	members int    // so far
	prefix  []byte // of the names of a versioned object, once there was one
	tagged  bool   // has a name of a versioned object
	other   bool   // has something that a versioned object has not
	parts   [5]bool

	dataName int  // where the name of the data begins, while its value is next
	pending  bool // the value of the data is next
	data     part
}

// part is the data of a versioned object: an object in it.
type part struct {
	there      bool
	name       int // where its name begins
	begin, end int // behind the brace that opens it, and before the one that closes it
	empty      bool
}

func (f *flattening) next(t rawjson.Token) {
	switch t.Kind {
	case rawjson.OpenObject, rawjson.OpenArray:
		f.within = append(f.within, object{begin: t.End})
		return
	case rawjson.CloseObject, rawjson.CloseArray:
		last := len(f.within) - 1
		closed := f.within[last]
		f.within = f.within[:last]
		if last > 0 {
			f.within[last-1].closes(&closed, t)
		}
		if closed.isVersioned() {
			f.lift(closed.data)
		}
	case rawjson.Name:
		f.within[len(f.within)-1].named(f.v.NameOf(t), t.Start)
	case rawjson.Scalar:
		if n := len(f.within); n > 0 {
			f.within[n-1].pending = false
		}
	}
}

// named takes note of a member's name.
func (o *object) named(name []byte, at int) {
	o.members++
	o.pending = false
	prefix, n := splitName(name)
	if n < 0 {
		o.other = true
		return
	}
	o.tagged = true
	if o.prefix == nil {
		o.prefix = prefix
	}
	if o.parts[n] || !bytes.Equal(o.prefix, prefix) {
		o.other = true
		return
	}
	o.parts[n] = true
	if n == partData {
		o.pending, o.dataName = true, at
	}
}

// closes takes note of a value that ended and was no scalar.
func (o *object) closes(inner *object, end rawjson.Token) {
	if o.pending && end.Kind == rawjson.CloseObject && !inner.tagged {
		o.data = part{there: true, name: o.dataName, begin: inner.begin, end: end.Start, empty: inner.members == 0}
	}
	o.pending = false
}

func (o *object) isVersioned() bool {
	return !o.other && o.parts[partName] && o.data.there
}

// lift leaves out what is around the members of the data.
func (f *flattening) lift(d part) {
	if !d.empty {
		f.cuts = append(f.cuts, cut{d.name, d.begin}, cut{d.end, d.end + 1})
		return
	}
	// A comma goes, too: the name of the object stands before it or behind it.
	whole := cut{d.name, d.end + 1}
	if before := bytes.TrimRight(f.v[:d.name], " \t\r\n"); before[len(before)-1] == ',' {
		whole.from = len(before) - 1
	} else {
		whole.to += bytes.IndexByte(f.v[whole.to:], ',') + 1
	}
	f.cuts = append(f.cuts, whole)
}

func (f *flattening) result() rawjson.Value {
	if len(f.cuts) == 0 {
		return f.v
	}
	slices.SortFunc(f.cuts, func(a, b cut) int { return a.from - b.from })
	out := make([]byte, 0, len(f.v))
	at := 0
	for _, c := range f.cuts {
		out = append(out, f.v[at:c.from]...)
		at = c.to
	}
	return append(out, f.v[at:]...)
}

const (
	partName = iota
	partNamespace
	partVersion
	partChanges
	partData
)

// splitName returns the prefix of a name like "nova_object.data" and which of the five it is, or -1.
func splitName(name []byte) (prefix []byte, n int) {
	dot := bytes.LastIndexByte(name, '.')
	if dot < 0 || !bytes.HasSuffix(name[:dot], []byte(suffix)) {
		return nil, -1
	}
	switch string(name[dot+1:]) {
	case "name":
		n = partName
	case "namespace":
		n = partNamespace
	case "version":
		n = partVersion
	case "changes":
		n = partChanges
	case "data":
		n = partData
	default:
		n = -1
	}
	return name[:dot], n
}
