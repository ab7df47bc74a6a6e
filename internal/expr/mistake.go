package expr

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"stackstream/internal/setting"
	"stackstream/internal/timeform"
)

// Error is a mistake in an expression.
type Error struct {
	Line, Column int // from 1 on, in the expression
	Msg          string
	Text         string // the expression
}

// Error says what is wrong and where. The lines after the first show the place in the expression.
func (e *Error) Error() string {
	where := fmt.Sprintf("column %d", e.Column)
	if e.Line > 1 {
		where = fmt.Sprintf("line %d, %s", e.Line, where)
	}
	message := fmt.Sprintf("%s (%s of the expression)", e.Msg, where)
	if place := e.place(); place != "" {
		message += "\n" + place
	}
	return message
}

// shown is how much of a long line is shown on each side of the mistake.
const shown = 50

// place is the line with the mistake and a caret below it.
func (e *Error) place() string {
	lines := strings.Split(e.Text, "\n")
	if e.Text == "" || e.Line < 1 || e.Line > len(lines) {
		return ""
	}
	line := []rune(strings.ReplaceAll(lines[e.Line-1], "\t", " "))
	at := min(max(e.Column-1, 0), len(line))
	from, until := max(at-shown, 0), min(at+shown, len(line))
	before, after := "", ""
	if from > 0 {
		before = "… "
	}
	if until < len(line) {
		after = " …"
	}
	return before + string(line[from:until]) + after + "\n" + strings.Repeat(" ", len([]rune(before))+at-from) + "^"
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	overload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	unreadable = regexp.MustCompile(`^Syntax error: (?:mismatched input|extraneous input|no viable alternative at input|` +
		`token recognition error at:|missing '\)' at) '(.*?)'?(?: expecting .*)?$`)
	operator = regexp.MustCompile(`^[!@]?_?(\W{1,2}|in|\[_\]|[?]_:)_?$`)
)

// mistake makes of CEL's message one for people, who write expressions and know neither parsers nor containers.
func (e *Env) mistake(text string, first *cel.Error) *Error {
	found := &Error{
		Line: first.Location.Line(), Column: first.Location.Column() + 1, Text: text,
		Msg: strings.TrimSuffix(first.Message, " (in container '')"),
	}
	if m := undeclared.FindStringSubmatch(found.Msg); m != nil {
		found.Msg = e.unknown(text, m[1], found)
	} else if m := overload.FindStringSubmatch(found.Msg); m != nil {
		found.Msg = noOverload(m[1], m[2])
	} else if m := unreadable.FindStringSubmatch(found.Msg); m != nil {
		found.Msg = noExpression(text, m[1])
	}
	return found
}

// unknown says that there is no variable or function of a name, and which there are.
func (e *Env) unknown(text, name string, at *Error) string {
	if rest := from(text, at); strings.HasPrefix(rest, "(") { // the place of a function is the bracket behind it
		at.Column -= len([]rune(name))
		functions := slices.DeleteFunc(slices.Sorted(maps.Keys(e.env.Functions())), func(f string) bool { return !isName.MatchString(f) })
		message := fmt.Sprintf("there is no function %s", name)
		if known := otherNames()[name]; known != "" {
			return message + ": write " + known
		}
		if near := setting.Nearest(name, functions); near != "" {
			return message + fmt.Sprintf(" (did you mean %s?)", near)
		}
		return message + "; besides CEL's own there are hash, format, parse, json, parseJSON and encodeURL"
	}
	var names []string
	for _, v := range e.env.Variables() {
		if t := v.Type(); t == nil || t.Kind() != types.TypeKind {
			names = append(names, v.Name())
		}
	}
	slices.Sort(names)
	message := fmt.Sprintf("there is no %s here, only %s", name, strings.Join(names, ", "))
	switch near := setting.Nearest(name, names); {
	case near != "":
		return message + fmt.Sprintf(" (did you mean %s?)", near)
	case strings.TrimSpace(text) == name && slices.Contains(names, "rec"):
		return message + fmt.Sprintf(`; a member of the record is rec.%s, a text stands in quotes of its own: '%s'`, name, name)
	case slices.Contains(names, "rec"):
		return message + fmt.Sprintf("; a member of the record is rec.%s", name)
	case slices.Contains(names, "partition"):
		return message + "; the value of a partition is partition.NAME"
	}
	return message
}

