package httppoll

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stackstream/internal/expr"
	"stackstream/internal/mapping"
)

// programs are the compiled expressions of a Config.
type programs struct {
	url, body         template
	query             map[string][]template
	headers           map[string]template
	token, from, more *expr.Program
	filter            *expr.Program
	mapping           *mapping.Mapping
}

// compile compiles all expressions, and returns every mistake in them.
func (c Config) compile() (*programs, []Problem) {
	var found problems
	request, err := expr.NewEnv(map[string]expr.Type{
		"partition": expr.Map, "start": expr.Time, "from": expr.Time, "until": expr.Time, "cursor": expr.Text, "page": expr.Text,
	})
	if err != nil {
		return nil, []Problem{{"", err.Error()}}
	}
	text := func(field, text string) template {
		t, err := parseTemplate(request, text)
		if err != nil {
			found.add(field, "%s", err)
		}
		return t
	}
	p := &programs{
		url: text("request.url", c.Request.URL), body: text("request.body", c.Request.Body),
		query: map[string][]template{}, headers: map[string]template{},
	}
	for _, name := range slices.Sorted(maps.Keys(c.Request.Query)) {
		for _, value := range c.Request.Query[name] {
			p.query[name] = append(p.query[name], text("request.query."+name, value))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Request.Headers)) {
		p.headers[name] = text("request.headers."+name, c.Request.Headers[name])
	}
	answer, err := expr.NewEnv(map[string]expr.Type{"body": expr.Any, "headers": expr.Map, "last": expr.Any})
	if err != nil {
		return nil, []Problem{{"", err.Error()}}
	}
	record, err := expr.NewEnv(map[string]expr.Type{"rec": expr.Any, "partition": expr.Map})
	if err != nil {
		return nil, []Problem{{"", err.Error()}}
	}
	expression := func(env *expr.Env, field, text string, want expr.Type) *expr.Program {
		if text == "" {
			return nil
		}
		program, err := env.Compile(text, want)
		if err != nil {
			found.add(field, "%s", err)
			return nil
		}
		return program
	}
	p.token = expression(answer, "cursor.token", c.Cursor.Token, expr.Text)
	p.from = expression(answer, "pagination.from", c.Pagination.From, expr.Text)
	p.more = expression(answer, "pagination.more", c.Pagination.More, expr.Bool)
	p.filter = expression(record, "records.filter", c.Records.Filter, expr.Bool)
	m, mistakes := mapping.Compile(c.Event)
	for _, mistake := range mistakes {
		found.add("event."+mistake.Field, "%s", mistake.Msg)
	}
	p.mapping = m
	return p, found
}

// template is a text with expressions in it.
type template []part

type part struct {
	literal string
	program *expr.Program
}

// parseTemplate reads a text with expressions between {{ and }}.
func parseTemplate(env *expr.Env, text string) (template, error) {
	var t template
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{{")
		if literal != "" {
			t = append(t, part{literal: literal})
		}
		if !found {
			break
		}
		inner, behind, closed := strings.Cut(after, "}}")
		if !closed {
			return nil, errors.New("has {{ without }}")
		}
		p, err := env.Compile(strings.TrimSpace(inner), expr.Text)
		if err != nil {
			return nil, fmt.Errorf("{{%s}}: %w", inner, err)
		}
		t = append(t, part{program: p})
		rest = behind
	}
	return t, nil
}

func (t template) text(vars expr.Vars) (string, error) {
	if len(t) == 1 && t[0].program == nil {
		return t[0].literal, nil
	}
	var b strings.Builder
	for _, p := range t {
		if p.program == nil {
			b.WriteString(p.literal)
			continue
		}
		val, err := p.program.Eval(vars)
		if err != nil {
			return "", err
		}
		text, err := val.Text()
		if err != nil {
			return "", fmt.Errorf("%s: %w", p.program, err)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}
