package httppoll

import (
	"encoding/json"
	"fmt"
	"time"

	"stackstream/event"
)

// cursorFormat is the newest format of the cursor that this version reads; by the rules of package event.
const cursorFormat = 1

// quietAfter is how long there must be nothing new until the overlap is not read back any more. It is more than any
// clock or time zone is wrong by, and less than RAW keeps events if nobody set it to less than that.
const quietAfter = 24 * time.Hour

// state is the cursor of a source: where it stands in each of its partitions. Where there are none there is one, "".
type state struct {
	Parts map[string]*position `json:"parts"`
	// Next is the partition to begin with, where a run had to end before it.
	Next string `json:"next,omitempty"`
}

const (
	// maxPartitions bounds how many partitions there may be, those included that are no longer listed, and maxState what all of
	// that takes: it goes with every batch.
	maxPartitions = 2000
	maxState      = 512 << 10
	// goneHolds is how long a partition that is no longer there keeps others from being forgotten: a list may be wrong for a while.
	goneHolds = 24 * time.Hour
)

// position is how far a partition was read. It only moves forward, but for a reset.
type position struct {
	// Newest is the time of the newest record that was handed over, but not after what had settled when that run began.
	Newest time.Time `json:"newest,omitzero"`
	// From is the time from which the next run reads: no record older than this is handed over again. It is kept, not reckoned
	// from Newest, so that a larger overlap in the configuration does not reach back behind what was promised.
	From time.Time `json:"from,omitzero"`
	// Moved is when Newest last moved.
	Moved time.Time `json:"moved,omitzero"`
	// Number is the highest number that was handed over.
	Number *int64 `json:"number,omitempty"`
	// Token is what the service handed out last.
	Token string `json:"token,omitempty"`
	// ETag is that of the last answer that was read to its end.
	ETag string `json:"etag,omitempty"`
	// Began says that a start was chosen.
	Began bool `json:"began,omitempty"`
	// Gone is since when the partition is no longer there.
	Gone time.Time `json:"gone,omitzero"`
}

func decodeState(c event.Cursor) (state, error) {
	s := state{Parts: map[string]*position{}}
	if c == nil {
		return s, nil
	}
	err := event.Decode(c, cursorFormat, &s)
	if err == nil {
		_, err = json.Marshal(s) // a time may have been read that can't be written
	}
	if err != nil {
		return s, &event.Error{Kind: event.Invalid, Op: "read the cursor of http", Err: err}
	}
	if s.Parts == nil {
		s.Parts = map[string]*position{}
	}
	for name, p := range s.Parts {
		if p == nil {
			delete(s.Parts, name)
		}
	}
	return s, nil
}

func (s state) encode() (event.Cursor, error) {
	out, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the cursor of http: %w", err)
	}
	if len(s.Parts) > maxPartitions || len(out) > maxState {
		return nil, &event.Error{Kind: event.Invalid, Op: "write the cursor of http", Err: fmt.Errorf(
			"%d partitions are or were there, which take %d bytes: more than %d, or %d bytes, are too many "+
				"(see partitions.where and .forget)",
			len(s.Parts), len(out), maxPartitions, maxState)}
	}
	return out, nil
}

// floor is the time before which none of the partitions hands over anything again, zero while one can't say.
func (s state) floor(now time.Time) time.Time {
	var floor time.Time
	for _, p := range s.Parts {
		switch {
		case !p.Gone.IsZero() && now.Sub(p.Gone) > goneHolds:
		case p.From.IsZero():
			return time.Time{}
		case floor.IsZero() || p.From.Before(floor):
			floor = p.From
		}
	}
	return floor
}

// advance moves along with a record of a time that was handed over in a run that goes by now, of which everything up to
// settled has settled.
func (p *position) advance(at, settled, now time.Time, overlap time.Duration) {
	if at.After(settled) {
		at = settled
	}
	if !at.After(p.Newest) {
		return
	}
	p.Newest, p.Moved = at.UTC(), now.UTC()
	// Services keep microseconds at most. The bound they are asked for and the one promised must be the same.
	if from := p.Newest.Add(-overlap).Truncate(time.Microsecond); from.After(p.From) {
		p.From = from
	}
}

// rest ends the overlap behind the newest record when nothing new has come for long: RAW forgets events in the end, and
// then nobody would know any more that the last ones, read back, are no new ones.
func (p *position) rest(now time.Time, overlap, step time.Duration) {
	if p.Moved.IsZero() || now.Sub(p.Moved) <= overlap+quietAfter {
		return
	}
	if behind := p.Newest.Truncate(step).Add(step); behind.After(p.From) {
		p.From = behind
	}
}

// number moves along with a record's number.
func (p *position) number(n int64) {
	if p.Number == nil || n > *p.Number {
		p.Number = &n
	}
}

// same tells whether a run from either reads the same.
func (p *position) same(q *position) bool {
	numbers := (p.Number == nil) == (q.Number == nil) && (p.Number == nil || *p.Number == *q.Number)
	return numbers && p.From.Equal(q.From) && p.Token == q.Token
}

func (p *position) clone() position {
	out := *p
	if p.Number != nil {
		n := *p.Number
		out.Number = &n
	}
	return out
}
