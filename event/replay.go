package event

import (
	"fmt"
	"strings"
	"time"
)

// StreamReplay has what jobs made of raw events once more. Nothing but those jobs needs it: it may be missing.
const StreamReplay = "EVENTS_REPLAY"

// ReplayName names a job that converts raw events once more. It is one subject token, as the name of a provider is.
type ReplayName string

// ParseReplayName checks that s may name a job.
func ParseReplayName(s string) (ReplayName, error) {
	if err := checkToken(s); err != nil {
		return "", fmt.Errorf("job name %q: %w", s, err)
	}
	return ReplayName(s), nil
}

const (
	prefixReplay       = "events.replay."
	prefixCursorReplay = "events.cursor.replay."
	suffixReplayDead   = ".dead"
)

// ReplaySubject is where the events of a job are: one token below the job, as they are one below events.normalized.
func ReplaySubject(n ReplayName, p Provider) string {
	return prefixReplay + string(n) + "." + string(p)
}

// ReplayDeadSubject is where those raw events are that a job could not convert. A subscriber to the events does not see it.
func ReplayDeadSubject(n ReplayName, p Provider) string {
	return ReplaySubject(n, p) + suffixReplayDead
}

// ReplaySubjects matches all that a job has written but for its record.
func ReplaySubjects(n ReplayName) string { return prefixReplay + string(n) + ".>" }

// ReplayCursorSubject holds the Replay of a job.
func ReplayCursorSubject(n ReplayName) string { return prefixCursorReplay + string(n) }

// ReplayCursorSubjects matches the Replay of every job.
func ReplayCursorSubjects() string { return prefixCursorReplay + "*" }

// ReplayCommandsSubject has the commands that changed the Replay of a job.
func ReplayCommandsSubject(n ReplayName) string { return ReplayCursorSubject(n) + suffixCommands }

// ParseReplaySubject says what a stored subject of a job's events or dead letters says.
func ParseReplaySubject(subject string) (n ReplayName, p Provider, dead, ok bool) {
	rest, ok := strings.CutPrefix(subject, prefixReplay)
	if !ok {
		return "", "", false, false
	}
	name, rest, _ := strings.Cut(rest, ".")
	provider, kind, dead := strings.Cut(rest, ".") // a provider may be called dead
	if dead && "."+kind != suffixReplayDead || checkToken(name) != nil || checkToken(provider) != nil {
		return "", "", false, false
	}
	return ReplayName(name), Provider(provider), dead, true
}

// ParseReplayCursorSubject returns the job whose record a stored subject holds.
func ParseReplayCursorSubject(subject string) (ReplayName, bool) {
	name, ok := strings.CutPrefix(subject, prefixCursorReplay)
	return ReplayName(name), ok && checkToken(name) == nil
}

// ReplayState is how a job is doing.
type ReplayState string

// The states.
const (
	ReplayRunning   ReplayState = "running"   // a process works on it, or was killed while it did
	ReplayPaused    ReplayState = "paused"    // an operator has stopped it until he lets it go on
	ReplayCancelled ReplayState = "cancelled" // an operator has ended it
	ReplayDone      ReplayState = "done"
)

// Replay is the record of a job that converts raw events of a provider once more. It stands behind what the job has made,
// written in the same atomic batch.
type Replay struct {
	// What there is to do stays as it was when the job was made, but for the Rate. From and To are sequences of RAW, both
	// included, and RawCreated says of which RAW; Since and Until are what was asked for.
	Provider   Provider  `json:"provider"`
	From       StreamSeq `json:"from"`
	To         StreamSeq `json:"to"`
	RawCreated time.Time `json:"raw_created,omitzero"`
	Since      string    `json:"since,omitempty"`
	Until      string    `json:"until,omitempty"`
	// Types are patterns of event types; events of others are left out. None means all.
	Types []string `json:"types,omitempty"`
	// Rate is how many raw events a second are converted at most, 0 for as many as can be.
	Rate uint64 `json:"rate,omitempty"`
	// Converters are name and version by the format of a raw event; Rules stands for the settings that all of them share.
	Converters map[string]string `json:"converters,omitempty"`
	Rules      string            `json:"rules,omitempty"`
	MadeBy     string            `json:"made_by,omitempty"`
	MadeAt     time.Time         `json:"made_at"`

	State ReplayState `json:"state"`
	// Halted says who has paused or cancelled it, and why.
	Halted  *Pause    `json:"halted,omitempty"`
	EndedAt time.Time `json:"ended_at,omitzero"`

	// RawSeq is the sequence in RAW of the last raw event that is dealt with; Position the Seq of the last event or dead letter
	// that was made.
	RawSeq   StreamSeq               `json:"raw_seq"`
	Position Seq                     `json:"position"`
	Sources  map[Source]ReplaySource `json:"sources,omitempty"`
	Counts   ReplayCounts            `json:"counts"`
	// Gaps are raw events that RAW had dropped before the job came to them, and an operator has accepted that.
	Gaps []ReplayGap `json:"gaps,omitempty"`

	Batch     string    `json:"batch"`
	Owner     string    `json:"owner,omitempty"`
	WrittenAt time.Time `json:"written_at"`
	Sequence  StreamSeq `json:"-"`
}

// ReplaySource is which raw events of a source a job is to deal with, by their numbers, and the last one dealt with. A number
// is 0 where it is not known.
type ReplaySource struct {
	First    Seq `json:"first"`
	Last     Seq `json:"last"`
	Position Seq `json:"position"`
}

// ReplayCounts is what became of the raw events that a job has dealt with.
type ReplayCounts struct {
	Raw      uint64 `json:"raw"`      // all of them
	Events   uint64 `json:"events"`   // written; a raw event may give several
	Dead     uint64 `json:"dead"`     // raw events that could not be converted
	Filtered uint64 `json:"filtered"` // events whose type was not asked for
	Skipped  uint64 `json:"skipped"`  // raw events that are no news: repairs of letters that are converted in their own place
	Lost     uint64 `json:"lost"`     // raw events in Gaps
}

// ReplayGap is raw events of a source that are missing, by their numbers, both included.
type ReplayGap struct {
	Source Source `json:"source"`
	From   Seq    `json:"from"`
	To     Seq    `json:"to"`
}

// Total is how many raw events the job is to deal with, as far as is known.
func (r *Replay) Total() uint64 {
	var n uint64
	for _, s := range r.Sources {
		if s.First > 0 && s.Last >= s.First {
			n += uint64(s.Last-s.First) + 1
		}
	}
	return n
}

// Stamp says which attempt of whom writes the record, and when.
func (r *Replay) Stamp(batch, owner string, at time.Time) {
	r.Batch, r.Owner, r.WrittenAt = batch, owner, at
}
