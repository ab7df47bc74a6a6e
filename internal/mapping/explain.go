package mapping

import (
	"errors"

	"stackstream/internal/expr"
)

// Explained is what an expression came to for a record, or why it came to nothing.
type Explained struct {
	Field, Text string
	Err         error
}

// Explain evaluates the expressions one by one. Those that the mapping does not have are left out.
func (m *Mapping) Explain(vars expr.Vars) []Explained {
	var all []Explained
	add := func(field string, p *expr.Program) {
		if p == nil {
			return
		}
		text, err := explain(p, vars)
		all = append(all, Explained{field, text, err})
	}
	add("id", m.id)
	add("type", m.typ)
	add("time", m.at)
	for _, f := range m.texts {
		add(f.field, f.program)
	}
	add("traceparent", m.traceparent)
	add("tracestate", m.tracestate)
	for _, t := range m.targets {
		add("targets."+t.kind, t.program)
	}
	return all
}

func explain(p *expr.Program, vars expr.Vars) (string, error) {
	val, err := p.Eval(vars)
	if err != nil {
		return "", err
	}
	if at, ok := val.Time(); ok {
		return at.UTC().Format("2006-01-02T15:04:05.999999999Z07:00"), nil
	}
	text, err := val.Text()
	if err == nil && text == "" {
		err = errors.New("is empty, or not there")
	}
	return text, err
}
