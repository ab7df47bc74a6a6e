package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Pause says that an operator has stopped the work that a record stands for, until he lets it go on. Who works is fenced by
// the record that has it, and a version that knows no pauses refuses that record: both without having to be asked.
type Pause struct {
	By  string    `json:"by,omitempty"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
	// Taking is set where nobody has asked for a pause: the provider takes over what the one of that name knew, and has not begun
	// as long as anything of it is missing. Own is what an operator has paused, which holds when that is done.
	Taking Provider `json:"taking,omitempty"`
	Own    *Pause   `json:"own,omitempty"`
}

// Err is what who opens a record with a pause gets: an error of the kind Paused, or nil without a pause.
func (p *Pause) Err() error {
	if p == nil {
		return nil
	}
	why := p.Why
	if why == "" {
		why = "no reason given"
	}
	return &Error{Kind: Paused, Err: fmt.Errorf("since %s by %s: %s", p.At.UTC().Format(time.RFC3339), p.By, why)}
}

// PauseReason is what an error of the kind Paused says about the pause alone, and of any other error all.
func PauseReason(err error) string {
	var e *Error
	if KindOf(err) == Paused && errors.As(err, &e) && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// What may be done by command.
const (
	VerbPause     = "pause"
	VerbResume    = "resume"
	VerbRewind    = "rewind"     // a source reads again from an earlier time
	VerbSet       = "set"        // a source goes on from elsewhere, or has another watermark
	VerbAcceptGap = "accept-gap" // the normalizer goes on behind what is gone
	VerbRemove    = "remove"     // the provider, or a job, is no more
	VerbRename    = "rename"     // the provider goes on under another name
)

// Command is the trace of what an operator did to a record, written in the same atomic batch as the record.
type Command struct {
	// Verb is what was done, one of the above or another.
	Verb string    `json:"verb"`
	By   string    `json:"by,omitempty"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at"`
	// Before and After are the record, where it was there.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	// Note says in words what it meant: the events that are lost for good, for instance.
	Note string `json:"note,omitempty"`
	// Gaps are the raw events that will never be normalized.
	Gaps []RawGap `json:"gaps,omitempty"`
}

// RawGap is a row of raw events of a source that are gone from RAW and were not normalized.
type RawGap struct {
	Source Source `json:"source"`
	From   Seq    `json:"from"`
	To     Seq    `json:"to"`
	// After and Before are when the events around them were received, as far as that is known.
	After  time.Time `json:"after,omitzero"`
	Before time.Time `json:"before,omitzero"`
}

// Events is how many they are.
func (g RawGap) Events() uint64 { return uint64(g.To-g.From) + 1 }

// String is "events 3 to 7 of source panko, received from … to …".
func (g RawGap) String() string {
	text := fmt.Sprintf("events %d to %d of source %s", g.From, g.To, g.Source)
	if g.From == g.To {
		text = fmt.Sprintf("event %d of source %s", g.From, g.Source)
	}
	after, before := g.After.UTC().Format(time.RFC3339), g.Before.UTC().Format(time.RFC3339)
	switch {
	case !g.After.IsZero() && !g.Before.IsZero():
		text += fmt.Sprintf(", received from %s to %s", after, before)
	case !g.Before.IsZero():
		text += ", received up to " + before
	case !g.After.IsZero():
		text += ", received from " + after + " on"
	}
	return text
}

// GivenUp are the raw events that a normalizer was told to pass over. RAW may have some of them for a while: they count as lost
// all the same, since nothing will be made of them.
type GivenUp struct {
	Gaps []RawGap
	// At is when the last of them were given up, by the clock of who did it; zero if none were.
	At time.Time
}

// Has tells whether an event was given up.
func (g GivenUp) Has(s Source, n Seq) bool {
	for _, gap := range g.Gaps {
		if gap.Source == s && gap.From <= n && n <= gap.To {
			return true
		}
	}
	return false
}

// A record is written with the lowest format that what is in it needs.
func (c RawCursor) format() int {
	if len(c.Former) > 0 {
		return 2
	}
	return pausedFormat(c.Paused)
}
func (c NormalizedCursor) format() int { return pausedFormat(c.Paused) }
func (c Choice) format() int           { return pausedFormat(c.Paused) }

func pausedFormat(p *Pause) int {
	if p == nil {
		return 0
	}
	return 2
}

// MarshalJSON writes the record with its format.
func (c RawCursor) MarshalJSON() ([]byte, error) {
	type plain RawCursor
	return json.Marshal(struct {
		Format int `json:"format,omitempty"`
		plain
	}{c.format(), plain(c)})
}

// MarshalJSON writes the record with its format.
func (c NormalizedCursor) MarshalJSON() ([]byte, error) {
	type plain NormalizedCursor
	return json.Marshal(struct {
		Format int `json:"format,omitempty"`
		plain
	}{c.format(), plain(c)})
}

// MarshalJSON writes the record with its format.
func (c Choice) MarshalJSON() ([]byte, error) {
	type plain Choice
	return json.Marshal(struct {
		Format int `json:"format,omitempty"`
		plain
	}{c.format(), plain(c)})
}

// Stamp says which attempt of whom writes the record by command, and when.
func (c *RawCursor) Stamp(batch, owner string, at time.Time) {
	c.Batch, c.Owner, c.WrittenAt, c.Commanded = batch, owner, at, at
}

// Stamp says which attempt of whom writes the record by command, and when.
func (c *NormalizedCursor) Stamp(batch, owner string, at time.Time) {
	c.Batch, c.Owner, c.WrittenAt, c.Commanded = batch, owner, at, at
}

// Stamp says which attempt of whom writes the record, and when. A choice keeps who made it, and when.
func (c *Choice) Stamp(batch, _ string, _ time.Time) { c.Batch = batch }
