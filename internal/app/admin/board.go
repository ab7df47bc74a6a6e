package admin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"stackstream/event"
)

// Part is one half of the pipeline of one provider, one of its sources, or what all stand on, and how it does.
type Part struct {
	Role     event.Role     `json:"role"`
	Provider event.Provider `json:"provider,omitempty"`
	Source   event.Source   `json:"source,omitempty"`
	State    event.State    `json:"state"`
	Reason   string         `json:"reason,omitempty"`
	// Since is when it entered the state.
	Since time.Time `json:"since"`
}

// Parts that belong to no provider.
const (
	RoleNATS     event.Role = "nats"     // the connection
	RoleStore    event.Role = "store"    // the embedded server and its disk
	RoleStreams  event.Role = "streams"  // whether they are there, and as they must be
	RoleReplicas event.Role = "replicas" // whether every server has its copy of them
	// RoleConfiguration is the configuration file, where a change of it is taken.
	RoleConfiguration event.Role = "configuration"
)

// Ready tells whether the part does what it should: it works and nothing is wrong, waits as the standby of another
// process, or has nothing to do by configuration or by command.
func (p Part) Ready() bool {
	switch p.State {
	case event.StateLive, event.StateStandby, event.StateIdle, event.StatePaused:
		return true
	default:
		return false
	}
}

// Noteworthy tells whether an operator should know of the part though it is ready: a changed configuration waits for a restart,
// say. What the others give as their reason is how they came to work.
func (p Part) Noteworthy() bool { return p.Role == RoleConfiguration && p.Ready() && p.Reason != "" }

// Board keeps the last status of every part. It is safe for concurrent use.
type Board struct {
	mu    sync.Mutex
	parts map[partKey]entry
	loops map[string]pulse
}

// entry is a part and since when it has not been ready, whatever states it passed meanwhile.
type entry struct {
	Part
	notReady time.Time
}

type partKey struct {
	role     event.Role
	provider event.Provider
	source   event.Source
}

// pulse is the last sign of life of a loop and when the next one was promised.
type pulse struct {
	at     time.Time
	within time.Duration
}

// patience is how many times the promised interval a loop may be silent before it counts as stuck.
const patience = 3

// NewBoard makes an empty board.
func NewBoard() *Board {
	return &Board{parts: map[partKey]entry{}, loops: map[string]pulse{}}
}

// Set records a status and tells whether it changed anything but the time.
func (b *Board) Set(s event.Status) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := partKey{s.Role, s.Provider, s.Source}
	old, known := b.parts[key]
	part := Part{Role: s.Role, Provider: s.Provider, Source: s.Source, State: s.State, Reason: s.Reason, Since: old.Since}
	if known && part == old.Part {
		return false
	}
	now := time.Now().UTC()
	if !known || old.State != s.State {
		part.Since = now
	}
	e := entry{Part: part, notReady: old.notReady}
	switch {
	case part.Ready():
		e.notReady = time.Time{}
	case old.notReady.IsZero():
		e.notReady = now
	}
	b.parts[key] = e
	return true
}

// NotReadySince is since when a part has not been ready, the zero time if it is or was never heard of.
func (b *Board) NotReadySince(role event.Role, p event.Provider, s event.Source) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.parts[partKey{role, p, s}].notReady
}

// Forget takes away a provider's parts of one role: nothing is known of them any more.
func (b *Board) Forget(role event.Role, p event.Provider) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.parts, func(key partKey, _ entry) bool { return key.role == role && key.provider == p })
}

// Parts returns all parts, NATS first, then by provider.
func (b *Board) Parts() []Part {
	b.mu.Lock()
	defer b.mu.Unlock()
	parts := make([]Part, 0, len(b.parts))
	for _, e := range b.parts {
		parts = append(parts, e.Part)
	}
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Role, b.Role),
			cmp.Compare(a.Source, b.Source))
	})
	return parts
}

// Ready tells whether every part is.
func (b *Board) Ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.parts {
		if !e.Ready() {
			return false
		}
	}
	return true
}

// Beat says that a loop is alive and will say so again within the given time; 0 says that it has ended. A loop that is
// three times as late as it said is stuck.
func (b *Board) Beat(loop string, within time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if within <= 0 {
		delete(b.loops, loop)
		return
	}
	b.loops[loop] = pulse{at: time.Now(), within: within}
}

// Stuck returns the loops that are stuck, each with what is known about it, sorted by name.
func (b *Board) Stuck() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var stuck []string
	for loop, p := range b.loops {
		if silent := time.Since(p.at); silent > patience*p.within {
			stuck = append(stuck, fmt.Sprintf("%s: no sign of life for %s, expected every %s",
				loop, silent.Round(time.Second), p.within))
		}
	}
	slices.Sort(stuck)
	return stuck
}
