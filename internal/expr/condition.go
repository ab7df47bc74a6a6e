package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// condition is an expression that compares what a record has with texts: rec.type != "noise" && rec.outcome.result == "ok". Filters
// are such, and are asked of every record. It says what CEL says, or that it does not know: CEL decides then.
type condition struct {
	operator string // && || ! == !=
	left     *condition
	right    *condition
	of       selection // for == and !=
	text     string
}

// conditional takes an expression apart, nil if it is another one.
func conditional(e ast.Expr) *condition {
	if e.Kind() != ast.CallKind {
		return nil
	}
	args := e.AsCall().Args()
	c := &condition{operator: e.AsCall().FunctionName()}
	switch c.operator {
	case operators.LogicalNot:
		if c.left = conditional(args[0]); c.left == nil {
			return nil
		}
	case operators.LogicalAnd, operators.LogicalOr:
		if c.left, c.right = conditional(args[0]), conditional(args[1]); c.left == nil || c.right == nil || len(args) > 2 {
			return nil
		}
	case operators.Equals, operators.NotEquals:
		for i := range args {
			literal, isText := args[1-i].AsLiteral().(types.String)
			if c.of = selected(args[i]); isText && c.of.root != "" && c.of.plain && len(c.of.steps) > 0 {
				c.text = string(literal)
				return c
			}
		}
		return nil
	default:
		return nil
	}
	return c
}

// holds tells whether it is true of a record.
func (c *condition) holds(vars Vars) (is, known bool) {
	switch c.operator {
	case operators.LogicalNot:
		is, known = c.left.holds(vars)
		return !is, known
	case operators.LogicalAnd:
		if is, known = c.left.holds(vars); known && is {
			return c.right.holds(vars)
		}
		return is, known
	case operators.LogicalOr:
		if is, known = c.left.holds(vars); known && !is {
			return c.right.holds(vars)
		}
		return is, known
	}
	root, _ := vars[c.of.root].(Record)
	o, ok := root.opened()
	if !ok {
		return false, false
	}
	v, _ := c.of.find(o)
	if v == nil || v[0] == '-' || v[0] >= '0' && v[0] <= '9' { // a number may be a text to CEL
		return false, false
	}
	text, isText := v.TextBytes()
	return (isText && string(text) == c.text) == (c.operator == operators.Equals), true
}
