package config

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"stackstream/internal/check"
	"stackstream/internal/setting"
)

// decoder fills Go values from a YAML tree. Unlike the library's own decoder it goes on after a mistake, so that one
// run tells all of them, and it remembers where every setting stands.
//
// A struct takes the keys of its yaml tags and no others. The tag option "kinds" marks a map[string]any that takes the
// names of decoder.kinds, each with the settings of that kind; "inline" marks a struct whose keys stand
// beside those of its parent; "size" marks an integer that takes a size with a unit. A scalar stands for a list of one.
// Anchors, aliases, merge keys and tags are refused: a setting stands where it is used.
type decoder struct {
	file      string
	env       func(string) (string, bool)
	kinds     []Kind
	positions map[string]check.Position
	fromEnv   []string // values with something from the environment in them
	findings  check.Findings
	decoded   int // how many findings there were before values were validated
}

const unknownSetting = "unknown setting"

func (d *decoder) position(n ast.Node) check.Position {
	pos := check.Position{File: d.file}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return pos
	}
	at := n.GetToken().Position
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		at = m.Values[0].Key.GetToken().Position // the token of a block mapping is its first colon
	}
	pos.Line, pos.Column = at.Line, at.Column
	return pos
}

func (d *decoder) mistake(path string, n ast.Node, hint, format string, args ...any) {
	d.findings = append(d.findings, check.Finding{
		Severity: check.Mistake, Subject: path, Position: d.position(n), Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// value decodes n into a settable value.
func (d *decoder) value(path string, n ast.Node, into reflect.Value) {
	if path != "" {
		if _, known := d.positions[path]; !known {
			d.positions[path] = d.position(n)
		}
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.mistake(path, n, "", "anchors, aliases and tags are not taken: write the value here")
		return
	}
	if into.Kind() == reflect.Pointer {
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		d.value(path, n, into.Elem())
		return
	}
	if _, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok || into.Type() == reflect.TypeFor[time.Duration]() {
		d.scalar(path, n, into, "")
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.mapping(path, n, func(key string, kv *ast.MappingValueNode) { d.field(path, key, kv, into) })
	case reflect.Map:
		d.mapValue(path, n, into)
	case reflect.Slice:
		d.list(path, n, into)
	default:
		d.scalar(path, n, into, "")
	}
}

// mapping calls each for the keys of a mapping. An empty value (the key alone) is an empty mapping.
func (d *decoder) mapping(path string, n ast.Node, each func(key string, kv *ast.MappingValueNode)) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	case *ast.NullNode:
	default:
		d.mistake(path, n, "", "wants settings below it, has %s", kindOf(n))
	}
	seen := map[string]check.Position{}
	for _, kv := range values {
		key, ok := kv.Key.(*ast.StringNode)
		if !ok {
			if _, merge := kv.Key.(*ast.MergeKeyNode); merge {
				d.mistake(join(path, "<<"), kv.Key, "", "merge keys are not taken: write the values here")
			} else {
				d.mistake(join(path, kv.Key.GetToken().Value), kv.Key, "put it in quotes", "a key must be text")
			}
			continue
		}
		if first, twice := seen[key.Value]; twice {
			d.mistake(join(path, key.Value), kv.Key, "", "is set twice, first in line %d", first.Line)
			continue
		}
		seen[key.Value] = d.position(kv.Key)
		d.positions[join(path, key.Value)] = d.position(kv.Key)
		each(key.Value, kv)
	}
}

// field finds the struct field for key and decodes into it.
func (d *decoder) field(path, key string, kv *ast.MappingValueNode, into reflect.Value) {
	field, option, ok := d.lookup(key, into)
	at := join(path, key)
	switch {
	case !ok:
		d.mistake(at, kv.Key, d.suggest(path, key, into), unknownSetting)
	case option == "kinds":
		made := reflect.ValueOf(d.kind(key).Settings())
		if field.IsNil() {
			field.Set(reflect.MakeMap(field.Type()))
		}
		d.value(at, kv.Value, made.Elem())
		field.SetMapIndex(reflect.ValueOf(key), made)
	case option == "size":
		d.scalar(at, kv.Value, field, option)
	default:
		d.value(at, kv.Value, field)
	}
}

// lookup returns the field of a struct that key sets, and the option of its tag that matters here.
func (d *decoder) lookup(key string, into reflect.Value) (field reflect.Value, option string, ok bool) {
	for sf, v := range into.Fields() {
		name, options, tagged := setting.Tag(sf)
		switch {
		case !tagged:
		case slices.Contains(options, "inline"):
			if field, option, ok = d.lookup(key, v); ok {
				return field, option, true
			}
		case slices.Contains(options, "kinds"):
			if d.kind(key) != nil {
				return v, "kinds", true
			}
		case name == key:
			if slices.Contains(options, "size") {
				option = "size"
			}
			return v, option, true
		}
	}
	return reflect.Value{}, "", false
}

// kind returns the kind of source of this name, nil if there is none.
func (d *decoder) kind(name string) *Kind {
	for i := range d.kinds {
		if d.kinds[i].Name == name {
			return &d.kinds[i]
		}
	}
	return nil
}

// suggest names the setting that key probably means: one of a name like it, one of its name that belongs elsewhere, or all that
// could stand here.
func (d *decoder) suggest(path, key string, into reflect.Value) string {
	known := d.known(into)
	if name := setting.Nearest(key, known); name != "" {
		return fmt.Sprintf("did you mean %s?", name)
	}
	if places := d.elsewhere(path, key); len(places) > 0 {
		return fmt.Sprintf("did you mean %s?", strings.Join(places, " or "))
	}
	slices.Sort(known)
	return "known here: " + strings.Join(known, ", ")
}

// maxPlaces is how many places for a setting are worth naming.
const maxPlaces = 3

// elsewhere returns where settings of this name belong, within the source that path is in, else in the file: those below the
// path first, then those that are not deep.
func (d *decoder) elsewhere(path, key string) []string {
	root, within := Describe(d.kinds), ""
	if names := strings.SplitN(path, ".", 4); len(names) > 2 && names[0] == "providers" {
		if kind := d.kind(names[2]); kind != nil {
			root, within = d.describe(reflect.ValueOf(kind.Settings()), "", nil), strings.Join(names[:3], ".")
		}
	}
	var places []string
	var walk func(s *Setting, at string)
	walk = func(s *Setting, at string) {
		for _, field := range s.Fields {
			if field.Name == key && at != "" {
				places = append(places, join(at, field.Name))
			}
			walk(field, join(at, field.Name))
		}
	}
	walk(root, "")
	here := strings.TrimPrefix(strings.TrimPrefix(path, within), ".")
	slices.SortStableFunc(places, func(a, b string) int {
		below := func(place string) int {
			if here != "" && inside(place, here) {
				return 0
			}
			return 1
		}
		return cmp.Or(below(a)-below(b), strings.Count(a, ".")-strings.Count(b, "."))
	})
	if n := len(slices.DeleteFunc(slices.Clone(places), func(place string) bool { return here != "" && !inside(place, here) })); n > 0 {
		places = places[:n]
	} else if len(places) > maxPlaces { // a name that many have
		return nil
	}
	return places[:min(len(places), maxPlaces)]
}

func (d *decoder) known(into reflect.Value) []string {
	var names []string
	for sf, v := range into.Fields() {
		name, options, tagged := setting.Tag(sf)
		switch {
		case !tagged:
		case slices.Contains(options, "inline"):
			names = append(names, d.known(v)...)
		case slices.Contains(options, "kinds"):
			for _, kind := range d.kinds {
				names = append(names, kind.Name)
			}
		default:
			names = append(names, name)
		}
	}
	return names
}

func (d *decoder) mapValue(path string, n ast.Node, into reflect.Value) {
	if into.IsNil() {
		into.Set(reflect.MakeMap(into.Type()))
	}
	d.mapping(path, n, func(key string, kv *ast.MappingValueNode) {
		elem := reflect.New(into.Type().Elem()).Elem()
		d.value(join(path, key), kv.Value, elem)
		into.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), elem)
	})
}

func (d *decoder) list(path string, n ast.Node, into reflect.Value) {
	var nodes []ast.Node
	switch s := n.(type) {
	case *ast.SequenceNode:
		nodes = s.Values
	case *ast.MappingNode, *ast.MappingValueNode:
		d.mistake(path, n, "", "wants a list, has %s", kindOf(n))
		return
	case *ast.NullNode:
	default:
		nodes = []ast.Node{n}
	}
	out := reflect.MakeSlice(into.Type(), len(nodes), len(nodes))
	for i, node := range nodes {
		d.value(path+"["+strconv.Itoa(i)+"]", node, out.Index(i))
	}
	into.Set(out)
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "settings below it"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "no value"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	default:
		return "text"
	}
}

func join(path, key string) string { return setting.Join(path, key) }
