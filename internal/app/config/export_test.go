package config

import (
	"reflect"
	"slices"

	"stackstream/internal/check"
	"stackstream/internal/setting"
)

// Structure returns the mistakes that show without knowing what a setting is for: unknown settings, wrong forms, words that are
// none of a list.
func (r Reader) Structure(data []byte) check.Findings {
	d := &decoder{file: "f.yaml", env: r.Env, kinds: r.Kinds, positions: map[string]check.Position{}}
	cfg := Default()
	d.document(data, reflect.ValueOf(cfg).Elem())
	cfg.complete()
	words := setting.Check(cfg)
	for name, p := range cfg.Providers {
		path := join("providers", string(name))
		if d.kind(p.Events) != nil { // one more word than the tag has
			words = slices.DeleteFunc(words, func(w setting.Problem) bool { return w.Field == join(path, "events") })
		}
		for kind, settings := range p.Sources {
			for _, problem := range setting.Check(settings) {
				words = append(words, setting.Problem{Field: join(path, join(kind, problem.Field)), Msg: problem.Msg})
			}
		}
	}
	for _, problem := range words {
		if _, written := d.positions[problem.Field]; written {
			d.add("", []Problem{Problem(problem)})
		}
	}
	return d.findings
}
