package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"stackstream/event"
	"stackstream/jetstream"
)

const (
	// awaitingPause is the longest pause before a server that is away is asked again.
	awaitingPause = 5 * time.Second
	// awaitingCalm is after how long without an error the next one is the first again.
	awaitingCalm = time.Minute
)

// awaiting waits for a server that is away, for as long as it takes unless there is a limit, and says so. It is not safe for
// concurrent use.
type awaiting struct {
	note  func(format string, args ...any)
	limit time.Duration
	pause backoff.BackOff
	first time.Time // of the errors in a row
	last  time.Time
	said  string
}

func newAwaiting(note func(format string, args ...any)) *awaiting {
	return &awaiting{note: note, pause: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(250*time.Millisecond), backoff.WithMaxInterval(awaitingPause), backoff.WithMaxElapsedTime(0),
	)}
}

// awaiting is for a command that only looks, which somebody waits for: it gives up after a while.
func (p Program) awaiting() *awaiting {
	w := newAwaiting(p.note)
	w.limit = answerWait
	return w
}

// again returns nil, after a pause, when what failed is to be tried once more, and an error when it is one that stays, or ctx has
// ended.
func (w *awaiting) again(ctx context.Context, err error) error {
	if event.KindOf(err) != event.Unavailable || errors.Is(err, jetstream.ErrNoSuchStream) {
		return err
	}
	if time.Since(w.last) > awaitingCalm {
		w.pause.Reset()
		w.said, w.first = "", time.Now()
	}
	w.last = time.Now()
	if w.limit > 0 && time.Since(w.first) > w.limit {
		return err
	}
	if text := err.Error(); text != w.said {
		w.said = text
		w.note("waiting: %s", text)
	}
	t := time.NewTimer(w.pause.NextBackOff())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted while waiting: %w", err)
	}
}

// try does f until it works.
func (w *awaiting) try(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		if err = w.again(ctx, err); err != nil {
			return err
		}
	}
}
