package powerloss

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/normalizer/oslo"
)

// kind is the only kind of source here.
const kind = "queue"

// scene is what the event services of the providers have to tell.
type scene struct {
	providers []event.Provider
	events    map[event.Provider][]event.Raw
}

// maxBody is the largest body that a message carries here: larger ones go to the object store.
const maxBody = 16 << 10

// newScene makes n events for each of two providers. size is what their bodies have at most; with large some have up to
// twenty times as much. Some are no notifications and become dead letters.
func newScene(seed uint64, n, size int, large bool) *scene {
	s := &scene{providers: []event.Provider{"north", "south"}, events: map[event.Provider][]event.Raw{}}
	random := rand.New(rand.NewPCG(seed, 1))
	began := time.Now().Add(-time.Hour).UTC()
	for _, p := range s.providers {
		for i := range n {
			length := size/2 + random.IntN(size/2)
			if large && i%20 == 7 {
				length = maxBody + random.IntN(16*maxBody)
			}
			at := began.Add(time.Duration(i) * time.Second)
			id := fmt.Sprintf("%s-%d", p, i)
			body, _ := json.Marshal(map[string]any{ // strings only
				"message_id": id, "event_type": "compute.instance.update", "publisher_id": "compute.host1",
				"timestamp": at.Format("2006-01-02 15:04:05.000000"), "payload": map[string]any{
					"instance_id": id, "noise": noise(random, length),
				},
			})
			if i%23 == 11 {
				body = body[:len(body)-1]
			}
			s.events[p] = append(s.events[p], event.Raw{
				ID: event.ID(id), Time: at, Format: oslo.Format, ContentType: "application/json", Body: body,
			})
		}
	}
	return s
}

// dead tells whether an event is no notification.
func dead(e *event.Raw) bool { return !json.Valid(e.Body) }

// noise does not compress well.
func noise(random *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%016x", random.Uint64())
	}
	return b.String()[:n]
}

// queue is an event service that keeps its events until they are acknowledged, as a broker does, and remembers when
// they were.
type queue struct {
	events []event.Raw
	now    func() int // the moment
	whole  bool       // all at once instead of in batches of many sizes

	mu     sync.Mutex
	acked  []int // when each event was acknowledged, never where it is later than every moment
	random *rand.Rand
}

// never is later than every moment.
const never = int(^uint(0) >> 1)

func newQueue(events []event.Raw, now func() int, seed uint64) *queue {
	return &queue{
		events: events, now: now, random: rand.New(rand.NewPCG(seed, 2)),
		acked: slices.Repeat([]int{never}, len(events)),
	}
}

// at is the queue as it was at a moment: what was not acknowledged then is there, and some of what was, because the
// acknowledgement may not have got through.
func (q *queue) at(moment int, now func() int, seed uint64) *queue {
	then := newQueue(q.events, now, seed)
	lost := then.random.IntN(4)
	for i := q.acknowledged(moment) - 1 - lost; i >= 0; i-- {
		then.acked[i] = 0
	}
	return then
}

// acknowledged is how many events were acknowledged at a moment. They are the first ones.
func (q *queue) acknowledged(moment int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.acked) && q.acked[n] <= moment {
		n++
	}
	return n
}

func (q *queue) Available(context.Context) error { return nil }

// Run hands over what is not acknowledged, in batches of many sizes, with as many of them under way.
func (q *queue) Run(ctx context.Context, _ event.From, emit collectors.Emit) error {
	q.mu.Lock()
	next := 0
	for next < len(q.acked) && q.acked[next] != never {
		next++
	}
	q.mu.Unlock()
	for next < len(q.events) {
		sizes := []int{1, 2, 3, 5, 8, 13, 40}
		q.mu.Lock()
		size, wait := sizes[q.random.IntN(len(sizes))], q.random.IntN(3) == 0
		q.mu.Unlock()
		if q.whole {
			size = len(q.events)
		}
		first, last := next, min(next+size, len(q.events))
		done := make(chan struct{})
		err := emit(ctx, collectors.Batch{
			Events: slices.Clone(q.events[first:last]), Cursor: event.Cursor(fmt.Sprintf(`{"next":%d}`, last)),
			Watermark: q.events[last-1].Time,
			Done:      func() { q.acknowledge(first, last); close(done) },
		})
		if err != nil {
			return err
		}
		if wait {
			select {
			case <-done:
			case <-ctx.Done():
				return nil
			}
		}
		next = last
	}
	<-ctx.Done()
	return nil
}

func (q *queue) acknowledge(first, last int) {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := first; i < last; i++ {
		q.acked[i] = min(q.acked[i], now)
	}
}

func (q *queue) candidate() collectors.Candidate {
	return collectors.Candidate{Kind: kind, Shards: []collectors.Shard{{
		Name: kind, Spec: collectors.Spec{Repeats: 1000},
		New: func(collectors.Report) (collectors.Source, error) { return q, nil },
	}}}
}
