package httppoll

import (
	"context"
	"fmt"
	"time"

	"stackstream/collectors"
)

// Waiting. A quota may be used up for longer than a run may take, and a walk may have more pages than fit into one. What was read
// must not be read again for that, or it may never get to its end. So a walk that would lose nothing by beginning again (nothing was
// read, or the cursor has moved since it began and nothing is read back) ends with an error that names the pause, and the poller or
// the collector keeps to it: each time at least one page was passed. Any other walk waits within the run if the pause fits into it,
// and is suspended if not: the run ends without having promised anything, and the next one goes on with the page that was to come,
// within the bounds that were chosen. So a source makes progress as long as the service serves one request for each pause.

// shortWait is a pause that is always made where it comes up.
const shortWait = 5 * time.Second

// suspended is why a walk does not go on in this run. It is no failure.
type suspended struct {
	why   error
	until time.Time // zero: the next run
}

func (s *suspended) Error() string { return s.why.Error() }

// Unwrap gives the kind.
func (s *suspended) Unwrap() error { return s.why }

// wait makes a pause of d, or returns what ends the walk.
func (w *walk) wait(ctx context.Context, d time.Duration, why error) error {
	fits := d <= w.ends.Sub(w.now())*3/4
	switch {
	case fits && (d <= shortWait || !w.light()):
		w.retried("wait")
		w.opts.Past.waits(why)
		return w.opts.Clock.Pause(ctx, d)
	case w.light():
		return &collectors.RetryAfter{After: d, Err: why}
	}
	return &suspended{why: why, until: w.now().Add(d)}
}

// time suspends a walk that the end of the run would break off.
func (w *walk) time() error {
	if limit := w.cfg.Schedule.MaxRun; !w.light() && w.ends.Sub(w.now()) < limit/4 {
		return &suspended{why: fmt.Errorf("there is more to read than fits into %s (schedule.max_run)", limit)}
	}
	return nil
}

// light tells whether beginning again from the cursor costs nothing that matters. It does where much is read back, more so where
// that has details: it would not be known any more which of them were handed over.
func (w *walk) light() bool {
	return w.free || !w.busy && w.told.empty() && (w.read == 0 || w.moved && w.cfg.Cursor.Overlap == 0)
}
