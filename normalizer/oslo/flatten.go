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
func Flatten(v rawjson.Value) rawjson.Value {
	if !mayFlatten(v) {
		return v
	}
	var doc rawjson.Doc
	doc.Open(v, rawjson.All)
	return new(flattening).flatten(&doc).Value(0)
}

// mayFlatten tells whether there could be a versioned object in a value.
func mayFlatten(v rawjson.Value) bool { return bytes.Contains(v, []byte(suffix+`.data"`)) }

// flatten is Flatten of what was taken apart wholly. What it returns may be that, or stays as it is until the next.
func (f *flattening) flatten(doc *rawjson.Doc) *rawjson.Doc {
	f.doc, f.within, f.without = doc, f.within[:0], f.without[:0]
	for at := 0; at < doc.Len(); at++ {
		for len(f.within) > 0 && f.within[len(f.within)-1].next == at {
			f.close()
		}
		f.read(at)
	}
	for len(f.within) > 0 {
		f.close()
	}
	if len(f.without) == 0 {
		return doc
	}
	slices.SortFunc(f.without, func(a, b rawjson.Cut) int { return a.From - b.From })
	f.flat.Without(doc, f.without)
	return &f.flat
}

// suffix ends the prefix of the names.
const suffix = "_object"

// flattening goes through a value once and collects what to leave out, in the memory of the one before.
type flattening struct {
	doc     *rawjson.Doc
	flat    rawjson.Doc
	within  []object // the objects and lists that are open, the innermost last
	without []rawjson.Cut
}

// object is an object that is being read, or a list.
type object struct {
	at, next int // its number, and that of what is behind it
	list     bool
	value    bool   // the value of a member is next
	members  int    // so far
	prefix   []byte // of the names of a versioned object, once there was one
	tagged   bool   // has a name of a versioned object
	other    bool   // has something that a versioned object has not
	parts    [5]bool

	pending bool // the value of the data is next
	data    int  // the number of the data, an object, 0 if there is none
}

// read reads a part, or where it begins.
func (f *flattening) read(at int) {
	v := f.doc.Value(at)
	if n := len(f.within); n > 0 {
		if in := &f.within[n-1]; !in.list && !in.value {
			in.value = true
			in.named(f.doc.Name(at))
			return
		}
	}
	if v.IsObject() || v.IsArray() {
		f.within = append(f.within, object{at: at, next: f.doc.Next(at), list: v.IsArray()})
		return
	}
	if n := len(f.within); n > 0 {
		f.within[n-1].value, f.within[n-1].pending = false, false
	}
}

func (f *flattening) close() {
	last := len(f.within) - 1
	closed := f.within[last]
	f.within = f.within[:last]
	if last > 0 {
		f.within[last-1].closes(&closed)
	}
	if closed.isVersioned() {
		f.lift(closed.data)
	}
}

// named takes note of a member's name.
func (o *object) named(name []byte) {
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
	o.pending = n == partData
}

// closes takes note of a value that ended and was no scalar.
func (o *object) closes(inner *object) {
	if o.pending && !inner.list && !inner.tagged {
		o.data = inner.at
	}
	o.value, o.pending = false, false
}

func (o *object) isVersioned() bool {
	return !o.other && o.parts[partName] && o.data > 0
}

// lift leaves out what is around the members of the data.
func (f *flattening) lift(data int) {
	v := f.doc.Value(0)
	name, _ := f.doc.Span(data - 1)
	begin, end := f.doc.Span(data)
	if f.doc.Known(data) {
		f.without = append(f.without, rawjson.Cut{From: name, To: begin + 1, Parts: 2}, rawjson.Cut{From: end - 1, To: end})
		return
	}
	// A comma goes, too: the name of the object stands before it or behind it.
	whole := rawjson.Cut{From: name, To: end, Parts: 2}
	if before := bytes.TrimRight(v[:name], " \t\r\n"); before[len(before)-1] == ',' {
		whole.From = len(before) - 1
	} else {
		whole.To += bytes.IndexByte(v[end:], ',') + 1
	}
	f.without = append(f.without, whole)
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
