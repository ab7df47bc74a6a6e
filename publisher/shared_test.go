package publisher

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"stackstream/event"
)

// sharer is one of two sources that are handed the same events.
type sharer struct {
	t      *rapid.T
	raw    *Raw
	stream *stream
	known  map[event.Identity]bool
}

func newSharer(t *rapid.T, log Log, s *stream, name event.Source) *sharer {
	raw := NewRaw(log, newBodies(), provider, name, event.Fence{}, Options{Owner: string(name), Limits: Limits{Events: 3}})
	atOnce(&raw.writer)
	raw.Share()
	return &sharer{t: t, raw: raw, stream: s}
}

// recall reads what RAW has from a sequence on.
func (s *sharer) recall(from event.StreamSeq) {
	for _, m := range s.stream.messages {
		if m.Sequence < from {
			continue
		}
		if raw, err := event.ParseRaw(m); err == nil {
			s.known[raw.ID.Identity()] = true
		}
	}
}

// store is what a loop does with events; false when it has to begin again, or died.
func (s *sharer) store(ctx context.Context, ids []event.ID) bool {
	if _, err := s.raw.Open(ctx); err != nil {
		return false
	}
	s.known = map[event.Identity]bool{}
	s.recall(0)
	var left []event.Raw
	for _, id := range ids {
		left = append(left, event.Raw{ID: id, Received: epoch, Body: []byte(id)})
	}
	looked := rapid.Bool().Draw(s.t, "looks first")
	for {
		var fresh []event.Raw
		for _, e := range left {
			if !s.known[e.ID.Identity()] {
				fresh = append(fresh, e)
			}
		}
		if left = fresh; len(left) == 0 {
			return true
		}
		var at []event.StreamSeq
		var err error
		if looked {
			at, err = s.raw.Commit(ctx, left, event.Progress{})
		} else {
			looked, err = true, s.raw.Look(ctx)
			if err == nil {
				continue
			}
		}
		over := (*event.OvertakenError)(nil)
		if errors.As(err, &over) {
			at = over.Stored
			if over.UpTo <= over.After {
				s.t.Fatalf("overtaken: %v", over)
			}
			if over.Blocks == nil {
				s.recall(over.After + 1)
			}
			for _, b := range over.Blocks {
				for _, id := range b.Events {
					s.known[id] = true
				}
			}
		} else if err != nil {
			return false
		}
		for i, seq := range at {
			m := s.stream.messages[seq-1]
			if raw, err := event.ParseRaw(m); err != nil || raw.ID != left[i].ID {
				s.t.Fatalf("event %s is said to be at %d, where %s is", left[i].ID, seq, m.Header.Get(event.HeaderID))
			}
			s.known[left[i].ID.Identity()] = true
		}
	}
}

// Two sources are handed the same events, answers are lost, batches come late, and either dies: each event is stored, once.
func TestTwoSourcesStoreEachEventOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &stream{}
		all := make([]event.ID, rapid.IntRange(1, 12).Draw(t, "events"))
		for i := range all {
			all[i] = event.ID(fmt.Sprint("e", i))
		}
		w := &wild{stream: s, t: t, faults: rapid.IntRange(0, 25).Draw(t, "faults"), choose: func() {}}
		w.other = func() {
			from := rapid.IntRange(0, len(all)-1).Draw(t, "other from")
			to := rapid.IntRange(from, len(all)).Draw(t, "other to")
			newSharer(t, s, s, "panko-2").store(context.Background(), all[from:to])
		}
		for done := false; !done; {
			ctx, cancel := context.WithCancel(context.Background())
			w.die = cancel
			done = newSharer(t, w, s, source).store(ctx, all)
			cancel()
		}
		for _, b := range w.late {
			_, _ = s.Append(context.Background(), b)
		}
		count := map[event.ID]int{}
		for _, m := range s.messages {
			if raw, err := event.ParseRaw(m); err == nil {
				count[raw.ID]++
			}
		}
		for _, id := range all {
			if count[id] != 1 {
				t.Errorf("%s is stored %d times", id, count[id])
			}
		}
	})
}