var isName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// otherNames are what functions are called elsewhere.
func otherNames() map[string]string {
	return map[string]string{
		"str": "string(x)", "float": "double(x)", "number": "double(x)", "date": "timestamp(x)",
		"len": "size(x)", "length": "size(x)", "concat": "a + b", "strip": "x.trim()",
		"lower": "x.lowerAscii()", "toLower": "x.lowerAscii()", "upper": "x.upperAscii()", "toUpper": "x.upperAscii()",
		"exists": "has(rec.x)", "default": "rec.?x.orValue(y)", "coalesce": "rec.?x.orValue(y)", "sha256": "hash(x)", "md5": "hash(x)",
	}
}

// from is the text that stands at the place of a mistake.
func from(text string, at *Error) string {
	lines := strings.Split(text, "\n")
	if at.Line < 1 || at.Line > len(lines) {
		return ""
	}
	line := []rune(lines[at.Line-1])
	return string(line[min(max(at.Column-1, 0), len(line)):])
}

// noOverload says that an operator or a function does not take what it was given.
func noOverload(name, args string) string {
	if m := operator.FindStringSubmatch(name); m != nil {
		name = m[1]
	}
	args = people(strings.TrimSuffix(strings.TrimPrefix(args, "("), ")"))
	message := fmt.Sprintf("%s does not take %s", name, strings.ReplaceAll(args, ", ", " and "))
	switch name {
	case "-":
		return `- is for numbers, times and durations; a name with a dash in it is written rec["a-b"]`
	case "+":
		return message + "; string(x) makes a text of anything"
	}
	return message
}

var typeNames = regexp.MustCompile(`\b(string|dyn|bool|int|uint|double|google\.protobuf\.Timestamp|null_type|optional_type)\b`)

// people names types as this program does elsewhere.
func people(text string) string {
	return typeNames.ReplaceAllStringFunc(text, func(name string) string {
		return map[string]string{
			"string": "text", "dyn": "anything", "bool": "true or false", "google.protobuf.Timestamp": "a time", "null_type": "null",
			"optional_type": "optional",
		}[name] + map[string]string{"int": "int", "uint": "uint", "double": "double"}[name]
	})
}

// noExpression says that a text can't be read as an expression, and what it may be in place of one.
func noExpression(text, at string) string {
	at = strings.TrimSpace(at)
	switch {
	case at == "<EOF>":
		return "the expression ends too early: something is missing, or a bracket or quote is not closed"
	case strings.HasPrefix(at, "$"):
		return "an expression begins with the name of a variable and has no $: rec.id, not $.id"
	case strings.HasPrefix(at, "@"), strings.HasPrefix(at, "#"):
		return fmt.Sprintf(`%s is no part of a name; a member with it in its name is written rec["%sname"]`, at[:1], at[:1])
	case strings.HasPrefix(at, "'"), strings.HasPrefix(at, `"`):
		return "a quote is not closed"
	case at == "=":
		return "= is no operator: two values are compared by =="
	case at == "and", at == "or", at == "not":
		return fmt.Sprintf("%s is no operator: write %s", at, map[string]string{"and": "&&", "or": "||", "not": "!"}[at])
	case strings.HasPrefix(at, "{{"), strings.HasPrefix(text, "{{"):
		return "an expression stands here without {{ and }}, which are for texts"
	}
	if strings.HasPrefix(text, "<") {
		return "is still to be filled in"
	}
	return fmt.Sprintf("%q is not expected here; a text stands in quotes of its own: 'user login'", at)
}

// checkForms looks at the forms of times that format and parse are given as a text.
func checkForms(text string, checked *ast.AST) *Error {
	var found *Error
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || found != nil {
			return
		}
		call := e.AsCall()
		args := call.Args()
		name := call.FunctionName()
		if name != "format" && name != "parse" || call.IsMemberFunction() || len(args) != 2 || args[1].Kind() != ast.LiteralKind {
			return
		}
		form, ok := args[1].AsLiteral().(types.String)
		if !ok {
			return
		}
		if err := timeform.Form(form).Check(); err != nil {
			var at common.Location = common.NoLocation
			if info := checked.SourceInfo(); info != nil {
				at = info.GetStartLocation(args[1].ID())
			}
			found = &Error{Line: at.Line(), Column: at.Column() + 1, Text: text, Msg: err.Error()}
		}
	}))
	return found
}
