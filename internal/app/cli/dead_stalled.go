package cli

import (
	"context"
	"fmt"
	"time"

	"stackstream/event"
	"stackstream/jetstream"
)

// stalled finds out why the normalizer does not come to something.
type stalled struct {
	client   *jetstream.Client
	provider event.Provider
	last     event.StreamSeq // of its cursor
	since    time.Time
	asked    time.Time
	text     string
}

// notMoving is for how long a normalizer writes nothing until that is told.
const notMoving = 5 * time.Second

func (s *stalled) why(ctx context.Context, at event.NormalizedCursor) string {
	if at.Sequence != s.last {
		s.last, s.since = at.Sequence, time.Now()
	}
	switch {
	case at.Paused != nil:
		return fmt.Sprintf("normalizing %s is %v", s.provider, at.Paused.Err())
	case time.Since(s.since) > notMoving:
		return fmt.Sprintf("no normalizer has written anything for %s since %s: is one running, and of this version? Its /readyz says "+
			"what it waits for", s.provider, s.since.UTC().Format("15:04:05Z"))
	case time.Since(s.asked) < tellEvery:
		return s.text
	}
	s.asked, s.text = time.Now(), ""
	marks, err := s.client.Watermarks(ctx, s.provider)
	if err != nil {
		return ""
	}
	before := uint64(0)
	for _, m := range marks {
		if m.Source != event.SourceRedrive {
			before += m.LagEvents
		}
	}
	if before > 0 {
		s.text = fmt.Sprintf("the normalizer is behind, %d raw events of other sources are not normalized", before)
	}
	return s.text
}
