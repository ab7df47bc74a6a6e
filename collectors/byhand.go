package collectors

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"stackstream/event"
)

// ReadCursor reads a cursor that an operator wrote: a JSON object in which every member is known, since what is not would be
// left out. An error names the member, as parts["a"].number. into is a pointer to a struct.
func ReadCursor(text string, into any) error {
	var whole json.RawMessage
	err := json.Unmarshal([]byte(text), &whole)
	if err != nil {
		err = fmt.Errorf("it is no JSON: %w", err)
	} else {
		err = misread(whole, reflect.TypeOf(into).Elem(), "")
	}
	if err == nil {
		err = json.Unmarshal(whole, into)
	}
	if err != nil {
		return &event.Error{Kind: event.Invalid, Op: "read the cursor", Err: err}
	}
	return nil
}

// misread says what of a JSON text can't be read into a type; path is where it stands, "" for the whole.
func misread(text json.RawMessage, into reflect.Type, path string) error {
	for into.Kind() == reflect.Pointer {
		into = into.Elem()
	}
	wants := func(what string) error {
		if path == "" {
			return fmt.Errorf("it has to be %s", what)
		}
		return fmt.Errorf("%s: wants %s", path, what)
	}
	switch kind := into.Kind(); {
	case into == reflect.TypeFor[time.Time]():
		if json.Unmarshal(text, new(time.Time)) != nil || string(text) == "null" {
			return wants("a time such as 2026-01-31T12:00:00Z")
		}
	case kind == reflect.Struct, kind == reflect.Map:
		var members map[string]json.RawMessage
		if json.Unmarshal(text, &members) != nil || members == nil {
			return wants("a JSON object")
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			var of reflect.Type
			at := fmt.Sprintf("%s[%q]", path, name)
			if kind == reflect.Map {
				of = into.Elem()
			} else {
				at = strings.TrimPrefix(path+"."+name, ".")
				known := membersOf(into)
				if of = known[name]; of == nil {
					return fmt.Errorf("%s: unknown (known here: %s)", at, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
				}
			}
			if err := misread(members[name], of, at); err != nil {
				return err
			}
		}
	case kind == reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(text, &elements) != nil || elements == nil {
			return wants("a list")
		}
		for i, element := range elements {
			if err := misread(element, into.Elem(), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	default:
		if json.Unmarshal(text, reflect.New(into).Interface()) != nil || string(text) == "null" {
			return wants(map[reflect.Kind]string{
				reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Int64: "a whole number",
			}[kind])
		}
	}
	return nil
}

// membersOf are the members of a struct as JSON has them.
func membersOf(of reflect.Type) map[string]reflect.Type {
	members := map[string]reflect.Type{}
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		members[name] = field.Type
	}
	return members
}
