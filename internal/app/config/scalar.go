package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"stackstream/internal/setting"
)

// scalar decodes one text, number or truth value. option is "size" where an integer takes a unit.
func (d *decoder) scalar(path string, n ast.Node, into reflect.Value, option string) {
	text, fromEnv, ok := d.text(path, n)
	if !ok {
		return
	}
	if d.mismatch(n, into, fromEnv) {
		hint := ""
		if into.Kind() == reflect.String {
			hint = "put it in quotes"
		}
		d.mistake(path, n, hint, "wants %s, has %s", wanted(into, option), kindOf(n))
		return
	}
	if err := set(text, into, option); err != nil {
		// What came from the environment may be a secret that ended up in the wrong place.
		if fromEnv {
			d.mistake(path, n, "its value comes from the environment", "wants %s", wanted(into, option))
		} else {
			d.mistake(path, n, "", "%v", err)
		}
	}
}

// text is the text of a scalar with ${NAME} replaced from the environment.
func (d *decoder) text(path string, n ast.Node) (text string, fromEnv, ok bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		text = s.Value
	case *ast.LiteralNode:
		text = s.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, false, true
	case *ast.NullNode:
		d.mistake(path, n, "give it one or remove the line", "has no value")
		return "", false, false
	default:
		hint := ""
		if _, list := n.(*ast.SequenceNode); !list {
			hint = "text with a colon in braces needs quotes"
		}
		d.mistake(path, n, hint, "wants one value, has %s", kindOf(n))
		return "", false, false
	}
	expanded, err := expand(text, func(name string) (string, bool) {
		value, ok := d.env(name)
		if len(value) >= leastSecret {
			d.fromEnv = append(d.fromEnv, value)
		}
		return value, ok
	})
	if err != nil {
		d.mistake(path, n, "", "%v", err)
		return "", false, false
	}
	return expanded, expanded != text, true
}

// leastSecret is the length from which a value is taken for a secret that must not show in a message.
const leastSecret = 3

var reference = regexp.MustCompile(`\$\$|\$\{([^}]*)\}|\$\{`)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces ${NAME} by the variable's value and $$ by a dollar. A dollar before anything else is itself.
func expand(text string, env func(string) (string, bool)) (string, error) {
	var errs []error
	out := reference.ReplaceAllStringFunc(text, func(m string) string {
		if m == "$$" {
			return "$"
		}
		name := strings.TrimSuffix(strings.TrimPrefix(m, "${"), "}")
		if m == "${" || !variable.MatchString(name) {
			errs = append(errs, errors.New("${ must begin the name of an environment variable, ${NAME}; write $$ for a dollar"))
			return ""
		}
		value, ok := env(name)
		if !ok {
			errs = append(errs, fmt.Errorf("environment variable %s is not set", name))
		}
		return value
	})
	return out, errors.Join(errs...)
}

// mismatch tells whether YAML's type of n says already that into can't take it.
func (d *decoder) mismatch(n ast.Node, into reflect.Value, fromEnv bool) bool {
	_, isBool := n.(*ast.BoolNode)
	isNumber := kindOf(n) == "a number"
	isText := !isBool && !isNumber
	if _, own := into.Addr().Interface().(encoding.TextUnmarshaler); own {
		return false
	}
	switch into.Kind() {
	case reflect.String:
		return !isText
	case reflect.Bool:
		return isNumber || (isText && !fromEnv)
	default:
		return isBool
	}
}

// wanted says what a setting takes.
func wanted(into reflect.Value, option string) string {
	switch {
	case into.Type() == reflect.TypeFor[time.Duration]():
		return "a duration such as 30s or 1h30m"
	case option == "size":
		return "a size such as 8MiB"
	}
	switch into.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	default:
		return "another value"
	}
}

func set(text string, into reflect.Value, option string) error {
	if own, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return own.UnmarshalText([]byte(text))
	}
	if into.Type() == reflect.TypeFor[time.Duration]() {
		v, err := setting.ParseDuration(text)
		into.SetInt(int64(v))
		return err
	}
	if option == "size" {
		v, err := setting.ParseSize(text)
		if err == nil && into.OverflowInt(v) {
			err = fmt.Errorf("%s is too much", text)
		}
		into.SetInt(v)
		return err
	}
	wrong := fmt.Errorf("wants %s, not %q", wanted(into, option), text)
	plain := strings.ReplaceAll(text, "_", "")
	switch into.Kind() {
	case reflect.String:
		into.SetString(text)
	case reflect.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return wrong
		}
		into.SetBool(v)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v, err := strconv.ParseInt(plain, 10, into.Type().Bits())
		if err != nil {
			return wrong
		}
		into.SetInt(v)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v, err := strconv.ParseUint(plain, 10, into.Type().Bits())
		if err != nil {
			return wrong
		}
		into.SetUint(v)
	case reflect.Float32, reflect.Float64:
		v, err := strconv.ParseFloat(plain, into.Type().Bits())
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return wrong
		}
		into.SetFloat(v)
	default:
		return fmt.Errorf("settings of the type %s are not supported", into.Type())
	}
	return nil
}

// What numbers look like as texts, for those who look at a file without the decoder, as JavaScript and Go both read it.
const (
	WholePattern    = `^[+-]?[0-9_]*[0-9][0-9_]*$`
	UnsignedPattern = `^[0-9_]*[0-9][0-9_]*$`
	NumberPattern   = `^[+-]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][+-]?[0-9]+)?$`
	// VariablePattern finds a reference to the environment in a text, which may stand for a value of any form.
	VariablePattern = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`
)
