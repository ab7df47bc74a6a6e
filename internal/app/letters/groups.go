package letters

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"stackstream/event"
)

// Groups counts letters by what they have in common.
type Groups struct{ of map[GroupKey]*Group }

// GroupKey is what the letters of a group have in common.
type GroupKey struct {
	Provider  event.Provider `json:"provider"`
	Reason    event.Reason   `json:"reason"`
	Converter string         `json:"converter,omitempty"`
}

// Group counts letters.
type Group struct {
	GroupKey
	Letters int `json:"letters"`
	// States has how many are in each state.
	States map[string]int `json:"states"`
	// Oldest and Newest are when they were written.
	Oldest time.Time `json:"oldest"`
	Newest time.Time `json:"newest"`
	// First and Last are their lowest and highest number.
	First event.Seq `json:"first"`
	Last  event.Seq `json:"last"`
}

// Add counts a letter.
func (g *Groups) Add(l *event.Letter, state string) { g.add(l, state) }

func (g *Groups) add(l *event.Letter, state string) {
	if g.of == nil {
		g.of = map[GroupKey]*Group{}
	}
	key := GroupKey{l.Provider, l.Reason, l.Converter}
	group := g.of[key]
	if group == nil {
		group = &Group{GroupKey: key, States: map[string]int{}, Oldest: l.StoredAt, Newest: l.StoredAt, First: l.Number, Last: l.Number}
		g.of[key] = group
	}
	group.Letters++
	group.States[state]++
	if l.StoredAt.Before(group.Oldest) {
		group.Oldest = l.StoredAt
	}
	if l.StoredAt.After(group.Newest) {
		group.Newest = l.StoredAt
	}
	group.First, group.Last = min(group.First, l.Number), max(group.Last, l.Number)
}

// List has the groups, the largest of each provider first.
func (g *Groups) List() []Group {
	list := make([]Group, 0, len(g.of))
	for _, group := range g.of {
		list = append(list, *group)
	}
	slices.SortFunc(list, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Reason, b.Reason),
			cmp.Compare(a.Converter, b.Converter))
	})
	return list
}

// Merge counts the letters of other groups as well.
func (g *Groups) Merge(other Groups) {
	if g.of == nil {
		g.of = map[GroupKey]*Group{}
	}
	maps.Copy(g.of, other.of) // of other providers
}
