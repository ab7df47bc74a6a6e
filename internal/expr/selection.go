package expr

import (
	"fmt"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"stackstream/internal/rawjson"
)

// selection is an expression that does nothing but select something of a variable: rec.actor.id, rec.?actor.?id, rec.list[0].id.
type selection struct {
	root  string // "" if it is more than that
	steps []step
	plain bool // only names, none of them with a question mark
}

// step is a name, or an index where there is none.
type step struct {
	name     string
	index    int // -1 if it is a name
	optional bool
}

// selected takes an expression apart.
func selected(e ast.Expr) selection {
	switch e.Kind() {
	case ast.IdentKind:
		return selection{root: e.AsIdent(), plain: true}
	case ast.SelectKind:
		if s := e.AsSelect(); !s.IsTestOnly() {
			return selected(s.Operand()).then(step{name: s.FieldName(), index: -1})
		}
	case ast.CallKind:
		call := e.AsCall()
		name := call.FunctionName()
		if len(call.Args()) != 2 || call.Args()[1].Kind() != ast.LiteralKind {
			break
		}
		switch literal := call.Args()[1].AsLiteral().(type) {
		case types.String:
			if name == operators.Index || name == operators.OptSelect || name == operators.OptIndex {
				return selected(call.Args()[0]).then(step{name: string(literal), index: -1, optional: name != operators.Index})
			}
		case types.Int:
			if name == operators.Index && literal >= 0 && int64(literal) == int64(int(literal)) {
				return selected(call.Args()[0]).then(step{index: int(literal)})
			}
		}
	}
	return selection{}
}

func (s selection) then(next step) selection {
	if s.root == "" {
		return s
	}
	s.steps = append(s.steps, next)
	s.plain = s.plain && next.index < 0 && !next.optional
	return s
}

// follow evaluates an expression that only selects; ok is false where CEL has to do it.
func (p *Program) follow(vars Vars) (val Val, err error, ok bool) {
	if p.root == "" {
		return Val{}, nil, false
	}
	switch root := vars[p.root].(type) {
	case Record:
		o, isObject := root.opened()
		switch {
		case !isObject || len(p.steps) == 0:
		case p.plain:
			val, err = p.member(o)
			return val, err, true
		default:
			val, ok = p.found(o)
			return val, nil, ok
		}
	case rawjson.Value:
		if p.plain {
			val, err = p.within(root)
			return val, err, true
		}
	}
	return Val{}, nil, false
}

// member follows names through objects.
func (p *Program) member(o *object) (Val, error) {
	if v, _ := p.find(o); v != nil {
		return Val{json: v}, nil
	}
	last := len(p.steps) - 1
	for _, s := range p.steps[:last] {
		if o = o.kid(s.name); o == nil {
			return Val{}, p.missing(s.name)
		}
	}
	at := o.member(p.steps[last].name)
	if at == nil {
		return Val{}, p.missing(p.steps[last].name)
	}
	return Val{json: at}, nil
}

// within is member for a value that is not taken apart.
func (p *Program) within(at rawjson.Value) (Val, error) {
	for _, s := range p.steps {
		members, _ := at.Members()
		if at = members.Get(s.name); at == nil {
			return Val{}, p.missing(s.name)
		}
	}
	return Val{json: at}, nil
}

func (p *Program) missing(name string) error {
	return fmt.Errorf("%s: %w: %s", p.text, ErrMissing, name)
}

// found is what the steps lead to, if that is there or need not be. Of all else CEL says what it is; of what is found it is what CEL
// makes of it.
func (p *Program) found(o *object) (val Val, ok bool) {
	v, none := p.find(o)
	if v == nil {
		return Val{}, none
	}
	if v.IsObject() || v.IsArray() {
		return Val{json: v}, true
	}
	return valOf(o.read.value(v)), true
}

// find follows the steps through what is taken apart; nil where they lead nowhere, or on into what is not. None says that they lead to
// a member that is not there and need not be.
func (s *selection) find(o *object) (v rawjson.Value, none bool) {
	doc, at := o.doc, o.at
	for i := range s.steps {
		next, in, inside := &s.steps[i], doc.Value(at), -1
		switch {
		case next.index >= 0 && in.IsArray():
			inside = doc.Element(at, next.index)
		case next.index < 0 && in.IsObject():
			inside = doc.Member(at, next.name)
			if inside < 0 && next.optional && i == len(s.steps)-1 && (doc.Known(at) || in.IsEmpty()) {
				return nil, true
			}
		}
		if inside < 0 {
			return nil, false
		}
		at = inside
	}
	return doc.Value(at), false
}
