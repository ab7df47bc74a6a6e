package webhook

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// room is the memory that requests may take, and the places where they are read. What is short goes to who brings something: a
// request that is still being read has to go for one that comes. A sender that is honest needs milliseconds.
type room struct {
	all     int64 // bytes
	mu      sync.Mutex
	freed   chan struct{} // closed and replaced when something is given back
	bytes   int64         // free
	reading int           // free places
	pending int           // free places of requests that wait to be stored
	read    *crowd[*reader]
	most    int                              // all of pending
	said    func(requests int, memory int64) // is told of each change; may be nil
}

// reader is a request that is being read, or waits to be stored.
type reader struct {
	room    *room
	from    netip.Prefix
	evict   func()
	evicted bool
	bytes   int64
	place   bool             // it has a place to be read at
	listed  *member[*reader] // while it is being read, and may have to go
	waits   bool             // it has one to wait at
}

func newRoom(l Limits) *room {
	return &room{
		all: l.PendingBytes, bytes: l.PendingBytes, reading: l.Concurrent, pending: l.Pending, most: l.Pending,
		freed: make(chan struct{}), read: newCrowd[*reader](),
	}
}

// evictWait is how long is waited for what an evicted reader gives back.
const evictWait = 250 * time.Millisecond

// enter gets a place to read a request at; nil if there is none. evict is called when the request has to go: its reading must fail
// soon then.
func (m *room) enter(ctx context.Context, from netip.Prefix, evict func()) *reader {
	r := &reader{room: m, from: from, evict: evict}
	// Who has a place and is read needs it no longer than it takes to look at what was read: that is waited for.
	if !m.await(ctx, r, true, func() bool {
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
	r.place, r.listed = true, m.read.add(from, r)
	return r
}

// take gets n bytes more; false if there are none.
func (r *reader) take(ctx context.Context, n int64) bool {
	return r.room.await(ctx, r, false, r.getter(n))
}

func (r *reader) getter(n int64) func() bool {
	return func() bool {
		if r.evicted || r.room.bytes < n {
			return false
		}
		r.room.bytes -= n
		r.bytes += n
		r.room.say()
		return true
	}
}

// grant gets n bytes more for what is made of a request. Others that are being made something of need theirs for milliseconds: that is
// waited for, also for a sender that has closed its side: it may wait for the answer. What could not have so much if it were alone is
// told so.
func (r *reader) grant(ctx context.Context, n int64) *refusal {
	ctx = context.WithoutCancel(ctx)
	if r.room.await(ctx, r, r.fits(n), r.getter(n)) {
		return nil
	}
	if r.fits(n) {
		return busy()
	}
	return &refusal{status: http.StatusRequestEntityTooLarge, reason: reasonTooLarge, text: fmt.Sprintf(
		"taking it apart needs more memory than all requests may have, %d bytes (limits.pending_bytes)", r.room.all)}
}

func (r *reader) fits(n int64) bool {
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	return r.bytes+n <= r.room.all
}

// giveBack gives n bytes back.
func (r *reader) giveBack(n int64) {
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	r.bytes -= n
	r.room.bytes += n
	r.room.say()
	r.room.wake()
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
	m.say()
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
	if r.bytes != 0 || r.waits {
		r.bytes, r.waits = 0, false
		m.say()
	}
	m.wake()
}

// say says what is taken. The room is held meanwhile, so that what was said last is true.
func (m *room) say() {
	if m.said != nil {
		m.said(m.most-m.pending, m.all-m.bytes)
	}
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
	if r.listed != nil {
		r.room.read.remove(r.listed)
		r.listed = nil
	}
}

func (m *room) wake() {
	close(m.freed)
	m.freed = make(chan struct{})
}

// await tries to get something for r, and has another reader go where it does not get it at once. Where there is none it waits all
// the same if it is patient.
func (m *room) await(ctx context.Context, r *reader, patient bool, get func() bool) bool {
	m.mu.Lock()
	got, freed := get(), m.freed
	if got {
		m.mu.Unlock()
		return true
	}
	deadline := time.NewTimer(evictWait)
	defer deadline.Stop()
	for {
		going := m.evictFor(r)
		m.mu.Unlock()
		if !going && !patient {
			return false
		}
		select {
		case <-freed:
		case <-deadline.C:
			return false
		case <-ctx.Done():
			return false
		}
		m.mu.Lock()
		if got, freed = get(), m.freed; got {
			m.mu.Unlock()
			return true
		}
	}
}

// evictFor has one reader go for r, unless that is on its way out already; false if there is none but r.
func (m *room) evictFor(r *reader) bool {
	next := m.read.next(r.from)
	if next == nil || next.of == r || r.evicted {
		return false
	}
	if !next.of.evicted {
		next.of.evicted = true
		next.of.evict()
		m.wake() // it may be waiting itself
	}
	return true
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
