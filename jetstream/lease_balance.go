package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// act takes what is free and due to this process, hands over what is too much, and clears what is left of earlier. It
// stops early when it is time to renew.
func (s *membership) act(ctx context.Context) {
	claims, held := s.snapshot()
	s.revoke(claims)
	s.adopt(ctx, claims, held)
	s.take(ctx, claims, held)
	s.balance(claims)
}

// busy tells whether it is time to renew: nothing else may delay that.
func (s *membership) busy() bool { return s.m.ctx.Err() != nil || s.due() }

// revoke stops work under leases whose entry says another by now: somebody changed it by hand.
func (s *membership) revoke(claims map[string]*claim) {
	for key, c := range claims {
		if o, there := s.owners[key]; !there || o.ID != s.m.id {
			s.stop(c, s.m)
		}
	}
}

// adopt grants leases that are ours by their entry though the answer to our claim did not come, and removes entries of
// ours that were released, or that nobody here wants any more.
func (s *membership) adopt(ctx context.Context, claims map[string]*claim, held map[string]bool) {
	for key, o := range s.owners {
		if o.ID != s.m.id || held[key] || s.busy() {
			continue
		}
		if c := claims[key]; c != nil && !s.wasReleased(key, o.rev) {
			s.give(c, s.m, o.rev)
			held[key] = true
			continue
		}
		if s.later(key) {
			continue
		}
		s.retry[key] = time.Now().Add(s.m.soon())
		brief, cancel := context.WithTimeout(ctx, s.m.patience())
		if err := s.m.owners.Delete(brief, ownerKey(s.role, key), natsjs.LastRevision(o.rev)); err == nil || isWrongLast(err) {
			delete(s.owners, key)
		}
		cancel()
	}
}

// take claims leases that are waited for here and free: at once up to this process's share, and beyond it what nobody
// else took for a while.
func (s *membership) take(ctx context.Context, claims map[string]*claim, held map[string]bool) {
	mine := 0
	var wanted []*claim
	for key, c := range claims { // in random order, so that processes meet less
		if held[key] {
			mine++
			continue
		}
		o, owned := s.owners[key]
		if owned && !s.gone(ctx, o.ID) {
			if o.ID == s.m.id {
				continue // our own release is on its way
			}
			delete(s.free, key)
			s.handedOver(key)
			s.tell(c, o.Name)
			continue
		}
		if _, known := s.free[key]; !known {
			s.free[key] = time.Now()
		}
		wanted = append(wanted, c)
	}
	share := s.share(claims)
	for _, c := range wanted {
		if s.busy() {
			return
		}
		grace := 4 * s.m.soon()
		if s.later(c.key) || (mine >= share && time.Since(s.free[c.key]) < grace) || s.justMoved(c.key) {
			continue
		}
		if s.claim(ctx, c) {
			mine++
		}
	}
}

// claim writes this process into the lease's entry.
func (s *membership) claim(ctx context.Context, c *claim) bool {
	ctx, cancel := context.WithTimeout(ctx, s.m.patience())
	defer cancel()
	value := encode(owner{ID: s.m.id, Name: s.name})
	var rev uint64
	var err error
	if o, owned := s.owners[c.key]; owned {
		rev, err = s.m.owners.Update(ctx, ownerKey(s.role, c.key), value, o.rev)
	} else {
		rev, err = s.m.owners.Create(ctx, ownerKey(s.role, c.key), value)
	}
	if err != nil {
		// Another was first, or it is not known; the watch will tell.
		s.retry[c.key] = time.Now().Add(s.m.soon())
		return false
	}
	s.owners[c.key] = seenOwner{owner: owner{ID: s.m.id, Name: s.name}, rev: rev}
	delete(s.free, c.key)
	if s.handedOver(c.key) {
		s.staying[c.key] = s.generation // nobody wanted it
	}
	s.give(c, s.m, rev)
	return true
}

// gone tells whether the process with an id is dead for good. It is when its entry is gone: then an entry in its place
// keeps it from coming back, whatever it still believes.
func (s *membership) gone(ctx context.Context, id string) bool {
	if id == s.m.id {
		return false
	}
	if s.dead[id] {
		return true
	}
	if p, there := s.processes[id]; there && time.Since(p.at) < s.m.life()+s.m.soon() {
		return false
	}
	if s.later(id) || s.busy() {
		return false
	}
	s.retry[id] = time.Now().Add(s.m.soon())
	ctx, cancel := context.WithTimeout(ctx, s.m.patience())
	defer cancel()
	_, err := s.m.leases.Create(ctx, processKey(s.role, id), encode(process{ID: id, Dead: true}))
	if isConflict(err) {
		entry, err := s.m.leases.Get(ctx, processKey(s.role, id))
		var p process
		if err != nil || json.Unmarshal(entry.Value(), &p) != nil || !p.Dead {
			return false
		}
	} else if err != nil {
		return false
	}
	s.dead[id] = true
	if _, there := s.processes[id]; there {
		delete(s.processes, id)
		s.generation++
	}
	return true
}

// share is how many leases a process may have before others come first: all that are owned or wanted here, divided among
// the processes, rounded up. What is just changing hands counts as well.
func (s *membership) share(claims map[string]*claim) int {
	total := len(claims)
	for key, o := range s.owners {
		if _, alive := s.processes[o.ID]; alive && claims[key] == nil {
			total++
		}
	}
	n := max(len(s.processes), 1)
	return (total + n - 1) / n
}

// balance hands over what this process has had above its share for a while, if another waits and has less.
func (s *membership) balance(claims map[string]*claim) {
	held, leaving, _ := s.count()
	excess := held - s.share(claims)
	switch {
	case excess <= 0 || leaving > 0:
		s.over = time.Time{}
		return
	case s.over.IsZero():
		s.over = time.Now()
		return
	case time.Since(s.over) < 2*s.m.soon():
		return
	}
	room := 0 // of those who wait
	for id, p := range s.processes {
		if id != s.m.id && p.Waiting > 0 && p.Held < held-1 {
			room += min(p.Waiting, held-1-p.Held)
		}
	}
	for key, c := range claims {
		if excess <= 0 || room <= 0 {
			return
		}
		at, tried := s.staying[key]
		if o := s.owners[key]; o.ID != s.m.id || (tried && at == s.generation) {
			continue
		}
		s.log.Debug().Str("lease", key).Msg("handing over")
		s.handOver(c, s.m)
		excess--
		room--
	}
}

// handedOver tells whether this process had a lease and handed it over, and forgets it.
func (s *membership) handedOver(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, moved := s.m.moved[key]
	delete(s.m.moved, key)
	return moved
}

// wasReleased tells whether an entry is one under which this process gave the lease free: it is on its way out.
func (s *membership) wasReleased(key string, rev uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rev <= s.m.released[key]
}

// justMoved tells whether a lease was handed over a moment ago, so that another is to get it.
func (s *membership) justMoved(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, moved := s.m.moved[key]
	return moved && time.Since(at) < s.m.life()/2
}

// later tells whether it is too early to try again for a key or an id.
func (s *membership) later(what string) bool {
	at, set := s.retry[what]
	if set && time.Now().Before(at) {
		return true
	}
	delete(s.retry, what)
	return false
}

// isWrongLast tells whether the server refused because another revision is there.
func isWrongLast(err error) bool {
	var api *natsjs.APIError
	return errors.As(err, &api) && slices.Contains([]natsjs.ErrorCode{codeWrongLast, codeWrongLastConstant}, api.ErrorCode)
}
