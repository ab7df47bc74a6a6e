package panko

import (
	"encoding/json"
	"fmt"
	"time"

	"stackstream/event"
)

// cursorFormat is the newest format of the cursor that this version reads; by the rules of package event.
const cursorFormat = 1

// cursor is how far the source has read. It only moves forward.
type cursor struct {
	// Generated is the time of the newest event that was handed over, but not after the moment that run began.
	Generated time.Time `json:"generated,omitzero"`
	// From is the time from which the next run reads: no event older than this is handed over again. It is kept, not
	// reckoned from Generated, so that a larger overlap in the configuration does not reach back behind what was promised.
	From time.Time `json:"from,omitzero"`
	// Moved is when Generated last moved, by the clock that the run went by.
	Moved time.Time `json:"moved,omitzero"`
}

// quietAfter is how long there must be nothing new until the overlap is not read back any more. It is more than any
// clock or time zone is wrong by, and less than RAW keeps events if nobody set it to less than that.
const quietAfter = 24 * time.Hour

// resume finds where a run begins. fresh is set when that was decided just now and stands in no durable cursor yet.
func (c Config) resume(from event.From, now time.Time) (at cursor, fresh bool, err error) {
	switch {
	case from.Cursor != nil:
		err := event.Decode(from.Cursor, cursorFormat, &at)
		at.Generated, at.From, at.Moved = at.Generated.UTC(), at.From.UTC(), at.Moved.UTC()
		if err == nil {
			_, err = at.encode() // a time may have been read that can't be written
		}
		if err != nil {
			return at, false, &event.Error{Kind: event.Invalid, Op: "read the cursor of panko", Err: err}
		}
	case !from.Newest.IsZero():
		at.Generated = from.Newest
		if now.Before(at.Generated) {
			at.Generated = now
		}
		at.From, at.Moved, fresh = at.Generated.Add(-c.Overlap), now, true
	case c.SkipHistory || c.Start.now:
		at, fresh = cursor{Generated: now, From: now}, true
	case !c.Start.at.IsZero():
		at.From, fresh = c.Start.at, true
	}
	if at.From.Before(from.Floor) {
		at.From = from.Floor
	}
	// Panko keeps microseconds. The bound it is asked for and the one promised must be the same.
	at.From = at.From.UTC().Truncate(time.Microsecond)
	return at, fresh, nil
}

// advance moves the cursor along with an event that was handed over in a run that began at start.
func (at *cursor) advance(generated, start time.Time, overlap time.Duration) {
	if generated.After(start) {
		generated = start
	}
	if !generated.After(at.Generated) {
		return
	}
	at.Generated, at.Moved = generated.UTC(), start.UTC()
	if from := at.Generated.Add(-overlap).Truncate(time.Microsecond); from.After(at.From) {
		at.From = from
	}
}

// rest ends the overlap behind the newest event when nothing new has come for long: RAW forgets events in the end, and
// then nobody would know any more that the last ones, read back, are no new ones.
func (at *cursor) rest(start time.Time, overlap time.Duration) {
	if at.Moved.IsZero() || start.Sub(at.Moved) <= overlap+quietAfter {
		return
	}
	if behind := at.Generated.Truncate(time.Microsecond).Add(time.Microsecond); behind.After(at.From) {
		at.From = behind
	}
}

func (at cursor) encode() (event.Cursor, error) {
	if at == (cursor{}) {
		return nil, nil
	}
	out, err := json.Marshal(at)
	if err != nil {
		return nil, fmt.Errorf("write the cursor of panko: %w", err)
	}
	return out, nil
}
