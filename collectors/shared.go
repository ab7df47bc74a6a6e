package collectors

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"stackstream/event"
)

// A source that shares its events with others knows two things: what RAW had when it began, and, before each of its events is
// stored, what the others have stored since. The Writer tells that there is something, and refuses until it was told.

// errNoSharer is what becomes of a source that shares with a Writer that can't.
var errNoSharer = &event.Error{Kind: event.Invalid, Op: "open cursor", Err: errors.New("the writer can't share events")}

// sharer is the Writer of a source that shares, nil for others.
func (l *Loop) sharer() (Sharer, error) {
	if !l.Spec.Shared {
		return nil, nil
	}
	s, ok := l.Writer.(Sharer)
	if !ok {
		return nil, errNoSharer
	}
	return s, nil
}

// commit stores what is written, without what other sources turn out to have stored meanwhile.
func (r *run) commit(ctx context.Context, w *written) error {
	for looked := r.sharing == nil; ; looked = true {
		var seqs []event.StreamSeq
		var err error
		if looked {
			seqs, err = r.Writer.Commit(ctx, w.events[len(w.seqs):], w.progress)
		} else {
			err = r.sharing.Look(ctx)
		}
		w.seqs = append(w.seqs, seqs...)
		over := (*event.OvertakenError)(nil)
		if !errors.As(err, &over) {
			if looked || err != nil && event.KindOf(err) != event.Unavailable {
				return err
			}
			continue
		}
		w.seqs = append(w.seqs, over.Stored...)
		if err := r.learn(ctx, over); err != nil {
			return err
		}
		before := len(w.events)
		w.events = r.seen.shed(len(w.seqs), w.events, len(w.seqs))
		count(r.Hooks.Duplicates, r.Provider, r.Name, before-len(w.events))
	}
}

// learn takes note of what other sources have stored.
func (r *run) learn(ctx context.Context, over *event.OvertakenError) error {
	var list []remembered
	for _, block := range over.Blocks {
		for _, id := range block.Events {
			list = append(list, remembered{id: id, at: seconds(block.At), seq: over.After + 1})
		}
	}
	if over.Blocks == nil {
		err := r.Memory.Identities(ctx, r.Provider, over.After+1, over.UpTo, func(e event.Seen) {
			if e.Source != r.Name {
				list = append(list, remembered{id: identityOf(e.ID), at: seconds(e.Time), seq: e.Sequence})
			}
		})
		if err != nil {
			return fmt.Errorf("read what other sources have stored: %w", err)
		}
	}
	r.seen.learn(list)
	return nil
}

// learn takes note of identities that others have stored, in the order of the stream. One that is pending here is so until it is
// shed.
func (s *seen) learn(list []remembered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := make(map[identity]struct{}, s.pending)
	for _, r := range s.list[len(s.list)-s.pending:] {
		pending[r.id] = struct{}{}
	}
	for _, r := range list {
		if _, known := s.ids[r.id]; known {
			if _, here := pending[r.id]; !here {
				continue
			}
			delete(pending, r.id)
			if s.lost == nil {
				s.lost = map[identity]struct{}{}
			}
			s.lost[r.id] = struct{}{}
		}
		s.ids[r.id] = struct{}{}
		s.aside = append(s.aside, r)
	}
}

// shed returns the events, from one on, without those that others have stored first. at is how many of those that are pending
// come before that one.
func (s *seen) shed(at int, events []event.Raw, from int) []event.Raw {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lost) == 0 {
		return events
	}
	i := len(s.list) - s.pending + at
	kept := events[:from:len(events)]
	for _, e := range events[from:] {
		if _, lost := s.lost[s.list[i].id]; !lost {
			kept = append(kept, e)
			i++
			continue
		}
		delete(s.lost, s.list[i].id)
		s.list = slices.Delete(s.list, i, i+1)
		s.pending--
	}
	clear(events[len(kept):])
	return kept
}
