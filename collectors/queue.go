package collectors

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"stackstream/event"
)

// overhead is what an event or a batch takes in memory beside its bytes, roughly. It also bounds the number of empty
// batches in a queue.
const overhead = 256

// errOver is what emit returns after the run has ended.
var errOver = errors.New("the run is over")

// item is a batch after its duplicates were removed.
type item struct {
	events    []event.Raw
	bytes     int
	cursor    event.Cursor
	watermark time.Time
	floor     time.Time
	newest    time.Time
	done      func()
	undone    func()
	urgent    bool
	retired   bool
	settled   bool // all its events were duplicates: nothing of it has to become durable
}

// queue holds items between the source and the committer, bounded in bytes. An item that is larger than the bound
// passes alone.
type queue struct {
	ready chan struct{} // holds a token after something was put
	room  chan struct{} // holds a token after something was taken
	over  chan struct{} // closed when nothing more is taken in

	mu     sync.Mutex
	items  []item
	bytes  int
	limit  int
	closed bool
}

func newQueue(limit int) *queue {
	return &queue{
		ready: make(chan struct{}, 1), room: make(chan struct{}, 1), over: make(chan struct{}), limit: limit,
	}
}

// put waits for room. After an error the item is not in the queue.
func (q *queue) put(ctx context.Context, it item) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		taken, err := q.offer(it)
		if taken || err != nil {
			return err
		}
		select {
		case <-q.room:
		case <-q.over:
		case <-ctx.Done():
		}
	}
}

func (q *queue) offer(it item) (taken bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, errOver
	}
	if q.bytes > 0 && q.bytes+it.bytes > q.limit {
		return false, nil
	}
	q.items = append(q.items, it)
	q.bytes += it.bytes
	signal(q.ready)
	return true, nil
}

// take returns the oldest items, together at most maxEvents and maxBytes, but at least one if there is one.
func (q *queue) take(maxEvents, maxBytes int) []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, events, bytes := 0, 0, 0
	for _, it := range q.items {
		if n > 0 && (events+len(it.events) > maxEvents || bytes+it.bytes > maxBytes) {
			break
		}
		n, events, bytes = n+1, events+len(it.events), bytes+it.bytes
	}
	if n == 0 {
		return nil
	}
	taken := slices.Clone(q.items[:n])
	clear(q.items[:n]) // what was taken must not stay in memory behind the slice
	q.items = q.items[n:]
	if len(q.items) == 0 {
		q.items = nil
	}
	q.bytes -= bytes
	signal(q.room)
	return taken
}

// close takes nothing more in; drop also throws away what is there, and returns it.
func (q *queue) close(drop bool) (dropped []item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.over)
	}
	if drop {
		dropped, q.items, q.bytes = q.items, nil, 0
	}
	return dropped
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
