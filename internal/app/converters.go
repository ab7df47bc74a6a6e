package app

import (
	"fmt"

	"stackstream/collectors/httppoll"
	"stackstream/internal/app/config"
	"stackstream/internal/mapping"
	"stackstream/normalizer"
	"stackstream/normalizer/ceilometer"
	"stackstream/normalizer/httpevent"
	"stackstream/normalizer/oslo"
	"stackstream/normalizer/rules"
)

// Converters are the converters of a configuration, by the format of a raw event.
func Converters(cfg *config.Config) (map[string]normalizer.Converter, error) { return converters(cfg) }

// converters is the one place where converters are listed: by the format that a source gives its raw events. Those
// of HTTP event services have one for each provider, since each has a mapping of its own. All share
// the rules for what is the same in every event.
func converters(cfg *config.Config) (map[string]normalizer.Converter, error) {
	shared, err := rules.New(cfg.Normalizer)
	if err != nil {
		return nil, fmt.Errorf("prepare the rules of the normalizer: %w", err)
	}
	all := map[string]normalizer.Converter{
		ceilometer.Format: ceilometer.New(shared),
		oslo.Format:       oslo.New(shared),
	}
	for name, p := range cfg.Providers {
		settings, ok := p.Sources[httppoll.Kind].(*httppoll.Config)
		if !ok {
			continue
		}
		m, mistakes := mapping.Compile(settings.Event)
		if len(mistakes) > 0 {
			return nil, fmt.Errorf("prepare the mapping of %s: %s: %s", name, mistakes[0].Field, mistakes[0].Msg)
		}
		all[httpevent.Format(name)] = httpevent.New(shared, m)
	}
	return all, nil
}
