// Package expr compiles and evaluates the expressions of the configuration, which are written in CEL
// (https://cel.dev), over JSON that is not decoded before it is asked for.
//
// Besides what CEL brings along there are its extensions for strings, lists, encodings, optional values (rec.?name) and
// regular expressions, and
//
//	hash(x)            the SHA-256 of a value as JSON, in hexadecimal; of a record it is of the bytes that came
//	json(x)            a value as JSON text, for the body of a request: a text gets its quotes
//	format(time, form) a time as text; the forms are those of package timeform: rfc3339, unix, unix_ms, …, or a layout
//	parse(text, form)  a time that is written in that form
//	parseJSON(text)    the value of a text that is itself JSON
//	encodeURL(text)    a text as it goes into a query or a form: "a b&c" becomes a+b%26c
//
// A whole number of JSON is an int, or a uint where it is too large for that, or a string of its digits where it is too
// large for both, so that no identity loses digits. All other numbers are doubles, and a record knows of itself whether one
// of them had to be rounded for it. Numbers of different types are compared by their value.
package expr

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"stackstream/internal/rawjson"
)

// Type of a variable or of a result.
type Type int

// The types. Any is what a JSON value is: its type shows when it is there.
const (
	Any Type = iota
	Text
	Bool
	Time
	Map // of texts to texts
	Int
)

// cel is the type as CEL knows it.
func (t Type) cel() *cel.Type {
	switch t {
	case Text:
		return cel.StringType
	case Bool:
		return cel.BoolType
	case Time:
		return cel.TimestampType
	case Map:
		return cel.MapType(cel.StringType, cel.StringType)
	case Int:
		return cel.IntType
	default:
		return cel.DynType
	}
}

// String is the type for people.
func (t Type) String() string {
	return []string{Any: "anything", Text: "text", Bool: "true or false", Time: "a time", Map: "texts by name", Int: "a whole number"}[t]
}

const (
	// maxCost bounds what one evaluation may do, in CEL's units: some hundred times what an expression takes that people
	// write.
	maxCost = 1_000_000
	// maxText is how long an expression may be, in bytes.
	maxText = 4096
)

// Env is the variables that an expression may use. It is safe for concurrent use.
type Env struct{ env *cel.Env }

// NewEnv makes an Env of variables and their types.
func NewEnv(variables map[string]Type) (*Env, error) {
	options := []cel.EnvOption{
		cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxText), ext.Strings(), ext.Lists(), ext.Encoders(), ext.Regex(), ext.Math(),
		cel.Function("hash", cel.Overload("hash_any", []*cel.Type{cel.DynType}, cel.StringType, cel.UnaryBinding(hash))),
		cel.Function("json", cel.Overload("json_any", []*cel.Type{cel.DynType}, cel.StringType, cel.UnaryBinding(toJSON))),
		cel.Function("format", cel.Overload("format_time", []*cel.Type{cel.TimestampType, cel.StringType}, cel.StringType,
			cel.BinaryBinding(formatTime))),
		cel.Function("parse", cel.Overload("parse_time", []*cel.Type{cel.StringType, cel.StringType}, cel.TimestampType,
			cel.BinaryBinding(parseTime))),
		cel.Function("parseJSON", cel.Overload("parse_json_text", []*cel.Type{cel.StringType}, cel.DynType,
			cel.UnaryBinding(func(text ref.Val) ref.Val { return parseJSON(nil, text) }))),
		cel.Function("encodeURL", cel.Overload("encode_url_text", []*cel.Type{cel.StringType}, cel.StringType,
			cel.UnaryBinding(encodeURL))),
	}
	for name, t := range variables {
		options = append(options, cel.Variable(name, t.cel()))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("prepare expressions: %w", err)
	}
	return &Env{env: env}, nil
}

// Program is a compiled expression. It is safe for concurrent use.
type Program struct {
	text    string
	program cel.Program
	want    Type
	// Where it only selects, or only compares with texts, CEL is mostly not needed.
	selection
	condition *condition // nil if it is none
}

// Compile checks and compiles an expression whose result is to be of a type. Text takes what Text of a result takes. The
// error is an *Error.
func (e *Env) Compile(text string, want Type) (*Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &Error{Line: 1, Column: 1, Msg: "is empty"}
	}
	checked, issues := e.env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, e.mistake(text, issues.Errors()[0])
	}
	if got := checked.OutputType(); !fits(got, want) {
		return nil, &Error{Line: 1, Column: 1, Text: text, Msg: fmt.Sprintf("is %s, and %s is wanted", people(got.String()), want)}
	}
	if found := checkForms(text, checked.NativeRep()); found != nil {
		return nil, found
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(readNumbers)}
	if !bounded(checked.NativeRep().Expr()) {
		options = append(options, cel.CostLimit(maxCost))
	}
	program, err := e.env.Program(checked, options...)
	if err != nil {
		return nil, &Error{Line: 1, Column: 1, Text: text, Msg: err.Error()}
	}
	p := &Program{text: text, program: program, want: want}
	p.selection, p.condition = selected(checked.NativeRep().Expr()), conditional(checked.NativeRep().Expr())
	return p, nil
}

