package schema

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"stackstream/internal/app/config"
	"stackstream/internal/setting"
)

// opening is how the reference begins.
//
//go:embed opening.md
var opening string

// least is how many settings a part has at least that gets a table of its own.
const least = 3

// Reference is the page with every setting, as JSONSchema has them.
func Reference(settings *config.Setting, root string) ([]byte, error) {
	r := reference{comments: newComments(root)}
	r.contents.WriteString(opening)
	for _, field := range settings.Fields {
		part := inner(field, "")
		r.part(part, part.Name, 0)
	}
	if err := errors.Join(r.lacking...); err != nil {
		return nil, err
	}
	return []byte(r.contents.String() + r.body.String()), nil
}

type reference struct {
	*comments
	contents, body strings.Builder
}

// part writes the table of what belongs to a setting, and then the parts below it that have tables of their own.
func (r *reference) part(s *config.Setting, path string, depth int) {
	if depth < 3 {
		fmt.Fprintf(&r.contents, "%s- [%s](#%s)\n", strings.Repeat("  ", depth), path, anchor(path))
	}
	fmt.Fprintf(&r.body, "\n%s %s\n\n%s\n\n", strings.Repeat("#", min(2+depth, 4)), path, cell(r.describe(s)))
	r.body.WriteString("| setting | takes | default | meaning |\n|---|---|---|---|\n")
	var below []*config.Setting
	r.rows(s, "", path, &below)
	for _, part := range below {
		r.part(part, setting.Join(path, part.Name), depth+1)
	}
}

// rows writes the settings of a part, and collects those that get a part of their own.
func (r *reference) rows(s *config.Setting, prefix, path string, below *[]*config.Setting) {
	for _, field := range s.Fields {
		name := setting.Join(prefix, field.Name)
		text := r.describe(field)
		part := inner(field, prefix)
		switch {
		case part.Form != config.Mapping:
			fmt.Fprintf(&r.body, "| `%s` | %s | %s | %s |\n", name, takes(field), standard(field), cell(text))
		case leaves(part) < least || field.Form == config.List:
			if field.Form != config.Mapping {
				fmt.Fprintf(&r.body, "| `%s` | %s | | %s |\n", name, takes(field), cell(text))
			}
			r.rows(part, part.Name, path, below)
		default:
			fmt.Fprintf(&r.body, "| `%s` | [settings](#%s) | | %s |\n", name, anchor(setting.Join(path, part.Name)), cell(text))
			*below = append(*below, part)
		}
	}
}

// inner is what the elements of a list or a map are, under the name of one of them; any other setting is itself.
func inner(s *config.Setting, prefix string) *config.Setting {
	part, name := *s, setting.Join(prefix, s.Name)
	for part.Form == config.Map || part.Form == config.List {
		name += map[config.Form]string{config.Map: ".NAME", config.List: "[]"}[part.Form]
		part = *part.Elem
	}
	part.Name, part.Owner, part.Field, part.About = name, s.Owner, s.Field, s.About
	return &part
}

// leaves counts the settings below one.
func leaves(s *config.Setting) int {
	if s.Form != config.Mapping {
		return 1
	}
	n := 0
	for _, field := range s.Fields {
		n += leaves(field)
	}
	return n
}

// takes says what a setting takes.
func takes(s *config.Setting) string {
	if s.Words != nil {
		var words []string
		for _, word := range s.Words {
			if word != "" {
				words = append(words, "`"+word+"`")
			}
		}
		return strings.Join(words, ", ")
	}
	switch s.Form {
	case config.Mapping:
		return "settings"
	case config.Map:
		return takes(s.Elem) + ", by name"
	case config.List:
		return "list of " + takes(s.Elem)
	case config.Secret:
		return "secret text"
	case config.Truth:
		return "`true`, `false`"
	case config.Whole:
		return "whole number"
	case config.Number:
		return "number"
	case config.Duration:
		return "duration"
	case config.Size:
		return "size"
	case config.Own:
		return "text or number"
	default:
		return "text"
	}
}

// standard is a setting's default.
func standard(s *config.Setting) string {
	switch v := s.Default.(type) {
	case nil:
		return ""
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = fmt.Sprint(v[i])
		}
		return "`[" + strings.Join(texts, ", ") + "]`"
	default:
		return fmt.Sprintf("`%v`", v)
	}
}

// cell is a text that may stand in a table and means what it says.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", `\<`).Replace(text)
}

// anchor is how a heading is linked to.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '-':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, heading)
}
