package app

import (
	"strings"

	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/normalizer/httpevent"
)

// HTTPConfig is how a source asks by HTTP, of its settings; false where it is of a kind that does not.
func HTTPConfig(settings any) (httppoll.Config, bool) {
	if c, ok := settings.(*httppoll.Config); ok {
		return *c, true
	}
	return httppoll.Config{}, false
}

// HTTPFormat is the format of the raw events of such a source.
func HTTPFormat(_ string, p event.Provider) string { return httpevent.Format(p) }

// HTTPKinds names the kinds that HTTPConfig knows, for people.
func HTTPKinds() string {
	var names []string
	for _, kind := range Kinds() {
		if _, ok := HTTPConfig(kind.Settings()); ok {
			names = append(names, kind.Name)
		}
	}
	return strings.Join(names, ", ")
}
