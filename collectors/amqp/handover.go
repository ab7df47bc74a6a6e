package amqp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// An exchange moves from one source to another without losing anything, without anything coming twice, and in order:
//
// The source that the cursor says has the exchange binds the queue of its new owner to it, and only then unbinds its own. A
// probe that is sent after that comes behind the last notification of the exchange in its queue: with the batch that the
// probe comes back in, the claim leaves the cursor. The new owner does nothing until no other cursor claims any of its
// exchanges; then it begins. The loop reads the identities of what was collected with the first events, and so has those
// of all that the other one collected.

// lookAgain is how often a source looks whether another one has let go of its exchanges.
const lookAgain = 2 * time.Second

// awaitHandover waits until no other source of the provider claims one of our exchanges.
func (s *Source) awaitHandover(ctx context.Context, emit collectors.Emit) error {
	for {
		cursors, err := s.opts.Cursors(ctx)
		if err != nil {
			return endedBy(ctx, fmt.Errorf("read cursors: %w", err))
		}
		other, exchange, err := s.claimed(cursors, s.exchanges)
		switch {
		case err != nil:
			return err
		case other == "":
			s.opts.Report(false, "")
			return nil
		}
		s.opts.Report(true, fmt.Sprintf("waits until %s has handed over exchange %s", other, exchange))
		if err := emit(ctx, collectors.Batch{}); err != nil {
			return endedBy(ctx, err)
		}
		if err := pause(ctx, lookAgain); err != nil {
			return nil
		}
	}
}

// agree ends with an error if another source has claimed the same, at the same time and by another configuration. Both
// may find that, or the one that looked later: it takes back its claims, which nothing was bound for yet.
func (s *session) agree(ctx context.Context, claimed []string) error {
	if len(claimed) == 0 {
		return nil
	}
	cursors, err := s.opts.Cursors(ctx)
	if err != nil {
		return fmt.Errorf("read cursors: %w", err)
	}
	other, exchange, err := s.claimed(cursors, claimed)
	if err != nil || other == "" {
		return err
	}
	s.change(func(st *state) {
		for _, x := range claimed {
			delete(st.Claims, x)
		}
	})
	if err := s.save(ctx); err != nil {
		return err
	}
	return &event.Error{Kind: event.Unavailable, Op: "claim exchanges", Err: fmt.Errorf(
		"%s claims exchange %s, too: there must be a process with another configuration", other, exchange)}
}

// claimed returns another source that claims one of these exchanges, if there is one.
func (s *Source) claimed(cursors map[event.Source]event.RawCursor, exchanges []string) (event.Source, string, error) {
	for _, name := range slices.Sorted(maps.Keys(cursors)) {
		if cursor := cursors[name]; name != s.name && ours(name) && !cursor.Retired {
			st, err := readState(cursor.Cursor)
			if err != nil {
				return "", "", err
			}
			for _, x := range exchanges {
				if _, claims := st.Claims[x]; claims {
					return name, x, nil
				}
			}
		}
	}
	return "", "", nil
}

// pause waits for d, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release lets go of the exchanges that are no longer ours: their new owner's queue gets them first, then they leave
// ours. What our queue has of them is handed over when the next probe comes back. That one is sent a little later: a
// notification that was under way in the broker comes before it.
//
// Nothing is done before our consumer is the active one. A process of an earlier configuration, which may have been
// suspended and not know yet that it lost its lease, would bind our queue again.
func (s *session) release(ctx context.Context) error {
	leaving := s.leaving()
	if len(leaving) == 0 {
		return nil
	}
	s.says.Set(conditionHandover, "finishes with exchanges that are no longer its own: "+strings.Join(leaving, ", "))
	if !s.probes.proven() {
		return nil
	}
	s.mu.Lock()
	keys := s.state.Keys
	s.mu.Unlock()
	for _, x := range leaving {
		if owner := s.cfg.owner(x); owner != "" {
			n := s.namesOf(owner)
			if err := s.declareQueue(n); err != nil {
				return err
			}
			if _, err := s.bind(n.queue, x, s.keys); err != nil {
				return err
			}
		}
		if err := s.unbind(s.names.queue, x, keys); err != nil {
			return err
		}
		s.closeGap(x)
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	probe := s.probes.hurry()
	for _, x := range leaving {
		s.releasing[x] = probe
	}
	return nil
}

// leaving are the exchanges that are no longer ours and were not let go of yet.
func (s *session) leaving() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var leaving []string
	for _, x := range slices.Sorted(maps.Keys(s.state.Claims)) {
		if _, released := s.releasing[x]; !released && s.cfg.owner(x) != s.name {
			leaving = append(leaving, x)
		}
	}
	return leaving
}

// retire ends a source that is no longer configured and has handed over everything: its queue is deleted, if nobody
// uses it and nothing is in it, and the cursor says that nothing will come. It ends with errRetired.
func (s *session) retire(ctx context.Context) error {
	if err := s.undeclare(); err != nil {
		return err
	}
	durable := make(chan struct{})
	s.mu.Lock()
	s.state.Queue = ""
	cursor := s.state.cursor()
	s.mu.Unlock()
	err := s.emit(ctx, collectors.Batch{Cursor: cursor, Retired: true, Urgent: true, Done: func() { close(durable) }})
	if err != nil {
		return err
	}
	if err := beatUntil(ctx, s.emit, durable); err != nil {
		return err
	}
	return errRetired
}

// retired tells whether a source with this state has nothing to do.
func (s *Source) retired(st state) bool {
	return len(s.exchanges) == 0 && len(st.Claims) == 0 && st.Queue == ""
}

// rest does nothing until ctx ends.
func (s *Source) rest(ctx context.Context, emit collectors.Emit) error {
	s.opts.Report(false, "is no longer configured, has handed over everything, and has removed its queue")
	if err := emit(ctx, collectors.Batch{}); err != nil {
		return endedBy(ctx, err)
	}
	return endedBy(ctx, beatUntil(ctx, emit, ctx.Done()))
}

// released takes note that everything before a probe was handed over, and lets go of the exchanges for which that was
// waited for. It tells whether the source has nothing left to do.
func (s *session) released(probe int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range slices.Sorted(maps.Keys(s.releasing)) {
		if s.releasing[x] <= probe {
			delete(s.releasing, x)
			delete(s.state.Claims, x)
			s.dirty = true
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(s.state.Claims)), func(x string) bool { return s.cfg.owner(x) != s.name }) {
		s.says.Set(conditionHandover, "")
	}
	return len(s.exchanges) == 0 && len(s.state.Claims) == 0
}
