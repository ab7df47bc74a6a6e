package app

import (
	"fmt"
	"maps"

	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app/config"
	"stackstream/internal/mapping"
	"stackstream/normalizer"
	"stackstream/normalizer/ceilometer"
	"stackstream/normalizer/cloudevent"
	"stackstream/normalizer/httpevent"
	"stackstream/normalizer/oslo"
	"stackstream/normalizer/rules"
)

// Converters are the converters of a configuration, by the format of a raw event.
func Converters(cfg *config.Config) (map[string]normalizer.Converter, error) {
	shared, err := rules.New(cfg.Normalizer)
	if err != nil {
		return nil, fmt.Errorf("prepare the rules of the normalizer: %w", err)
	}
	all := common(shared) // also of providers that the configuration has no more
	for name, p := range cfg.Providers {
		own, err := converters(name, p, shared)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, own)
	}
	return all, nil
}

// common are the converters of formats that every provider may have.
func common(shared *rules.Rules) map[string]normalizer.Converter {
	return map[string]normalizer.Converter{
		ceilometer.Format: ceilometer.New(shared),
		cloudevent.Format: cloudevent.New(shared),
		oslo.Format:       oslo.New(shared),
	}
}

// converters is the one place where converters are listed: by the format that a source gives its raw events. That
// of HTTP event services has a mapping of each provider's own. All share the rules for what is the same in every event.
func converters(name event.Provider, p *config.Provider, shared *rules.Rules) (map[string]normalizer.Converter, error) {
	all := common(shared)
	mapped := map[string]*mapping.Config{webhookFormat(name): webhookMapping(p)}
	if settings, ok := p.Sources[httppoll.Kind].(*httppoll.Config); ok {
		mapped[httpevent.Format(name)] = &settings.Event
	}
	for format, of := range mapped {
		if of == nil {
			continue
		}
		m, mistakes := mapping.Compile(*of)
		if len(mistakes) > 0 {
			return nil, fmt.Errorf("prepare the mapping of %s: %s: %s", name, mistakes[0].Field, mistakes[0].Msg)
		}
		all[format] = httpevent.New(shared, m)
	}
	return all, nil
}

// conversion is what the converters of a provider are made of.
type conversion struct {
	rules   rules.Config
	mapping *mapping.Config // nil without one
	posted  *mapping.Config // the same, of what is posted
}

func conversionOf(cfg *config.Config, name event.Provider) conversion {
	c := conversion{rules: cfg.Normalizer, posted: webhookMapping(cfg.Providers[name])}
	if settings, ok := cfg.Providers[name].Sources[httppoll.Kind].(*httppoll.Config); ok {
		c.mapping = &settings.Event
	}
	return c
}
