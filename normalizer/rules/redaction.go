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
	v      rawjson.Value
	depth  int         // of strings in strings
	within []container // the objects and lists that are open, the innermost last
	hidden int         // all up to here is replaced already
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
	n      int
	next   role
	secret bool            // its label is a secret key
	number bool            // the second element is a number
	values []rawjson.Token // what the label belongs to, where it is neither an object nor a list
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

func (r *Redactor) redact(v rawjson.Value, depth int) (rawjson.Value, int) {
	a := redaction{Redactor: r, v: v, depth: depth}
	for t := range v.Tokens() {
		if t.Start >= a.hidden {
			a.read(t)
		}
	}
	return a.result(), a.count
}

func (a *redaction) read(t rawjson.Token) {
	switch t.Kind {
	case rawjson.Name:
		in := &a.within[len(a.within)-1]
		in.n++
		in.next = a.roleOf(a.v.NameOf(t))
	case rawjson.CloseObject, rawjson.CloseArray:
		last := len(a.within) - 1
		closed := a.within[last]
		a.within = a.within[:last]
		for _, value := range closed.values {
			if closed.isPair() {
				a.hide(value.Start, value.End)
			} else {
				a.text(value)
			}
		}
	default:
		a.value(t)
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
func (a *redaction) value(t rawjson.Token) {
	var is role
	if n := len(a.within); n > 0 {
		in := &a.within[n-1]
		is = in.takes()
		if t.Kind == rawjson.Scalar {
			text, isText := a.v[t.Start:t.End].TextBytes()
			switch is {
			case label:
				in.secret = isText && a.matches(text)
			case kind:
				in.number = !isText && a.v[t.Start:t.End].ID() != ""
			case labelled:
				in.values = append(in.values, t)
				return
			}
		}
	}
	switch {
	case is == secret && a.hide(t.Start, a.v.EndOf(t)):
	case t.Kind == rawjson.Scalar:
		a.text(t)
	default:
		a.within = append(a.within, container{list: t.Kind == rawjson.OpenArray})
	}
}

// takes returns what the value is that comes next.
func (c *container) takes() role {
	is := c.next
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
func (a *redaction) hide(start, end int) bool {
	if value := a.v[start:end]; value.IsEmpty() || value[0] == 't' || value[0] == 'f' {
		return false
	}
	secret, isText := a.v[start:end].TextBytes()
	if !isText {
		secret = a.v[start:end]
	}
	shown, ok := a.shown(secret, !isText && a.v[start:end].ID() == "")
	if !ok {
		return false
	}
	a.edits = append(a.edits, edit{start, end, rawjson.AppendQuoted(nil, shown)})
	a.count++
	a.hidden = max(a.hidden, end)
	return true
}

// text replaces what is secret in a string.
func (a *redaction) text(t rawjson.Token) {
	quoted := a.v[t.Start:t.End]
	if !mayHide(quoted) {
		return
	}
	text, isText := quoted.TextBytes()
	if !isText {
		return
	}
	shown, n := a.redactText(text, a.depth)
	if n > 0 {
		a.edits = append(a.edits, edit{t.Start, t.End, rawjson.AppendQuoted(nil, string(shown))})
		a.count += n
	}
}

func (a *redaction) result() rawjson.Value {
	if len(a.edits) == 0 {
		return a.v
	}
	slices.SortFunc(a.edits, func(x, y edit) int { return x.start - y.start }) // those of pairs came late
	out := make([]byte, 0, len(a.v))
	at := 0
	for _, e := range a.edits {
		out = append(append(out, a.v[at:e.start]...), e.with...)
		at = e.end
	}
	return append(out, a.v[at:]...)
}
