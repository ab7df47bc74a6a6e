package rules

import (
	"bytes"
	"slices"
	"testing"

	"stackstream/internal/rawjson"
)

// What is secret in a value that was taken apart is what is found secret by going through it.
func FuzzRedactDoc(f *testing.F) {
	for _, seed := range []string{
		`{"password":[1],"n":1e400,"token":null,"secret":{"token":"a"}}`, `[{"name":"psk","value":"x"},["token",1,"x"],["token",1,"x",2]]`,
		`{"value":"x=","key":"psk","value":[],"value":{"password":"y"}}`, `"rabbit://u:x@h:1,u:y@h/?token=z&a=b"`, ` {"p\u0061ssword":"x"} `,
		`[["password",2,{"a":"b"}],[[]],{},{"a":{}}]`, `{"name":["password"],"value":"{\"token\":1}"}`,
	} {
		f.Add([]byte(seed))
	}
	r := defaults(f).redactor
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := rawjson.Parse(body)
		if err != nil {
			return
		}
		got, n := r.Redact(v)
		if want, m := r.byTokens(v, 0); n != m || !bytes.Equal(got, want) {
			t.Fatalf("%s became %s, %d, and by its tokens %s, %d", v, got, n, want, m)
		}
	})
}

// tokenRedaction does what redaction does by going through the text.
type tokenRedaction struct {
	*Redactor
	v      rawjson.Value
	depth  int              // of strings in strings
	within []tokenContainer // the objects and lists that are open, the innermost last
	hidden int              // all up to here is replaced already
	edits  []edit
	count  int
}

// tokenContainer is an object or a list that is being read: so far it has n names or elements.
type tokenContainer struct {
	list   bool
	n      int
	next   role
	secret bool            // its label is a secret key
	number bool            // the second element is a number
	values []rawjson.Token // what the label belongs to, where it is neither an object nor a list
}

func (r *Redactor) byTokens(v rawjson.Value, depth int) (rawjson.Value, int) {
	a := tokenRedaction{Redactor: r, v: v, depth: depth}
	for t := range v.Tokens() {
		if t.Start >= a.hidden {
			a.read(t)
		}
	}
	return a.result(), a.count
}

func (a *tokenRedaction) read(t rawjson.Token) {
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

func (a *tokenRedaction) roleOf(name []byte) role {
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
func (a *tokenRedaction) value(t rawjson.Token) {
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
		a.within = append(a.within, tokenContainer{list: t.Kind == rawjson.OpenArray})
	}
}

// takes returns what the value is that comes next.
func (c *tokenContainer) takes() role {
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

func (c *tokenContainer) isPair() bool { return c.secret && (!c.list || c.n == 3) }

// hide replaces a value that has something to hide.
func (a *tokenRedaction) hide(start, end int) bool {
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
func (a *tokenRedaction) text(t rawjson.Token) {
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

func (a *tokenRedaction) result() rawjson.Value {
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
