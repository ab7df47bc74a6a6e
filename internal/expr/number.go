package expr

import (
	"bytes"
	"crypto/sha256"
	"math"
	"slices"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"stackstream/internal/rawjson"
)

// reading is how the numbers of a record become values of CEL. Nil reads them, too.
type reading struct {
	rounded *numbers // those that were read and that no double is; nil without any
	nudge   float64  // the doubles of those are the next ones in this direction, if it is not 0
	marks   uint8    // of those that have one of these
}

// marks is how many numbers of a record have a mark of their own.
const marks = 8

// everyMark is that of each number.
const everyMark = math.MaxUint8

// numbers are known by their text, so that one that is read twice is one.
type numbers struct {
	known [marks][sha256.Size]byte
	n     int
}

// mark is a bit for each of the first numbers. Those behind them have bits by chance, and mostly not those of another one.
func (n *numbers) mark(text string) uint8 {
	sum := sha256.Sum256([]byte(text))
	i := slices.Index(n.known[:n.n], sum)
	if i < 0 && n.n == marks {
		return sum[0]
	}
	if i < 0 {
		i = n.n
		n.known[i] = sum
		n.n++
	}
	return 1 << i
}

// fromJSON makes a value of CEL, as the package comment says.
func fromJSON(v rawjson.Value) ref.Val { return (*reading)(nil).value(v) }

func (r *reading) value(v rawjson.Value) ref.Val {
	switch {
	case v.IsNull():
		return types.NullValue
	case v.IsObject():
		return &object{json: v, read: r}
	case v.IsArray():
		return r.list(v)
	case v[0] == '"':
		text, _ := v.Text()
		return types.String(text)
	case string(v) == "true":
		return types.True
	case string(v) == "false":
		return types.False
	}
	text := string(v)
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return types.Int(i)
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return types.Uint(u)
	}
	if !bytes.ContainsAny(v, ".eE") {
		return types.String(text)
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range it is an infinity, as for other readers
	return r.double(text, f)
}

func (r *reading) list(v rawjson.Value) *list {
	elements, _ := v.Elements()
	values := make([]ref.Val, len(elements))
	for i, e := range elements {
		values[i] = r.value(e)
	}
	return &list{json: v, Lister: types.NewRefValList(types.DefaultTypeAdapter, values)}
}

// double is the double that a text was read as.
func (r *reading) double(text string, f float64) ref.Val {
	if r == nil || means(text, f) {
		return types.Double(f)
	}
	if r.rounded == nil {
		r.rounded = new(numbers)
	}
	if mark := r.rounded.mark(text); r.marks == everyMark || r.marks&mark != 0 {
		f = math.Nextafter(f, r.nudge)
	}
	return types.Double(f)
}

// digits is how many decimal digits a double is written with at the most.
const digits = 17

// means tells whether a text says the number that the double is written as, so that no other number is written like that.
func means(text string, f float64) bool {
	if len(text) <= 15 && !containsExponent(text) {
		return true // no two numbers of so many digits are one double
	}
	var scratch [32]byte
	var one, other [digits]byte
	n, exponent, ok := significant(text, &one)
	m, written, _ := significant(string(strconv.AppendFloat(scratch[:0], f, 'e', -1, 64)), &other)
	return ok && !math.IsInf(f, 0) && !math.IsNaN(f) && n == m && (n == 0 || exponent == written) && one == other
}

func containsExponent(text string) bool {
	for i := range len(text) {
		if text[i]|0x20 == 'e' {
			return true
		}
	}
	return false
}

// significant takes a number apart: its digits without the zeros around them, as if there were a point before them, and the power of
// ten. Ok is false for more than there is room for, and what is no decimal number.
func significant(text string, into *[digits]byte) (n, exponent int, ok bool) {
	seen, zeros, point := false, 0, false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '.' && !point:
			point = true
		case (c == '-' || c == '+') && i == 0:
		case c|0x20 == 'e':
			power, err := strconv.Atoi(text[i+1:])
			return n, exponent + power, seen && (err == nil || n == 0)
		case c < '0' || c > '9':
			return n, exponent, false
		case c == '0' && n == 0: // before the first
			if seen = true; point {
				exponent--
			}
		case c == '0':
			if zeros++; !point {
				exponent++
			}
		default:
			seen = true
			if n+zeros >= digits {
				return n, exponent, false
			}
			for ; zeros > 0; zeros-- {
				into[n] = '0'
				n++
			}
			into[n] = c
			if n++; !point {
				exponent++
			}
		}
	}
	return n, exponent, seen
}

// readingName is the name by which calls ask for the reading of the record. No variable can have it.
const readingName = "the reading"

// reading is that of the record among variables, nil if there is none.
func (a activation) reading() *reading {
	for _, v := range a {
		if rec, ok := v.(Record); ok && rec.record != nil {
			return rec.read
		}
	}
	return nil
}

// readNumbers is a decorator of calls that make doubles of what is none in the record: it learns of those that were rounded, too.
func readNumbers(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 1 {
		return i, nil
	}
	switch call.Function() {
	case "double":
		return numberCall{call, toDouble}, nil
	case "parseJSON":
		return numberCall{call, parseJSON}, nil
	}
	return i, nil
}

// numberCall is a call of a function of one argument.
type numberCall struct {
	interpreter.InterpretableCall
	apply func(r *reading, arg ref.Val) ref.Val
}

// Exec implements interpreter.InterpretableV2.
func (c numberCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	arg := c.Args()[0].Exec(frame)
	if types.IsUnknownOrError(arg) {
		return arg
	}
	found, _ := frame.ResolveName(readingName)
	r, _ := found.(*reading)
	return c.apply(r, arg)
}

// Eval implements interpreter.Interpretable.
func (c numberCall) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, c.Exec)
}

func toDouble(r *reading, arg ref.Val) ref.Val {
	converted := arg.ConvertToType(types.DoubleType)
	f, ok := converted.(types.Double)
	if !ok {
		return converted
	}
	switch v := arg.(type) {
	case types.Int:
		return r.double(strconv.FormatInt(int64(v), 10), float64(f))
	case types.Uint:
		return r.double(strconv.FormatUint(uint64(v), 10), float64(f))
	case types.String:
		return r.double(string(v), float64(f))
	}
	return f
}
