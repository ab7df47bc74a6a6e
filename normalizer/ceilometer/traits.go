package ceilometer

import (
	"errors"
	"fmt"

	"stackstream/event"
	"stackstream/internal/rawjson"
)

// traits are the values of an event by name, in the order in which the names came.
type traits struct {
	names  []string
	values [][]rawjson.Value
	index  map[string]int
}

func (t *traits) add(name string, v rawjson.Value) {
	if i, ok := t.index[name]; ok {
		t.values[i] = append(t.values[i], v)
		return
	}
	t.index[name] = len(t.names)
	t.names = append(t.names, name)
	t.values = append(t.values, []rawjson.Value{v})
}

// readTraits reads all forms of the list of traits. There may be none.
func readTraits(v rawjson.Value) (*traits, error) {
	t := &traits{index: map[string]int{}}
	if v.IsNull() {
		return t, nil
	}
	if members, ok := v.Members(); ok {
		for _, m := range members {
			t.add(string(m.Name), m.Value)
		}
		return t, nil
	}
	elements, ok := v.Elements()
	if !ok {
		return nil, errors.New("traits: not a list")
	}
	t.names = make([]string, 0, len(elements)+1)
	t.values = make([][]rawjson.Value, 0, len(elements)+1)
	for i, e := range elements {
		name, kind, value, err := readTrait(e)
		if err != nil {
			return nil, fmt.Errorf("traits[%d]: %w", i, err)
		}
		t.add(name, typed(kind, value))
	}
	return t, nil
}

// readTrait reads {"name": …, "type": …, "value": …} or [name, type, value].
func readTrait(v rawjson.Value) (name, kind string, value rawjson.Value, err error) {
	var nameValue, kindValue rawjson.Value
	if members, ok := v.Members(); ok {
		nameValue, kindValue, value = members.Get("name"), members.Get("type"), members.Get("value")
		for _, m := range members {
			switch string(m.Name) {
			case "name", "type", "value":
			default:
				return "", "", nil, fmt.Errorf("unknown member %q", m.Name)
			}
		}
	} else if elements, ok := v.Elements(); ok && len(elements) == 3 {
		nameValue, kindValue, value = elements[0], elements[1], elements[2]
	} else {
		return "", "", nil, errors.New("neither an object nor a triple")
	}
	name, ok := nameValue.Text()
	if !ok {
		return "", "", nil, errors.New("the name is not a string")
	}
	if value == nil {
		value = rawjson.Value("null")
	}
	return name, kindValue.ID(), value, nil
}

// typed gives a value that came as a string the JSON type that its trait type says, if it can.
func typed(kind string, v rawjson.Value) rawjson.Value {
	s, ok := v.Text()
	if !ok {
		return v
	}
	switch kind {
	case "integer", "float", "2", "3":
		if rawjson.IsNumber(s) {
			return rawjson.Value(s)
		}
	case "datetime", "4":
		if at, err := event.ParseTimestamp(s); err == nil {
			return rawjson.AppendQuoted(nil, at.String())
		}
	}
	return v
}

// payload writes the traits and the event's other members as one object.
func (t *traits) payload(others rawjson.Object) rawjson.Value {
	for _, m := range others {
		name := string(m.Name)
		for {
			if _, taken := t.index[name]; !taken {
				break
			}
			name = "_" + name
		}
		t.add(name, m.Value)
	}
	size := 2
	for i, name := range t.names {
		size += len(name) + 8
		for _, v := range t.values[i] {
			size += len(v) + 1
		}
	}
	out := append(make([]byte, 0, size), '{')
	for i, name := range t.names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(rawjson.AppendQuoted(out, name), ':')
		if len(t.values[i]) == 1 {
			out = append(out, t.values[i][0]...)
			continue
		}
		for j, v := range t.values[i] {
			out = append(append(out, "[,"[min(j, 1)]), v...)
		}
		out = append(out, ']')
	}
	return append(out, '}')
}
