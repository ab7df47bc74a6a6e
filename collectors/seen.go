package collectors

import (
	"math"
	"sync"
	"time"

	"stackstream/event"
)

// minRemembered is how many of the last events are remembered where no floor can decide about them, however few
// repeats a source admits to.
const minRemembered = 1000

// noTime marks an identity whose source gave no time.
const noTime = math.MinInt64

type identity = event.Identity

func identityOf(id event.ID) identity { return id.Identity() }

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return t.Unix()
}

// remembered is one identity in the order of RAW.
type remembered struct {
	id  identity
	at  int64           // seconds of the source's time, noTime if there is none
	seq event.StreamSeq // 0 while it is not durable
}

// seen is the set of identities that a source may show again. It has what RAW holds, in the order of the stream, and
// behind that what was taken from the source and is not durable yet.
//
// An identity is kept while it is not durable, while it is among the last repeats, and while its time is not below the
// floor. One that the floor can't decide about (no time, or no floor) is kept while it is among the last
// max(repeats, minRemembered), and new events push out at most two for each: what was read back at a start, which may
// be much more, is thus not dropped before the source had occasion to show it again.
//
// All methods may be called concurrently; each takes constant time per event, taken over many.
type seen struct {
	mu      sync.Mutex
	repeats int
	floor   int64
	ids     map[identity]struct{}
	list    []remembered // list[head:] is alive, the last pending of it not durable
	head    int
	pending int
	swept   int // how many durable ones the last sweep left
	push    int // how many that only their number decides about may still be pushed out

	aside []remembered          // of jobs and of sources that share their events, all durable
	gone  event.StreamSeq       // of the last one that was dropped for its number
	lost  map[identity]struct{} // those in aside that are pending, too: others were first
}

func newSeen(repeats int, floor time.Time) *seen {
	s := &seen{repeats: max(repeats, 0), floor: noTime, ids: map[identity]struct{}{}}
	if !floor.IsZero() {
		s.floor = floor.Unix()
	}
	return s
}

// recall adds an identity that RAW holds, in the order of the stream, before anything else is added.
func (s *seen) recall(e known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.job {
		if s.insert(e.remembered) {
			s.trim()
		}
		return
	}
	if _, known := s.ids[e.id]; !known && !s.past(&e.remembered) {
		s.ids[e.id] = struct{}{}
		s.aside = append(s.aside, e.remembered)
	}
}

// add takes an identity as not yet durable; false if it is known already.
func (s *seen) add(id event.ID, at time.Time) bool {
	r := remembered{id: identityOf(id), at: seconds(at)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.insert(r) {
		return false
	}
	s.pending++
	return true
}

// has tells whether an identity is known.
func (s *seen) has(id event.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.ids[identityOf(id)]
	return known
}

func (s *seen) insert(r remembered) bool {
	if _, known := s.ids[r.id]; known {
		return false
	}
	s.ids[r.id] = struct{}{}
	s.list = append(s.list, r)
	return true
}

// takeBack removes the last n that were added.
func (s *seen) takeBack(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := len(s.list) - n
	for _, r := range s.list[end:] {
		if _, stored := s.lost[r.id]; stored {
			delete(s.lost, r.id)
			continue
		}
		delete(s.ids, r.id)
	}
	s.list = s.list[:end]
	s.pending -= n
}

// durable says where the oldest of those added are now, and raises the floor.
func (s *seen) durable(seqs []event.StreamSeq, floor time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := len(s.list) - s.pending
	for i, seq := range seqs {
		s.list[first+i].seq = seq
	}
	s.pending -= len(seqs)
	if !floor.IsZero() {
		s.floor = max(s.floor, floor.Unix())
	}
	s.push += 2 * len(seqs)
	s.trim()
}

// from returns the smallest stream sequence that is remembered, or else the one after last.
func (s *seen) from(last event.StreamSeq) event.StreamSeq {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := last + 1
	if s.durables() > 0 {
		first = s.list[s.head].seq
	}
	if len(s.aside) > 0 {
		first = min(first, s.aside[0].seq)
	}
	return first
}

// size returns how many identities are remembered.
func (s *seen) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

func (s *seen) durables() int { return len(s.list) - s.head - s.pending }

// trim drops what need not be remembered from the front. What lies behind one that stays (a time in the future keeps an
// event for long) is dropped by a sweep, each time the set has doubled.
func (s *seen) trim() {
	for n := s.durables(); n > s.repeats && s.drop(&s.list[s.head], n); n-- {
		s.head++
	}
	if n := s.durables(); n > 2*s.swept+minRemembered {
		s.sweep()
		s.swept = s.durables()
	}
	if s.head > len(s.list)/2 {
		s.list = append(make([]remembered, 0, 2*(len(s.list)-s.head)), s.list[s.head:]...)
		s.head = 0
	}
	for len(s.aside) > 0 && s.past(&s.aside[0]) {
		delete(s.ids, s.aside[0].id)
		s.aside = s.aside[1:]
	}
}

// past tells whether a job's identity need not be remembered: it is below the floor, or else what lay behind it has been
// dropped for its number.
func (s *seen) past(r *remembered) bool {
	if r.at != noTime && s.floor != noTime {
		return r.at < s.floor
	}
	return r.seq < s.gone
}

// drop forgets the nth last durable identity if it need not be remembered, and tells whether it did.
func (s *seen) drop(r *remembered, nth int) bool {
	switch {
	case nth <= s.repeats:
		return false
	case r.at != noTime && s.floor != noTime:
		if r.at >= s.floor {
			return false
		}
	case nth <= minRemembered || s.push == 0:
		return false
	default:
		s.push--
		s.gone = r.seq
	}
	delete(s.ids, r.id)
	return true
}

func (s *seen) sweep() {
	n := s.durables()
	kept := s.list[s.head:s.head]
	for i, r := range s.list[s.head:] {
		if !s.drop(&r, n-i) {
			kept = append(kept, r)
		}
	}
	s.list = s.list[:s.head+len(kept)]
}
