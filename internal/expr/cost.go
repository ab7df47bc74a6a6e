package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// plain are functions that do at most what reading their arguments takes, and whose results are not larger.
func plain(function string) bool {
	switch function {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.Equals, operators.NotEquals,
		operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.In, operators.Index,
		operators.OptIndex, operators.OptSelect, operators.Add, operators.Subtract, operators.Negate,
		"orValue", "hasValue", "startsWith", "endsWith", "contains", "size", "string", "int", "double", "timestamp":
		return true
	}
	return false
}

// bounded tells whether what an expression may do is bounded by its length and by what it is given, so that nobody need count it.
func bounded(e ast.Expr) bool {
	is := true
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			is = false
		case ast.CallKind:
			is = is && plain(e.AsCall().FunctionName())
		}
	}))
	return is
}
