package checker

import "fmt"

// Promise is what a subscriber was promised.
type Promise int

// The promises.
const (
	// ExactlyOnce: every event, once, in order.
	ExactlyOnce Promise = iota
	// AtLeastOnce: every event, in whatever order a repetition is.
	AtLeastOnce
	// Plain: committed events only, in order, at most once; Nats-Last-Sequence tells what was missed.
	Plain
)

// Subscriber is somebody who reads the stream of normalized events from its beginning.
type Subscriber struct {
	Name    string
	Promise Promise
	// Dead letters are for it, too.
	Dead bool
	// Again: servers die meanwhile, and are cut off. One that comes back as leader hands out once more, to Plain subscribers, what
	// it does not know that it has handed out, and what an earlier leader could not send in time comes late. That is counted
	// (Repeats), and no violation.
	Again bool
	// Providers whose events it reads; none means all.
	Providers []string
}

// Subscription takes what one subscriber sees. It is safe for concurrent use.
type Subscription struct {
	c    *Checker
	who  Subscriber
	only map[string]bool

	repeats int
	queue   []sighting // that the stream was not seen to hold yet
	seen    bits       // of records of the stream
	at      int        // the record that was seen last, plus one
}

type sighting struct {
	sequence, previous uint32
	mark               uint32
}

// Subscribe makes a subscriber known.
func (c *Checker) Subscribe(s Subscriber) *Subscription {
	sub := &Subscription{c: c, who: s, only: map[string]bool{}}
	for _, p := range s.Providers {
		sub.only[p] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = append(c.subs, sub)
	return sub
}

// Saw takes a message in the order in which the subscriber had it: one that it has dealt with, if it is to have each once.
// Without a Sequence it is the one of the header Nats-Sequence.
func (s *Subscription) Saw(m Message) {
	if m.Sequence == 0 {
		m.Sequence = m.number(headerSequence)
	}
	sequence, _ := small(m.Sequence)
	previous, _ := small(m.number(headerLast))
	mark := s.c.mark(&m)
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.queue = append(s.queue, sighting{sequence, previous, mark})
	s.drain()
}

// drain takes what is queued as far as it can be judged by now.
func (s *Subscription) drain() {
	n := 0
	for n < len(s.queue) && uint64(s.queue[n].sequence) <= s.c.norm.last {
		s.take(s.queue[n], &s.c.found)
		n++
	}
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
}

// settle takes what is queued and can be judged by now, also where it is behind what can't.
func (s *Subscription) settle(found *findings) {
	var left []sighting
	for _, m := range s.queue {
		if uint64(m.sequence) <= s.c.norm.last {
			s.take(m, found)
		} else {
			left = append(left, m)
		}
	}
	s.queue = left
}

// take judges a message that the stream must hold by now.
func (s *Subscription) take(m sighting, found *findings) {
	log := &s.c.norm
	i, there := log.find(m.sequence, s.at)
	if !there {
		found.add(Invented, s.who.Name, func() string {
			return fmt.Sprintf("it saw message %d, which EVENTS_NORMALIZED does not hold", m.sequence)
		})
		return
	}
	r := log.at(i)
	text := func(what string) func() string {
		return func() string { return fmt.Sprintf("message %d, %s, %s", m.sequence, s.c.id(r.entry), what) }
	}
	if r.mark != m.mark || !s.wants(r) {
		found.add(Altered, s.who.Name, text("is not what EVENTS_NORMALIZED holds"))
	}
	if !s.seen.add(i) {
		s.repeats++
		if s.who.Promise != AtLeastOnce && !s.who.Again {
			found.add(Twice, s.who.Name, text("came again"))
		}
		return
	}
	if s.who.Promise == AtLeastOnce {
		s.at = max(s.at, i+1)
		return
	}
	if i < s.at && s.who.Again {
		s.repeats++
		return
	}
	if i < s.at {
		found.add(OutOfOrder, s.who.Name, text(fmt.Sprintf("came behind message %d", log.at(s.at-1).sequence)))
		return
	}
	s.at = i + 1
	if before := s.before(i); s.who.Promise == Plain && m.previous != before {
		found.add(UntoldGap, s.who.Name, text(fmt.Sprintf("says that message %d was before it; it was %d", m.previous, before)))
	}
}

// before is the sequence of the message before a record on the same subject, 0 if there is none.
func (s *Subscription) before(i int) uint32 {
	log, sources := &s.c.norm, s.c.sources.list
	r := log.at(i)
	for j := i - 1; j >= 0; j-- {
		if b := log.at(j); sources[b.source].provider == sources[r.source].provider && b.is(isDead) == r.is(isDead) {
			return b.sequence
		}
	}
	return 0
}

func (s *Subscription) wants(r *normalizedRecord) bool {
	return (s.who.Dead || !r.is(isDead)) && (len(s.only) == 0 || s.only[s.c.providerOf(r.source).name])
}

// Missing is how many messages EVENTS_NORMALIZED was seen to hold that the subscriber has not seen.
func (s *Subscription) Missing() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.drain()
	n := 0
	for _, p := range s.c.providers.list {
		if len(s.only) == 0 || s.only[p.name] {
			n += p.events
			if s.who.Dead {
				n += p.dead
			}
		}
	}
	return max(n-s.seen.n, 0)
}

// Repeats is how many messages came again, or late.
func (s *Subscription) Repeats() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.repeats
}

// judge finds what a subscriber has not seen and should have.
func (s *Subscription) judge(found *findings) {
	for _, m := range s.queue {
		found.add(Invented, s.who.Name, func() string {
			return fmt.Sprintf("it saw message %d, which EVENTS_NORMALIZED was not seen to hold", m.sequence)
		})
	}
	if s.who.Promise == Plain {
		return
	}
	for i := range s.c.norm.n {
		if r := s.c.norm.at(i); s.wants(r) && !s.seen.has(i) {
			found.add(Lost, s.who.Name, func() string {
				return fmt.Sprintf("message %d, %s, was not seen", r.sequence, s.c.id(r.entry))
			})
		}
	}
}
