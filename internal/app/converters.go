package app

import (
	"fmt"

	"stackstream/normalizer"
	"stackstream/normalizer/ceilometer"
	"stackstream/normalizer/oslo"
	"stackstream/normalizer/rules"
)

// converters is the one place where converters are listed: by the format that a source gives its raw events. All share
// the rules for what is the same in every event.
func converters(cfg rules.Config) (map[string]normalizer.Converter, error) {
	shared, err := rules.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("prepare the rules of the normalizer: %w", err)
	}
	return map[string]normalizer.Converter{
		ceilometer.Format: ceilometer.New(shared),
		oslo.Format:       oslo.New(shared),
	}, nil
}
