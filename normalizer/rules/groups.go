package rules

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"stackstream/internal/setting"
)

// Table sorts event types into groups and levels. In each list the first entry with a fitting pattern counts. A pattern
// is an event type in which "*" stands for any text.
type Table struct {
	// Groups puts event types into groups; the first entry that fits counts.
	Groups []GroupEntry `yaml:"groups"`
	// Levels gives event types a level; the first entry that fits counts.
	Levels []LevelEntry `yaml:"levels"`
}

// GroupEntry puts event types into a group. The built-in groups are addition, configuration, deletion, general, network,
// power, snapshot and storage.
type GroupEntry struct {
	// Group is a name of small letters, digits, _ and -.
	Group string `yaml:"group"`
	// Types are event types, in which * stands for any text.
	Types []string `yaml:"types"`
}

// LevelEntry gives event types a level: critical, warning or detail.
type LevelEntry struct {
	// Level says how important they are.
	Level string `yaml:"level" words:"critical,warning,detail"`
	// Types are event types, in which * stands for any text.
	Types []string `yaml:"types"`
}

// The levels, the most important last.
const (
	levelDetail   = "detail"
	levelWarning  = "warning"
	levelCritical = "critical"
)

//go:embed groups.yaml
var defaultTable []byte

// DefaultTable is the built-in table as YAML, commented, in the form that Config.EventGroups takes.
func DefaultTable() []byte { return bytes.Clone(defaultTable) }

type table struct {
	groups, levels patterns
}

func newTable(override Table) (*table, error) {
	var builtin Table
	if err := yaml.UnmarshalWithOptions(defaultTable, &builtin, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read the built-in event groups: %w", err)
	}
	var t table
	var wrong []error
	for _, p := range setting.Check(override) {
		wrong = append(wrong, fmt.Errorf("event_groups.%s: %s", p.Field, p.Msg))
	}
	for i, e := range slices.Concat(override.Groups, builtin.Groups) {
		if !isWord(e.Group) {
			wrong = append(wrong, fmt.Errorf("event_groups.groups[%d]: group %q: want a-z, 0-9, _ and -", i, e.Group))
		}
		wrong = append(wrong, t.groups.add(fmt.Sprintf("event_groups.groups[%d]", i), e.Group, e.Types))
	}
	for i, e := range slices.Concat(override.Levels, builtin.Levels) {
		wrong = append(wrong, t.levels.add(fmt.Sprintf("event_groups.levels[%d]", i), e.Level, e.Types))
	}
	return &t, errors.Join(wrong...)
}

// lookUp returns the group, "" if none is known, and the level: the table's, or a higher one where the priority that
// the service gave says so.
func (t *table) lookUp(eventType, priority string) (group, level string) {
	group, level = t.groups.find(eventType), t.levels.find(eventType)
	asked := ""
	switch strings.ToLower(priority) {
	case "critical", "error":
		asked = levelCritical
	case "warn", "warning":
		asked = levelWarning
	}
	if rank(asked) > rank(level) {
		level = asked
	}
	return group, level
}

func rank(level string) int {
	switch level {
	case levelDetail:
		return 1
	case levelWarning:
		return 2
	case levelCritical:
		return 3
	}
	return 0
}

func isWord(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

// patterns is an ordered list; those without "*" are found by a map.
type patterns struct {
	n     int
	exact map[string]entry
	// globs are those that may fit what begins with a letter; anything are those that may fit what begins with any other.
	globs    map[byte][]entry
	anything []entry
}

type entry struct {
	order int
	parts []string // of the pattern, between its stars
	value string
}

func (p *patterns) add(where, value string, types []string) error {
	if len(types) == 0 {
		return fmt.Errorf("%s: types is empty", where)
	}
	if p.exact == nil {
		p.exact, p.globs = map[string]entry{}, map[byte][]entry{}
	}
	var wrong error
	for _, pattern := range types {
		p.n++
		switch {
		case pattern == "" || strings.ContainsAny(pattern, " \t\n?[]"):
			wrong = errors.Join(wrong, fmt.Errorf("%s: type %q: want an event type, with * for any text", where, pattern))
		case strings.Contains(pattern, "*"):
			p.glob(entry{order: p.n, parts: strings.Split(pattern, "*"), value: value})
		default:
			if _, earlier := p.exact[pattern]; !earlier {
				p.exact[pattern] = entry{order: p.n, value: value}
			}
		}
	}
	return wrong
}

func (p *patterns) glob(e entry) {
	if first := e.parts[0]; first != "" {
		if _, others := p.globs[first[0]]; !others {
			p.globs[first[0]] = slices.Clone(p.anything)
		}
		p.globs[first[0]] = append(p.globs[first[0]], e)
		return
	}
	for letter := range p.globs {
		p.globs[letter] = append(p.globs[letter], e)
	}
	p.anything = append(p.anything, e)
}

func (p *patterns) find(eventType string) string {
	exact, ok := p.exact[eventType]
	globs := p.anything
	if eventType != "" {
		if some, found := p.globs[eventType[0]]; found {
			globs = some
		}
	}
	for i := range globs {
		g := &globs[i]
		if ok && g.order > exact.order {
			break
		}
		if g.fits(eventType) {
			return g.value
		}
	}
	return exact.value
}

func (e *entry) fits(s string) bool {
	first, last := e.parts[0], e.parts[len(e.parts)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, middle := range e.parts[1 : len(e.parts)-1] {
		at := strings.Index(s, middle)
		if at < 0 {
			return false
		}
		s = s[at+len(middle):]
	}
	return true
}
