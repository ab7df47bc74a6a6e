package rules

import (
	"slices"

	"stackstream/internal/rawjson"
)

// maxWithin bounds how deep JSON is looked for in strings in JSON: services were seen to nest it twice.
const maxWithin = 4

// redaction goes through a value once and collects what to replace.
type redaction struct {
	*Redactor
	doc    *rawjson.Doc
	depth  int         // of strings in strings
	within []container // the objects and lists that are open, the innermost last
	edits  []edit
	count  int
}

// edit puts something in the place of the bytes from start to end.
type edit struct {
	start, end int
	with       []byte
}

// container is an object or a list that is being read: so far it has n names or elements.
type container struct {
	list   bool
	named  bool // the value of a name comes next
	secret bool // its label is a secret key
	number bool // the second element is a number
	next   role
	n      int
	end    int   // the number of the part behind it
	values []int // what the label belongs to, where it is neither an object nor a list
}

// role says what a value is to its object or list.
type role byte

const (
	plain  role = iota
	secret      // by its name
	label       // {"name": here, …}, {"key": here, …}, [here, type, value]
	labelled
	kind // of a triple
)

func (r *Redactor) redact(doc *rawjson.Doc, depth int) (rawjson.Value, int) {
	a := r.redactions.Get().(*redaction)
	defer a.done()
	a.Redactor, a.doc, a.depth = r, doc, depth
	for at := 0; at < doc.Len(); {
		for len(a.within) > 0 && a.within[len(a.within)-1].end == at {
			a.close()
		}
		at = a.read(at)
	}
	for len(a.within) > 0 {
		a.close()
	}
	return a.result(), a.count
}

// maxEdits is how many edits memory is kept for.
const maxEdits = 256

// done takes a redaction back, with nothing in it.
func (a *redaction) done() {
	pool, edits := a.redactions, a.edits
	if clear(edits); cap(edits) > maxEdits {
		edits = nil
	}
	*a = redaction{within: a.within[:0], edits: edits[:0]}
	pool.Put(a)
}

// read reads a part, and returns the number of the next one to read.
func (a *redaction) read(at int) int {
	if n := len(a.within); n > 0 && !a.within[n-1].list && !a.within[n-1].named {
		in := &a.within[n-1]
		in.n++
		in.next, in.named = a.roleOf(a.doc.Name(at)), true
		return at + 1
	}
	return a.value(at)
}

func (a *redaction) close() {
	last := len(a.within) - 1
	closed := &a.within[last]
	a.within = a.within[:last]
	for _, value := range closed.values {
		if closed.isPair() {
			a.hide(value)
		} else {
			a.text(value)
		}
	}
}

func (a *redaction) roleOf(name []byte) role {
	switch {
	case a.matches(name):
		return secret
	case string(name) == "name" || string(name) == "key":
		return label
	case string(name) == "value":
		return labelled
	}
	return plain
}

// value reads a value, or where it begins.
func (a *redaction) value(at int) int {
	v := a.doc.Value(at)
	scalar := !v.IsObject() && !v.IsArray()
	var is role
	if n := len(a.within); n > 0 {
		in := &a.within[n-1]
		is = in.takes()
		if scalar && is > secret {
			text, isText := v.TextBytes()
			switch is {
			case label:
				in.secret = isText && a.matches(text)
			case kind:
				in.number = !isText && v.ID() != ""
			case labelled:
				in.values = append(in.values, at)
				return at + 1
			}
		}
	}
	switch {
	case is == secret && a.hide(at):
		return a.doc.Next(at)
	case scalar:
		a.text(at)
	default:
		a.within = append(a.within, container{list: v.IsArray(), end: a.doc.Next(at)})
	}
	return at + 1
}

// takes returns what the value is that comes next.
func (c *container) takes() role {
	is := c.next
	c.named = false
	if c.list {
		c.n++
		switch {
		case c.n == 1:
			is = label
		case c.n == 2 && c.secret:
			is = kind
		case c.n == 3 && c.number:
			is = labelled
		}
	}
	return is
}

func (c *container) isPair() bool { return c.secret && (!c.list || c.n == 3) }

// hide replaces a value that has something to hide.
func (a *redaction) hide(at int) bool {
	value := a.doc.Value(at)
	if value.IsEmpty() || value[0] == 't' || value[0] == 'f' {
		return false
	}
	secret, isText := value.TextBytes()
	if !isText {
		secret = value
	}
	shown, ok := a.shown(secret, !isText && value.ID() == "")
	if !ok {
		return false
	}
	a.replace(at, shown)
	a.count++
	return true
}

// text replaces what is secret in a string.
func (a *redaction) text(at int) {
	quoted := a.doc.Value(at)
	if quoted[0] != '"' || !mayHide(quoted) {
		return
	}
	text, _ := quoted.TextBytes()
	shown, n := a.redactText(text, a.depth)
	if n > 0 {
		a.replace(at, string(shown))
		a.count += n
	}
}

func (a *redaction) replace(at int, shown string) {
	start, end := a.doc.Span(at)
	a.edits = append(a.edits, edit{start, end, rawjson.AppendQuoted(nil, shown)})
}

func (a *redaction) result() rawjson.Value {
	v := a.doc.Value(0)
	if len(a.edits) == 0 {
		return v
	}
	slices.SortFunc(a.edits, func(x, y edit) int { return x.start - y.start }) // those of pairs came late
	out := make([]byte, 0, len(v))
	at := 0
	for _, e := range a.edits {
		out = append(append(out, v[at:e.start]...), e.with...)
		at = e.end
	}
	return append(out, v[at:]...)
}
