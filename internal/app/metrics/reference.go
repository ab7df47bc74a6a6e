package metrics

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stackstream/collectors/webhook"
	"stackstream/event"
	"stackstream/internal/app/admin"
	"stackstream/jetstream"
)

//go:generate go test . -run TestGenerated -update

// opening is how the page about the metrics begins.
//
//go:embed opening.md
var opening string

// labels says what each label is, and which values it may have where they are known.
func labels() map[string]string {
	roles := []event.Role{
		event.RoleCollector, event.RoleNormalizer, admin.RoleNATS, admin.RoleStore, admin.RoleStreams, admin.RoleReplicas,
	}
	return map[string]string{
		provider: "a cloud, as the configuration names it; empty for what all stand on",
		source:   "a source of it: `panko`, `amqp`, `amqp-nova`; those that jobs make are one, `" + backfill + "`",
		"role":   words(roles),
		"state":  words(states),
		"kind":   words(append([]string{other}, kinds()...)),
		"result": words(append([]string{"ok"}, kinds()...)),
		"reason": "of a dead letter: " + words(reasons) + "; of a notification that was dropped: " + words(dropReasons) +
			"; of a message that was rejected: " + words(rejectReasons) +
			"; of a request that was not taken: " + words(webhook.Reasons()),
		"why":     words(retryReasons),
		"what":    "is odd: " + words(oddities) + "; was gone: " + words(gapsOf),
		stream:    words(jetstream.StreamNames()),
		durable:   "a durable consumer of EVENTS_NORMALIZED; `" + other + "`: all that have no metrics of their own",
		"version": "of the program",
	}
}

// kinds are the kinds of errors: all that have a name.
func kinds() []string {
	var names []string
	for k := event.Fenced; !strings.HasPrefix(k.String(), "kind-"); k++ {
		names = append(names, k.String())
	}
	return names
}

// words writes a list of values.
func words[S ~string](list []S) string {
	var quoted []string
	for _, word := range list {
		quoted = append(quoted, "`"+string(word)+"`")
	}
	return strings.Join(quoted, ", ")
}

// Reference is the page about the metrics.
func (m *Metrics) Reference() ([]byte, error) {
	var b strings.Builder
	var lacking []error
	b.WriteString(opening)
	meanings, used := labels(), map[string]bool{}
	part := ""
	for _, d := range m.list {
		if d.Part != part {
			part = d.Part
			fmt.Fprintf(&b, "\n## %s\n\n| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n", part)
		}
		for _, label := range d.Labels {
			used[label] = true
			if meanings[label] == "" {
				lacking = append(lacking, fmt.Errorf("%s: nothing says what the label %s is", d.Name, label))
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", d.Name, d.Type, words(d.Labels), d.Unit(), d.Help)
	}
	b.WriteString("\n## Labels\n\n| label | values |\n|---|---|\n")
	for _, label := range slices.Sorted(maps.Keys(meanings)) {
		if !used[label] {
			lacking = append(lacking, fmt.Errorf("no metric has the label %s", label))
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", label, meanings[label])
	}
	return []byte(b.String()), errors.Join(lacking...)
}
