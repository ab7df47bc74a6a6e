package amqp

import (
	"maps"
	"slices"
	"strings"

	"stackstream/event"
)

// ours tells whether a source is of this kind by its name.
func ours(name event.Source) bool { return name == Kind || strings.HasPrefix(string(name), Kind+"-") }

// sources says which source has which exchanges. One without exchanges is not there.
func (c Config) sources() map[event.Source][]string {
	sharded := map[string]bool{}
	found := map[event.Source][]string{}
	for name, exchanges := range c.Shards {
		found[event.Source(Kind+"-"+name)] = exchanges
		for _, x := range exchanges {
			sharded[x] = true
		}
	}
	for _, x := range c.Exchanges {
		if !sharded[x] {
			found[Kind] = append(found[Kind], x)
		}
	}
	return found
}

// sourceNames are the configured sources in order.
func (c Config) sourceNames() []event.Source { return slices.Sorted(maps.Keys(c.sources())) }

// owner is the source that has an exchange, "" if none has.
func (c Config) owner(exchange string) event.Source {
	for name, exchanges := range c.sources() {
		if slices.Contains(exchanges, exchange) {
			return name
		}
	}
	return ""
}

// keys are the routing keys that each exchange is bound by.
func (c Config) keys() []string {
	var keys []string
	for _, topic := range c.Topics {
		for _, priority := range c.Priorities {
			keys = append(keys, topic+"."+priority)
		}
	}
	return keys
}
