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
	request           texts
	token, from, more *expr.Program
	value, filter     *expr.Program
	mapping           *mapping.Mapping
	detail            detailPrograms
	list              listPrograms
	session           sessionPrograms
	answers           []answerPrograms
}

// texts are what a request consists of.
type texts struct {
	field     string // the setting that has them
	url, body template
	query     map[string][]template
	headers   map[string]template
}

type detailPrograms struct {
	texts
	when *expr.Program
}

type listPrograms struct {
	texts
	from, more, value, where *expr.Program
}

type sessionPrograms struct {
	texts
	fields           map[string]template
	token, expiresIn *expr.Program
}

// compiler collects the mistakes of expressions.
type compiler struct{ found problems }

func (c *compiler) env(variables map[string]expr.Type) *expr.Env {
	env, err := expr.NewEnv(variables)
	if err != nil {
		c.found.add("", "%s", err)
	}
	return env
}

func (c *compiler) text(env *expr.Env, field, text string) template {
	t, err := parseTemplate(env, text)
	if err != nil {
		c.found.add(field, "%s", err)
	}
	return t
}

func (c *compiler) texts(env *expr.Env, field, url, body string, query map[string][]string, headers map[string]string) texts {
	t := texts{
		field: field, url: c.text(env, field+".url", url), body: c.text(env, field+".body", body),
		query: map[string][]template{}, headers: c.named(env, field+".headers", headers),
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range query[name] {
			t.query[name] = append(t.query[name], c.text(env, field+".query."+name, value))
		}
	}
	return t
}

func (c *compiler) named(env *expr.Env, field string, named map[string]string) map[string]template {
	all := map[string]template{}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		all[name] = c.text(env, field+"."+name, named[name])
	}
	return all
}

func (c *compiler) expression(env *expr.Env, field, text string, want expr.Type) *expr.Program {
	if text == "" {
		return nil
	}
	program, err := env.Compile(text, want)
	if err != nil {
		c.found.add(field, "%s", err)
		return nil
	}
	return program
}

// compile compiles all expressions, and returns every mistake in them.
func (c Config) compile() (*programs, []Problem) {
	by := &compiler{}
	request := by.env(map[string]expr.Type{
		"partition": expr.Map, "start": expr.Time, "from": expr.Time, "until": expr.Time, "cursor": expr.Text, "page": expr.Text,
		"page_size": expr.Text,
	})
	answer := by.env(map[string]expr.Type{"body": expr.Any, "headers": expr.Map, "links": expr.Map, "last": expr.Any})
	record := by.env(map[string]expr.Type{"rec": expr.Any, "partition": expr.Map})
	if len(by.found) > 0 {
		return nil, by.found
	}
	p := &programs{request: by.texts(request, "request", c.Request.URL, c.Request.Body, c.Request.Query, c.Request.Headers)}
	p.token = by.expression(answer, "cursor.token", c.Cursor.Token, expr.Text)
	p.from = by.expression(answer, "pagination.from", c.Pagination.From, expr.Text)
	p.more = by.expression(answer, "pagination.more", c.Pagination.More, expr.Bool)
	p.value = by.expression(record, "cursor.value", c.Cursor.Value, expr.Any)
	p.filter = by.expression(record, "records.filter", c.Records.Filter, expr.Bool)
	m, mistakes := mapping.Compile(c.Event)
	for _, mistake := range mistakes {
		by.found.add("event."+mistake.Field, "%s", mistake.Msg)
	}
	p.mapping = m
	p.answers = by.answers(c.Retry.Answers)
	if d := c.Detail; d.URL != "" {
		p.detail = detailPrograms{
			texts: by.texts(record, "detail", d.URL, d.Body, d.Query, d.Headers),
			when:  by.expression(record, "detail.when", d.When, expr.Bool),
		}
	}
	if l := c.Partitions; l.listed() {
		element, page := by.env(map[string]expr.Type{"rec": expr.Any}), by.env(map[string]expr.Type{"page": expr.Text})
		p.list = listPrograms{
			texts: by.texts(page, "partitions.request", l.Request.URL, l.Request.Body, l.Request.Query, l.Request.Headers),
			from:  by.expression(answer, "partitions.pagination.from", l.Pagination.From, expr.Text),
			more:  by.expression(answer, "partitions.pagination.more", l.Pagination.More, expr.Bool),
			value: by.expression(element, "partitions.value", l.Value, expr.Text),
			where: by.expression(element, "partitions.where", l.Where, expr.Bool),
		}
	}
	if s := c.Auth.Session; s != nil {
		who := by.env(map[string]expr.Type{"user": expr.Text, "password": expr.Text})
		said := by.env(map[string]expr.Type{"body": expr.Any, "headers": expr.Map})
		const at = "auth.session"
		p.session = sessionPrograms{
			texts:     by.texts(who, at, "", s.Body, nil, s.Headers),
			token:     by.expression(said, at+".token", s.Token, expr.Text),
			expiresIn: by.expression(said, at+".expires_in", s.ExpiresIn, expr.Text),
		}
		if len(s.JSON) > 0 {
			p.session.fields = by.named(who, at+".json", s.JSON)
		} else {
			p.session.fields = by.named(who, at+".form", s.Form)
		}
	}
	return p, by.found
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
