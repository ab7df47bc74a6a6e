package backfill

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"stackstream/event"
)

// stateFormat is the newest format of the state that this version reads; by the rules of package event.
const stateFormat = 1

// State is the job's cursor.
type State struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Service is the kind of service that is asked.
	Service string    `json:"service"`
	Began   time.Time `json:"began"`
	// Done is when the service had shown all of the range.
	Done time.Time `json:"done,omitzero"`
	// Removed is when an operator gave up the job, or it stepped back. Nothing is left of it but its number.
	Removed time.Time `json:"removed,omitzero"`
	// Run is the process that wrote this, so that another one which takes over writes another state.
	Run string `json:"run"`
	// At is where the service is read on: its source's own cursor.
	At event.Cursor `json:"at,omitempty"`
	// Base is the number of the last event of an earlier job of this name.
	Base event.Seq `json:"base,omitempty"`
	// Shown is how many events of the range the service showed, There how many of them the streams had already. What was read
	// twice around an interruption is counted twice.
	Shown uint64 `json:"shown"`
	There uint64 `json:"there"`
	// Timeless is how many were left out because they have no time.
	Timeless uint64 `json:"timeless,omitempty"`
	// AllowDuplicates: somebody wanted it so.
	AllowDuplicates bool `json:"allow_duplicates,omitempty"`
	// Accepted is when raw events of the provider were last given up, as the job reckons with it (event.GivenUp.At).
	Accepted time.Time `json:"accepted,omitzero"`
}

// ReadState reads the cursor of a job.
func ReadState(c event.Cursor) (State, error) {
	var s State
	if len(c) == 0 {
		return s, &event.Error{Kind: event.Invalid, Op: "read the cursor of a backfill", Err: errors.New("it is empty")}
	}
	err := event.Decode(c, stateFormat, &s)
	if err == nil {
		_, err = json.Marshal(s) // a time may have been read that can't be written
	}
	if err != nil {
		return s, &event.Error{Kind: event.Invalid, Op: "read the cursor of a backfill", Err: err}
	}
	return s, nil
}

// since has the job read all of its range again, also where it is done, if more was given up than it has reckoned with: what it was
// shown of that counted as there.
func (s *State) since(given event.GivenUp) {
	if s.Accepted.Equal(given.At) {
		return
	}
	s.Shown -= min(s.There, s.Shown)
	s.There, s.Timeless = 0, 0
	s.Accepted, s.At, s.Done = given.At, nil, time.Time{}
}

// Over tells whether nothing is left to do.
func (s State) Over() bool { return !s.Done.IsZero() || !s.Removed.IsZero() }

// Overlaps tells whether two jobs may have an event in common.
func (s State) Overlaps(from, to time.Time) bool { return s.From.Before(to) && from.Before(s.To) }

// Remove gives up a job in its record, which keeps the number of its last event: that must not be given to another one. It
// returns what the job was.
func Remove(c *event.RawCursor, now time.Time) (State, error) {
	s, err := ReadState(c.Cursor)
	if err != nil {
		return s, err
	}
	if !s.Removed.IsZero() {
		return s, errGone
	}
	before := s
	s = State{From: s.From, To: s.To, Service: s.Service, Began: s.Began, Removed: now.UTC(), Run: "removed", Base: c.Position}
	if c.Cursor, err = s.encode(); err != nil {
		return before, err
	}
	c.Retired = true
	return before, nil
}

var errGone = errors.New("it was removed already")

func (s State) encode() (event.Cursor, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the cursor of a backfill: %w", err)
	}
	return text, nil
}
