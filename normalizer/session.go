package normalizer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"stackstream/event"
)

// session goes on from the cursor until something fails or its context ends. One goroutine reads and converts, another
// commits; they hand batches over one by one, so that order is kept and at most two batches are in memory.
type session struct {
	*worker
	cursor   event.NormalizedCursor
	began    bool // the cursor was read
	opened   bool // and the feed is open
	progress bool // a batch was committed
}

// batch is what one commit deals with.
type batch struct {
	outcomes []event.Outcome
	bytes    int             // of bodies
	last     event.StreamSeq // everything up to here is dealt with once the outcomes are durable
	storedAt time.Time       // of the last raw event
}

// Both goroutines wait with little on their stacks, which stay as large as they were: that counts where there are a thousand providers.
func (s *session) run(ctx context.Context) error {
	reader, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer reader.Close()
	reading, stop := context.WithCancel(ctx)
	batches := make(chan batch)
	var readErr error
	var done sync.WaitGroup
	r := newReading(s.worker, &s.cursor, batches)
	done.Go(func() {
		defer close(batches)
		readErr = r.run(reading, reader)
	})
	err = s.commit(ctx, reader, batches)
	stop()
	done.Wait()
	if err != nil {
		return err
	}
	return readErr
}

func (s *session) open(ctx context.Context) (Reader, error) {
	var err error
	if s.cursor, err = s.committer.Open(ctx); err != nil {
		return nil, fmt.Errorf("open cursor: %w", err)
	}
	s.began = true
	reader, err := s.cfg.Feed.Open(ctx, s.provider, s.cursor)
	if err != nil {
		return nil, fmt.Errorf("open feed: %w", err)
	}
	s.opened = true
	if s.stuck == nil || *s.stuck != s.cursor.Sequence {
		s.show(event.StateLive, "")
	}
	return reader, nil
}

// commit commits and acknowledges batch after batch. When ctx ends it finishes the one it has, within DrainTimeout.
func (s *session) commit(ctx context.Context, reader Reader, batches <-chan batch) error {
	draining, stop := drainContext(ctx)
	defer stop()
	idle, restart, stopIdle := s.idle()
	defer stopIdle()
	for {
		var b batch
		var more bool
		select {
		case b, more = <-batches:
		case <-idle:
			if err := s.look(ctx); err != nil {
				return err
			}
			continue
		}
		if !more {
			return nil
		}
		restart()
		if err := s.settle(draining, reader, &b); err != nil {
			return err
		}
	}
}

// settle commits and acknowledges one batch.
func (s *session) settle(ctx context.Context, reader Reader, b *batch) error {
	if len(b.outcomes) > 0 {
		start := time.Now()
		cursor, err := s.committer.Commit(ctx, b.outcomes, reader.Stream())
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		s.cursor, s.progress = cursor, true
		s.cfg.Hooks.committed(s.provider, *b, time.Since(start), time.Since(b.storedAt))
		if s.stuck != nil {
			s.stuck = nil
			s.show(event.StateLive, "")
		}
	}
	if err := reader.Ack(ctx, b.last); err != nil {
		// The next one covers it.
		s.log.Debug().Err(err).Uint64("raw_seq", uint64(b.last)).Msg("acknowledgement lost")
	}
	return nil
}

// idle ticks when it is time to look at the cursor, which restart puts off.
func (s *session) idle() (tick <-chan time.Time, restart, stop func()) {
	if s.cfg.Look <= 0 {
		return nil, func() {}, func() {}
	}
	t := time.NewTicker(s.cfg.Look)
	return t.C, func() { t.Reset(s.cfg.Look) }, t.Stop
}

// look reads the cursor, which nobody but us should have written.
func (s *session) look(ctx context.Context) error {
	cursor, err := s.committer.Open(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("open cursor: %w", err)
	case cursor.Sequence != s.cursor.Sequence:
		return &event.Error{Kind: event.Fenced, Op: "look at the cursor", Last: cursor.Sequence}
	}
	return nil
}

// drainContext returns a context that ends DrainTimeout after ctx does.
func drainContext(ctx context.Context) (context.Context, context.CancelFunc) {
	draining, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		wait(draining, DrainTimeout)
		cancel()
	})
	return draining, func() {
		stop()
		cancel()
	}
}

// gapError says that raw events are missing before one that is there. It has the kind Expired.
type gapError struct {
	source          event.Source
	expected, found event.Seq
}

func (g gapError) Error() string {
	return fmt.Sprintf("%s: source %s: expected event %d, found %d", event.Expired, g.source, g.expected, g.found)
}

func (g gapError) Unwrap() error { return event.Expired }
