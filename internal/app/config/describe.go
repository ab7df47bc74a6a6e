package config

import (
	"encoding"
	"reflect"
	"slices"
	"time"

	"stackstream/event"
	"stackstream/internal/setting"
)

// Form is what may stand as the value of a setting.
type Form int

// The forms. Mapping has the settings in Fields and no others, Map any names, each with what Elem says; List has Elem, and one
// of them may stand for a list of one. Own is a text, number or truth value that the setting's type reads itself.
const (
	Mapping Form = iota
	Map
	List
	Text
	Secret
	Truth
	Whole
	Number
	Duration
	Size
	Own
)

// Setting says what the decoder takes at one place of the file. It is what the schema and the reference are made of.
type Setting struct {
	Name string
	Form Form
	// Words are all that Text may be; nil for any text.
	Words []string
	// Unsigned and Bits bound a Whole.
	Unsigned bool
	Bits     int
	// Default is what the setting is where the file says nothing, as the file would have it: a text, bool, int64, float64 or
	// []any; nil where that is nothing.
	Default any
	Fields  []*Setting
	Elem    *Setting
	// Owner and Field are the field that the setting fills; both are empty for an element. About stands in for the comment there.
	Owner reflect.Type
	Field string
	About string
	// Type is the Go type of what the setting fills.
	Type reflect.Type
}

// Describe returns what the whole file takes, given the kinds of sources.
func Describe(kinds []Kind) *Setting {
	d := &decoder{kinds: kinds}
	return d.describe(reflect.ValueOf(Default()).Elem(), "", nil)
}

// describe says what decoder.value takes for a value that has its default.
func (d *decoder) describe(v reflect.Value, option string, words []string) *Setting {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		// Where there is nothing the parts have the defaults that their own zero value says.
		if v.IsNil() {
			v = reflect.New(t.Elem())
		}
		return d.describe(v.Elem(), option, words)
	}
	s := &Setting{Form: form(t, option), Words: words, Type: t}
	switch s.Form {
	case Mapping:
		s.Fields = d.describeFields(v)
	case Map, List:
		s.Elem = d.describe(reflect.New(t.Elem()).Elem(), "", words)
		s.Words = nil
		s.Default = listDefault(v)
	case Whole:
		s.Bits, s.Unsigned = t.Bits(), v.CanUint()
		s.Default = scalarDefault(v, s.Form)
	default:
		s.Default = scalarDefault(v, s.Form)
	}
	return s
}

func (d *decoder) describeFields(v reflect.Value) []*Setting {
	var fields []*Setting
	for sf, value := range v.Fields() {
		name, options, ok := setting.Tag(sf)
		switch {
		case !ok:
		case slices.Contains(options, "inline"):
			fields = append(fields, d.describeFields(value)...)
		case slices.Contains(options, "kinds"):
			for _, kind := range d.kinds {
				s := d.describe(reflect.ValueOf(kind.Settings()), "", nil)
				s.Name, s.About = kind.Name, kind.About
				fields = append(fields, s)
			}
		default:
			option := ""
			if slices.Contains(options, "size") {
				option = "size"
			}
			s := d.describe(value, option, setting.Words(sf))
			if slices.Contains(options, "kind") {
				s.Words, s.Default = d.events(), EventsAuto
			}
			s.Name, s.Owner, s.Field = name, v.Type(), sf.Name
			fields = append(fields, s)
		}
	}
	return fields
}

// events are the words that Provider.Events takes.
func (d *decoder) events() []string {
	words := setting.WordsOf[Provider]("Events")
	for _, kind := range d.kinds {
		words = append(words, kind.Name)
	}
	return words
}

// form is how decoder.value takes a type.
func form(t reflect.Type, option string) Form {
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return Own
	case t == reflect.TypeFor[time.Duration]():
		return Duration
	case option == "size":
		return Size
	case t == reflect.TypeFor[event.Secret]():
		return Secret
	}
	switch t.Kind() {
	case reflect.Struct:
		return Mapping
	case reflect.Map:
		return Map
	case reflect.Slice:
		return List
	case reflect.Bool:
		return Truth
	case reflect.Float32, reflect.Float64:
		return Number
	case reflect.String:
		return Text
	default:
		return Whole
	}
}

func scalarDefault(v reflect.Value, form Form) any {
	switch form {
	case Own:
		if own, ok := v.Interface().(encoding.TextMarshaler); ok {
			if text, err := own.MarshalText(); err == nil && len(text) > 0 {
				return string(text)
			}
		}
		return nil
	case Duration:
		return setting.FormatDuration(time.Duration(v.Int()))
	case Size:
		return setting.FormatSize(v.Int())
	case Truth:
		return v.Bool()
	case Whole, Number, Text:
		if v.IsZero() { // says nothing: what it means is for the description
			return nil
		}
		switch {
		case v.CanInt():
			return v.Int()
		case v.CanUint():
			return int64(v.Uint())
		case v.CanFloat():
			return v.Float()
		}
		return v.String()
	}
	return nil
}

// listDefault is the default of a list of scalars. Maps, and lists of anything else, are empty where the file has none.
func listDefault(v reflect.Value) any {
	if v.Kind() != reflect.Slice || v.Len() == 0 {
		return nil
	}
	list := make([]any, v.Len())
	for i := range v.Len() {
		if list[i] = scalarDefault(v.Index(i), form(v.Type().Elem(), "")); list[i] == nil {
			return nil
		}
	}
	return list
}
