package webhook

import (
	"context"
	"sync"
	"time"
)

// room is the memory that requests may take, and the places where they are read. What is short goes to who brings something: a
// request that has been read for the longest has to go for one that comes. A sender that is honest needs milliseconds.
type room struct {
	mu      sync.Mutex
	freed   chan struct{} // closed and replaced when something is given back
	bytes   int64         // free
	reading int           // free places
	pending int           // free places of requests that wait to be stored
	first   *reader       // the oldest that is being read, and so on
	last    *reader
}

// reader is a request that is being read, or waits to be stored.
type reader struct {
	room    *room
	evict   func()
	evicted bool
	bytes   int64
	place   bool // it has a place to be read at
	listed  bool // it is being read, and may have to go
	waits   bool // it has one to wait at

	before, after *reader
}

func newRoom(l Limits) *room {
	return &room{freed: make(chan struct{}), bytes: l.PendingBytes, reading: l.Concurrent, pending: l.Pending}
}

// evictWait is how long is waited for what an evicted reader gives back.
const evictWait = 250 * time.Millisecond

// enter gets a place to read a request at; nil if there is none. evict is called when the request has to go: its reading must fail
// soon then.
func (m *room) enter(ctx context.Context, evict func()) *reader {
	r := &reader{room: m, evict: evict}
	if !m.await(ctx, r, func() bool {
		if m.reading == 0 {
			return false
		}
		m.reading--
		return true
	}) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.place, r.listed = true, true
	if r.before = m.last; r.before != nil {
		r.before.after = r
	} else {
		m.first = r
	}
	m.last = r
	return r
}

// take gets n bytes more; false if there are none.
func (r *reader) take(ctx context.Context, n int64) bool {
	return r.room.await(ctx, r, func() bool {
		if r.evicted || r.room.bytes < n {
			return false
		}
		r.room.bytes -= n
		r.bytes += n
		return true
	})
}

// wait exchanges the place to read at for one to wait to be stored at; false if there is none.
func (r *reader) wait() bool {
	m := r.room
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pending == 0 {
		return false
	}
	m.pending--
	r.waits = true
	r.leavePlace()
	return true
}

// leave gives everything back. It may be called again.
func (r *reader) leave() {
	m := r.room
	m.mu.Lock()
	defer m.mu.Unlock()
	r.leavePlace()
	if m.bytes += r.bytes; r.waits {
		m.pending++
	}
	r.bytes, r.waits = 0, false
	m.wake()
}

func (r *reader) leavePlace() {
	if !r.place {
		return
	}
	r.room.reading++
	r.place = false
	r.unlist()
	r.room.wake()
}

// whole says that the request was read: it stays now.
func (r *reader) whole() {
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	r.unlist()
}

func (r *reader) unlist() {
	if !r.listed {
		return
	}
	m := r.room
	r.listed = false
	if r.before != nil {
		r.before.after = r.after
	} else {
		m.first = r.after
	}
	if r.after != nil {
		r.after.before = r.before
	} else {
		m.last = r.before
	}
	r.before, r.after = nil, nil
}

func (m *room) wake() {
	close(m.freed)
	m.freed = make(chan struct{})
}

// await tries to get something for r, and has the oldest reader go where it does not get it at once.
func (m *room) await(ctx context.Context, r *reader, get func() bool) bool {
	deadline := time.NewTimer(evictWait)
	defer deadline.Stop()
	for {
		m.mu.Lock()
		got := get()
		freed := m.freed
		if !got && !m.evictOldest(r) {
			m.mu.Unlock()
			return false
		}
		m.mu.Unlock()
		if got {
			return true
		}
		select {
		case <-freed:
		case <-deadline.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// evictOldest has one reader go, unless one is on its way out already; false if there is none but r.
func (m *room) evictOldest(r *reader) bool {
	oldest := m.first
	if oldest == nil || oldest == r || r.evicted {
		return false
	}
	if !oldest.evicted {
		oldest.evicted = true
		oldest.evict()
	}
	return true
}

// used says what is taken.
func (m *room) used(l Limits) (bytes int64, pending int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return l.PendingBytes - m.bytes, l.Pending - m.pending
}

// gone tells whether the reader had to go.
func (r *reader) gone() bool {
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	return r.evicted
}

// handOver returns a reader that has what this one had.
func (r *reader) handOver() *reader {
	m := r.room
	m.mu.Lock()
	defer m.mu.Unlock()
	held := &reader{room: m, bytes: r.bytes, waits: r.waits}
	r.bytes, r.waits = 0, false
	return held
}
