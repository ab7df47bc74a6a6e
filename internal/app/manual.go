package app

import (
	"fmt"
	"slices"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/app/config"
)

// SourcesOf are the sources of a provider that a configuration has, of whatever kind was chosen. There is nothing in them
// but what needs no source to be made.
func SourcesOf(cfg *config.Config, p event.Provider) []collectors.Shard {
	settings := cfg.Providers[p]
	if settings == nil {
		return nil
	}
	var all []collectors.Shard
	for _, candidate := range candidates(p, settings, SourceEnv{}) {
		all = append(all, candidate.Shards...)
	}
	return all
}

// SourceOf is one of them.
func SourceOf(cfg *config.Config, p event.Provider, s event.Source) (collectors.Shard, bool) {
	all := SourcesOf(cfg, p)
	i := slices.IndexFunc(all, func(shard collectors.Shard) bool { return shard.Name == s })
	if i < 0 {
		return collectors.Shard{}, false
	}
	return all[i], true
}

// WholeCursor reads a whole cursor that an operator wrote for a source whose configuration is not known; was is the one that is
// there.
func WholeCursor(s event.Source, was event.Cursor, text string) (event.Cursor, error) {
	for _, kind := range sourceKinds() {
		if s.Of(kind.Name) {
			return kind.Whole(was, text)
		}
	}
	if s.Job() {
		return nil, fmt.Errorf("%s is a job, which keeps its own account of what is done", s)
	}
	return nil, fmt.Errorf("%s is of no kind of source of this program: %s", s, KindList())
}
