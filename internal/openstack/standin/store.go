package standin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is one event as Panko holds it.
type Event struct {
	ID        string
	Type      string
	Generated time.Time
	// Body is what Panko shows of it, byte for byte.
	Body []byte
	// Visible is when it begins to show, at once if zero.
	Visible time.Time

	traits []trait
}

type trait struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// naive is how Panko writes a time: in UTC, without saying so.
const naive = "2006-01-02T15:04:05.000000"

// ParseEvent reads an event in the form in which Panko shows it.
func ParseEvent(body []byte) (Event, error) {
	var shape struct {
		ID        string  `json:"message_id"`
		Type      string  `json:"event_type"`
		Generated string  `json:"generated"`
		Traits    []trait `json:"traits"`
	}
	if err := json.Unmarshal(body, &shape); err != nil {
		return Event{}, fmt.Errorf("parse event: %w", err)
	}
	at, err := time.Parse("2006-01-02T15:04:05", shape.Generated)
	if err != nil {
		return Event{}, fmt.Errorf("parse event %s: %w", shape.ID, err)
	}
	return Event{ID: shape.ID, Type: shape.Type, Generated: at, Body: body, traits: shape.Traits}, nil
}

// compareEvents is the order in which Panko shows events.
func compareEvents(a, b Event) int {
	return cmp.Or(a.Generated.Compare(b.Generated), strings.Compare(a.ID, b.ID))
}

// store holds events in Panko's order.
type store struct {
	mu     sync.RWMutex
	sorted []Event
	ids    map[string]time.Time // of the events in it, with their times
}

// Put adds events; one whose id is there already is ignored, as Panko does.
func (s *Service) Put(events ...Event) { s.events.put(events) }

// Remove takes an event away, as Panko does when its time to live is over.
func (s *Service) Remove(id string) {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	delete(s.events.ids, id)
	s.events.sorted = slices.DeleteFunc(s.events.sorted, func(e Event) bool { return e.ID == id })
}

// Forget takes away all events that were generated before a time, as Panko does when their time to live is over.
func (s *Service) Forget(before time.Time) {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	n, _ := slices.BinarySearchFunc(s.events.sorted, before, func(e Event, at time.Time) int { return e.Generated.Compare(at) })
	for _, e := range s.events.sorted[:n] {
		delete(s.events.ids, e.ID)
	}
	s.events.sorted = slices.Clone(s.events.sorted[n:])
}

// Events returns all events in Panko's order, also those that do not show yet.
func (s *Service) Events() []Event {
	s.events.mu.RLock()
	defer s.events.mu.RUnlock()
	return slices.Clone(s.events.sorted)
}

func (st *store) put(events []Event) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ids == nil {
		st.ids = map[string]time.Time{}
	}
	for _, e := range events {
		if _, there := st.ids[e.ID]; there {
			continue
		}
		st.ids[e.ID] = e.Generated
		at, _ := slices.BinarySearchFunc(st.sorted, e, compareEvents)
		st.sorted = slices.Insert(st.sorted, at, e)
	}
}

func (st *store) find(id string) (Event, bool) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	at, there := slices.BinarySearchFunc(st.sorted, Event{ID: id, Generated: st.ids[id]}, compareEvents)
	if !there {
		return Event{}, false
	}
	return st.sorted[at], true
}

// visible returns the events that show now and that keep takes, in Panko's order.
func (st *store) visible(now time.Time, keep func(*Event) bool) []Event {
	st.mu.RLock()
	defer st.mu.RUnlock()
	var out []Event
	for i := range st.sorted {
		e := &st.sorted[i]
		if !e.Visible.After(now) && keep(e) {
			out = append(out, *e)
		}
	}
	return out
}
