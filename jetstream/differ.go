package jetstream

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"stackstream/event"
)

const (
	// seenBatches is how many batches of each cursor are remembered, so that an answer of a server that lags a little, or one
	// that came while the cursor moved on, can still be compared.
	seenBatches = 64
	// differsFor is how long servers count as different after it last showed. It shows when the one that differs answers, which
	// is by chance, and about a batch that is remembered.
	differsFor = 15 * time.Minute
)

// Differing is a stream of which not all servers hold the same.
type Differing struct {
	Stream string
	// Subject is the cursor it showed by: one batch's cursor, at one sequence on one server and at another on another.
	Subject   string
	Sequences [2]event.StreamSeq
	last      time.Time
}

// sightings remembers where the cursors of batches are. Every message of a stream has the same sequence on all servers; where
// two servers say different things of one batch, the copy of one of them has lost messages, or has others. The zero value is
// empty.
type sightings struct {
	mu      sync.Mutex
	batches map[string][]sighting // by the cursor's subject, the last one at the end
	differ  map[string]Differing  // by stream
}

type sighting struct {
	batch string
	at    event.StreamSeq
}

// see takes the sequence of a batch's cursor, as one server acknowledged or showed it. A cursor that was written by itself has no
// batch and is not compared.
func (s *sightings) see(stream, subject, batch string, at event.StreamSeq, now time.Time) {
	if batch == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.batches[subject]
	if i := slices.IndexFunc(seen, func(known sighting) bool { return known.batch == batch }); i >= 0 {
		if was := seen[i].at; was != at {
			if s.differ == nil {
				s.differ = map[string]Differing{}
			}
			s.differ[stream] = Differing{Stream: stream, Subject: subject, Sequences: [2]event.StreamSeq{was, at}, last: now}
			seen[i].at = at // once all servers hold the same again, this is what they hold
		}
		return
	}
	if s.batches == nil {
		s.batches = map[string][]sighting{}
	}
	if len(seen) == seenBatches {
		seen = slices.Delete(seen, 0, 1)
	}
	s.batches[subject] = append(seen, sighting{batch, at})
}

func (s *sightings) differing(now time.Time) []Differing {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.differ, func(_ string, d Differing) bool { return now.Sub(d.last) > differsFor })
	return slices.SortedFunc(maps.Values(s.differ), func(a, b Differing) int { return cmp.Compare(a.Stream, b.Stream) })
}

// Differing returns the streams of which not all servers hold the same, as far as it has shown when cursors were read and
// written through this Client. It asks nobody. Which server is wrong does not show: an answer does not say who gives it.
func (c *Client) Differing() []Differing { return c.seen.differing(time.Now()) }
