package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"

	"stackstream/internal/app/config"
	"stackstream/internal/setting"
)

// draft is the oldest one that has all we need, and means the same by it as its successors: the YAML language server, which
// most editors use, reads this one.
const draft = "http://json-schema.org/draft-07/schema#"

// node is a JSON Schema. Keywords of one type say nothing about others, so that a node without AnyOf may be of several types.
type node struct {
	Schema      string     `json:"$schema,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Type        types      `json:"type,omitempty"`
	AnyOf       []*node    `json:"anyOf,omitempty"`
	Enum        []any      `json:"enum,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	Wants       string     `json:"errorMessage,omitempty"` // what editors say in place of a pattern and of types
	Minimum     *int64     `json:"minimum,omitempty"`
	Maximum     *int64     `json:"maximum,omitempty"`
	WriteOnly   bool       `json:"writeOnly,omitempty"`
	Default     any        `json:"default,omitempty"`
	Items       *node      `json:"items,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	// Additional is false, or the node of what has any name.
	Additional any `json:"additionalProperties,omitempty"`
}

// types is one type or several.
type types []string

// MarshalJSON writes one type as a text.
func (t types) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

// properties are in the order of the structs, which is the one for people.
type properties []property

type property struct {
	name string
	node *node
}

// MarshalJSON writes an object.
func (ps properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, p := range ps {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(p.name)
		if err != nil {
			return nil, err
		}
		value, err := encode(p.node)
		if err != nil {
			return nil, err
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// encode leaves < and & as they are.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}

// JSONSchema is the schema of the configuration that has the settings. The descriptions come from the comments in the sources
// below root.
func JSONSchema(settings *config.Setting, root string) ([]byte, error) {
	c := newComments(root)
	top := c.mapping(settings)
	if err := errors.Join(c.lacking...); err != nil {
		return nil, err
	}
	top.Schema, top.Title = draft, "stackstream configuration"
	top.Description = "Durations have a unit: 500ms, 30s, 5m, 1h30m, 7d. So have sizes: 512KiB, 8MiB, 10GiB. ${NAME} in a value is " +
		"replaced by that environment variable; $$ is a dollar."
	plain, err := encode(top)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, plain, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// node is the schema of a setting with its description.
func (c *comments) node(s *config.Setting) *node {
	n := c.value(s)
	n.Description, n.Default = c.describe(s), s.Default
	return n
}

func (c *comments) value(s *config.Setting) *node {
	switch s.Form {
	case config.Mapping:
		return c.mapping(s)
	case config.Map:
		return &node{Type: types{"object", "null"}, Additional: c.value(s.Elem)}
	case config.List:
		return list(c.value(s.Elem))
	}
	return scalar(s)
}

// mapping is a struct. The key alone, without a value, is an empty one.
func (c *comments) mapping(s *config.Setting) *node {
	n := &node{Type: types{"object", "null"}, Additional: false}
	for _, field := range s.Fields {
		n.Properties = append(n.Properties, property{field.Name, c.node(field)})
	}
	return n
}

// list takes several of what elem is, or one that stands for a list of one. The key alone is an empty list.
func list(elem *node) *node {
	if elem.AnyOf != nil {
		return &node{AnyOf: append([]*node{{Type: types{"array", "null"}, Items: elem}}, elem.AnyOf...)}
	}
	if slices.Contains(elem.Type, "object") { // settings do not stand for a list
		return &node{Type: types{"array", "null"}, Items: elem}
	}
	n := *elem
	n.Type, n.Items = append(slices.Clone(elem.Type), "array", "null"), elem
	return &n
}

func scalar(s *config.Setting) *node {
	variable := "|" + config.VariablePattern
	switch s.Form {
	case config.Secret:
		return &node{Type: types{"string"}, WriteOnly: true}
	case config.Truth:
		return &node{Type: types{"boolean", "string"}, Pattern: config.VariablePattern, Wants: "wants true or false"}
	case config.Duration:
		return united(setting.DurationPattern+variable, "wants a duration such as 30s, 1h30m or 7d")
	case config.Size:
		return united(setting.SizePattern+variable, "wants a size such as 512KiB, 8MiB or 10GiB")
	case config.Number:
		return &node{Type: types{"number", "string"}, Pattern: config.NumberPattern + variable, Wants: "wants a number"}
	case config.Whole:
		return whole(s)
	case config.Own:
		return &node{Type: types{"string", "number"}}
	}
	if s.Words == nil {
		return &node{Type: types{"string"}}
	}
	words := &node{}
	for _, word := range s.Words {
		words.Enum = append(words.Enum, word)
	}
	return &node{AnyOf: []*node{words, {Type: types{"string"}, Pattern: config.VariablePattern}}}
}

// united is a text with a unit; 0 needs none.
func united(pattern, wants string) *node {
	return &node{AnyOf: []*node{{Type: types{"string"}, Pattern: pattern, Wants: wants}, {Enum: []any{0}}}}
}

func whole(s *config.Setting) *node {
	n := &node{Type: types{"integer", "string"}, Pattern: config.WholePattern + "|" + config.VariablePattern, Wants: "wants a whole number"}
	if s.Unsigned {
		n.Minimum, n.Pattern = new(int64), config.UnsignedPattern+"|"+config.VariablePattern
	}
	if s.Bits < 64 { // more than a number of JSON can say exactly
		most := int64(math.MaxInt64) >> (64 - s.Bits)
		if s.Unsigned {
			most = 2*most + 1
		} else {
			least := -most - 1
			n.Minimum = &least
		}
		n.Maximum = &most
	}
	return n
}