// fits tells whether a result of a type may be what is wanted.
func fits(got *cel.Type, want Type) bool {
	if got.IsExactType(cel.DynType) || want == Any || got.IsExactType(want.cel()) {
		return true
	}
	switch got.Kind() {
	case types.StringKind, types.IntKind, types.UintKind, types.DoubleKind, types.BoolKind, types.TimestampKind, types.NullTypeKind:
		return want == Text
	case types.OpaqueKind: // an optional value
		return want == Text || want == Time
	}
	return false
}

// Selects tells whether the expression does nothing but select: its result is a part of a variable, as it is.
func (p *Program) Selects() bool { return p.root != "" }

// String is the expression as it was written.
func (p *Program) String() string { return p.text }

// Vars are the values of variables: a Record, rawjson.Value, string, bool, time.Time, map[string]string, or a Val.
type Vars map[string]any

// Val is a result.
type Val struct {
	json rawjson.Value // where the result is JSON that came
	val  ref.Val
}

// ErrMissing is what an expression ends with that needs a member that is not there.
var ErrMissing = errors.New("no such member")

// Eval evaluates the expression. An error says what could not be done; errors.Is(err, ErrMissing) where a member is not
// there that was asked for without a question mark.
func (p *Program) Eval(vars Vars) (Val, error) {
	if val, err, ok := p.follow(vars); ok {
		return val, err
	}
	if p.condition != nil {
		if is, known := p.condition.holds(vars); known {
			return Val{val: types.Bool(is)}, nil
		}
	}
	return p.byCEL(vars)
}

func (p *Program) byCEL(vars Vars) (Val, error) {
	out, _, err := p.program.Eval(activation(vars))
	if err != nil {
		if missing, ok := strings.CutPrefix(err.Error(), "no such key: "); ok {
			return Val{}, fmt.Errorf("%s: %w: %s", p.text, ErrMissing, missing)
		}
		return Val{}, fmt.Errorf("%s: %w", p.text, err)
	}
	return valOf(out), nil
}

func valOf(v ref.Val) Val {
	switch v := v.(type) {
	case *types.Optional:
		if !v.HasValue() {
			return Val{}
		}
		return valOf(v.GetValue())
	case *object:
		return Val{json: v.json}
	case *list:
		return Val{json: v.json}
	}
	return Val{val: v}
}

// IsNothing tells whether the result is null, or an optional value that is not there.
func (v Val) IsNothing() bool {
	if v.json != nil {
		return v.json.IsNull()
	}
	return v.val == nil || v.val.Type() == types.NullType
}

// Text is a result as text: texts, numbers with the digits that came, true and false, times in RFC 3339. Nothing is "". An
// object or a list has no text.
func (v Val) Text() (string, error) {
	switch {
	case v.IsNothing():
		return "", nil
	case v.json != nil:
		if text, ok := v.json.Text(); ok {
			return text, nil
		}
		if v.json.IsObject() || v.json.IsArray() {
			return "", errors.New("is an object or a list, and text is wanted")
		}
		return string(v.json), nil
	}
	switch val := v.val.(type) {
	case types.String:
		return string(val), nil
	case types.Timestamp:
		return val.UTC().Format(time.RFC3339Nano), nil
	case types.Int, types.Uint, types.Double, types.Bool:
		return fmt.Sprint(val.Value()), nil
	}
	return "", fmt.Errorf("is %s, and text is wanted", v.val.Type().TypeName())
}

// Bool is a result that is true or false.
func (v Val) Bool() (bool, error) {
	if v.json != nil {
		switch string(v.json) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	} else if b, ok := v.val.(types.Bool); ok {
		return bool(b), nil
	}
	return false, errors.New("is neither true nor false")
}

// Time is a result that is a time of CEL, made by timestamp(…); ok is false for anything else, also for text that looks like
// a time.
func (v Val) Time() (at time.Time, ok bool) {
	t, ok := v.val.(types.Timestamp)
	if !ok {
		return time.Time{}, false
	}
	return t.Time, true
}

// JSON is a result as JSON: the bytes that came where it is a part of them.
func (v Val) JSON() (rawjson.Value, error) {
	if v.json != nil {
		return v.json, nil
	}
	return encode(v.val)
}
