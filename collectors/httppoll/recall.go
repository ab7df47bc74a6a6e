package httppoll

import (
	"sync"

	"stackstream/event"
)

// recall is the last of many identities. It is safe for concurrent use.
type recall struct {
	mu    sync.Mutex
	known map[event.ID]struct{}
	ring  []event.ID
	at    int
	most  int
}

func newRecall(most int) *recall { return &recall{known: map[event.ID]struct{}{}, most: most} }

func (r *recall) has(id event.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.known[id]
	return known
}

func (r *recall) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known) == 0
}

func (r *recall) add(id event.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.known[id]; known {
		return
	}
	r.known[id] = struct{}{}
	if len(r.ring) < r.most {
		r.ring = append(r.ring, id)
		return
	}
	delete(r.known, r.ring[r.at])
	r.ring[r.at] = id
	r.at = (r.at + 1) % r.most
}
