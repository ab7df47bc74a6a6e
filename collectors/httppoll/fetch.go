package httppoll

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"stackstream/collectors"
	"stackstream/event"
)

// outage is after how many partitions in a row that can't be reached, and none that can, the others are not tried any more.
const outage = 3

// restarts is how often a walk may begin again in a run because the service forgot the page that was read last.
const restarts = 3

// round is one run over all partitions. Batches are handed over one at a time, each with where all partitions stand: a partition
// moves in that only together with its events.
type round struct {
	*Source
	from  event.From
	emit  collectors.Emit
	start time.Time
	ends  time.Time
	parts []string

	turn chan struct{} // holds the right to hand over

	mu       sync.Mutex
	at       state
	over     error // what emit said: nothing can be handed over any more
	earliest time.Time
	failed   error
	asked    error // a pause that the service wants
	lost     int   // partitions in a row that can't be reached
	reached  bool  // one was read
	stop     bool  // no further partition is begun
	waits    *suspended
	strange  string // what makes the cursor stand still
}

// fetch is one run: all partitions.
func (s *Source) fetch(ctx context.Context, from event.From, emit collectors.Emit) error {
	at, err := s.decode(from.Cursor)
	if err != nil {
		return err
	}
	now := s.now()
	start := s.end(now)
	r := &round{
		Source: s, from: from, emit: emit, start: start, ends: now.Add(s.cfg.Schedule.MaxRun), at: at, earliest: start,
		turn: make(chan struct{}, 1),
	}
	if r.parts, err = s.partitions(ctx, now); err != nil {
		return err
	}
	r.parts = s.opts.Past.chosen(r.parts)
	if r.take() {
		// A start at "now" must be the same one after a crash that comes before the first event.
		if err := r.batch(ctx, "", nil, nil, 0, time.Time{}); err != nil {
			return err
		}
	}
	left := r.readAll(ctx)
	switch {
	case r.over != nil:
		return r.over
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.waits != nil && r.failed == nil:
		return r.waiting(ctx, left)
	case r.asked != nil && left != "":
		// The others have their turn first when it goes on.
		r.at.Next = left
		if err := r.batch(ctx, "", nil, nil, 0, time.Time{}); err != nil {
			return err
		}
	}
	if err := join(r.failed, r.asked); err != nil {
		return err
	}
	if r.strange != "" {
		s.saidWaits = true
		s.opts.Report(true, r.strange)
	} else if s.saidWaits {
		s.saidWaits = false
		s.opts.Report(false, "")
	}
	r.at.Next, s.claimed = "", r.earliest
	watermark := time.Time{}
	if s.cfg.Cursor.Type == CursorTime {
		watermark = r.earliest.Add(-max(s.cfg.Cursor.Overlap, s.cfg.Cursor.Settle, minSkew))
	}
	return r.batch(ctx, "", nil, nil, 0, watermark)
}

// waiting ends a run that goes on later.
func (r *round) waiting(ctx context.Context, left string) error {
	what := fmt.Sprintf("not all was read yet: %s", r.waits)
	if !r.waits.until.IsZero() {
		what += ", it goes on at " + r.waits.until.UTC().Format(time.RFC3339)
	}
	r.saidWaits = true
	r.opts.Report(true, what)
	if left == "" {
		return nil
	}
	r.at.Next = left
	return r.batch(ctx, "", nil, nil, 0, time.Time{})
}

// take sees to it that each partition has a position, and tells whether one is new.
func (r *round) take() (fresh bool) {
	listed := map[string]bool{}
	for _, part := range r.parts {
		listed[part] = true
		p := r.at.Parts[part]
		if p == nil {
			p = &position{}
			r.at.Parts[part] = p
		}
		if r.begin(p, r.from, r.start) {
			fresh = true
		}
		if r.dialect != nil {
			// Nothing older was to be handed over again, whatever the cursor says.
			p.From = later(p.From, r.from.Floor).UTC().Truncate(time.Microsecond)
		}
		if p.Gone.IsZero() {
			continue
		}
		p.Gone = time.Time{}
		if !p.From.IsZero() && p.From.Before(r.from.Floor) {
			// It was not there for so long that what it had handed over was forgotten.
			r.opts.Report(false, fmt.Sprintf("what %s has from %s to %s is not read: it was not configured or listed meanwhile", part,
				p.From.Format(time.RFC3339), r.from.Floor.Format(time.RFC3339)))
			p.From = r.from.Floor
		}
	}
	for part, p := range r.at.Parts {
		switch {
		case listed[part]:
		case p.Gone.IsZero():
			p.Gone = r.start
		case r.cfg.Partitions.listed() && r.start.Sub(p.Gone) > r.cfg.Partitions.Forget:
			delete(r.at.Parts, part)
		}
	}
	return fresh
}

// readAll reads the partitions, several at once where that is wanted. It returns the first one that was not begun, "" if all were.
// Those that wait from an earlier run go first, then the one that was next.
func (r *round) readAll(ctx context.Context) (left string) {
	parts := slices.Clone(r.parts)
	for _, next := range []string{r.at.Next, r.first} {
		if i := slices.Index(parts, next); i > 0 {
			parts = slices.Concat(parts[i:], parts[:i])
		}
	}
	slices.SortStableFunc(parts, func(a, b string) int { return r.suspendedFirst(a) - r.suspendedFirst(b) })
	r.first = ""
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group := errgroup.Group{}
	group.SetLimit(r.cfg.Partitions.Concurrency)
	for _, part := range parts {
		if r.stopped() || runCtx.Err() != nil {
			left = part
			r.first = part
			break
		}
		group.Go(func() error {
			if r.stopped() { // while it waited for its turn
				return nil
			}
			w := r.walk(part)
			err := r.readPart(runCtx, w)
			if over := r.done(w, err); over != nil {
				cancel(over)
			}
			return nil
		})
	}
	_ = group.Wait() // what failed is in r
	return left
}

func (r *round) suspendedFirst(part string) int {
	if r.held[part] != nil {
		return 0
	}
	return 1
}

func (r *round) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop
}

// walk is the reading of a partition: a new one, or the one that was suspended, if the cursor is where that left it.
func (r *round) walk(part string) *walk {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, p := r.held[part], r.at.Parts[part]
	delete(r.held, part)
	if w == nil || !w.handed.same(p) {
		w = r.newWalk(part, p, r.start)
	}
	w.ends, w.read, w.moved, w.promised = r.ends, w.pager.pages, false, r.from.Floor
	w.hand = func(ctx context.Context, events []event.Raw, filtered int) error {
		return r.batch(ctx, part, w.at, events, filtered, time.Time{})
	}
	return w
}

func (s *Source) newWalk(part string, p *position, start time.Time) *walk {
	at := p.clone()
	return &walk{Source: s, part: part, start: start, at: &at, handed: p.clone(), pager: s.newPager()}
}

// readPart reads a partition to its end.
func (r *round) readPart(ctx context.Context, w *walk) error {
	reset := false
	for forgotten := 0; ; {
		err := w.run(ctx)
		switch {
		case errors.Is(err, errForgotten) && forgotten < restarts:
			forgotten++
			r.retried("marker")
		case errors.Is(err, errReset) && !reset && r.opts.Past == nil:
			reset = true
			r.reset(w.at, r.start)
			w.next = time.Time{}
		default:
			return err
		}
		w.open = false
	}
}

// done takes what became of a partition, and returns why nothing more can be handed over.
func (r *round) done(w *walk, err error) (over error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var waits *suspended
	var asked *collectors.RetryAfter
	if err != nil && len(r.parts) > 1 {
		err = fmt.Errorf("%s %s: %w", r.cfg.Partitions.As, w.part, err)
	}
	switch {
	case err == nil:
		at := w.at.clone()
		r.at.Parts[w.part] = &at
		r.lost, r.reached = 0, true
		if claim := w.claim(); claim.Before(r.earliest) {
			r.earliest = claim
		}
		if w.strange != "" {
			r.strange = w.strange
		}
	case errors.As(err, &waits):
		r.held[w.part] = w
		r.waits, r.stop = waits, true
	case errors.As(err, &asked):
		r.asked, r.stop = err, true
	case errors.Is(err, event.Unavailable):
		r.lost++
		r.failed = join(r.failed, err)
		r.stop = r.stop || !r.reached && r.lost >= outage
	default: // the other parts may be well, and this one may stay as it is for long
		r.failed = join(r.failed, err)
	}
	return r.over
}

// batch hands over events of a partition, with where it stands behind them; without one it hands over where all stand.
func (r *round) batch(ctx context.Context, part string, at *position, events []event.Raw, filtered int, watermark time.Time) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b, says, err := r.behind(part, at, len(events) > 0 || filtered > 0 || !watermark.IsZero())
	if err != nil || !says {
		return err
	}
	b.Events, b.Filtered, b.Watermark = events, filtered, watermark
	if err = r.emit(ctx, b); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.over = err
	}
	return err
}

// behind is a batch that has where all partitions stand, one of them at a position. It says something if that is new, or needed
// anyway.
func (r *round) behind(part string, at *position, needed bool) (b collectors.Batch, says bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil {
		return b, false, r.over
	}
	if at != nil {
		needed = needed || !at.same(r.at.Parts[part])
		moved := at.clone()
		r.at.Parts[part] = &moved
		if !needed {
			return b, false, nil
		}
	}
	b.Cursor, err = r.encode(r.at)
	b.Floor = r.at.floor(r.start)
	return b, true, err
}

// join is both errors, or the one that there is.
func join(a, b error) error {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return errors.Join(a, b)
}

// begin chooses where a partition begins that never was read, and tells whether it did.
func (s *Source) begin(p *position, from event.From, now time.Time) bool {
	if p.Began {
		return false
	}
	p.Began = true
	c := s.cfg.Cursor
	if past := s.opts.Past; past != nil {
		p.From = past.From.UTC().Truncate(time.Microsecond)
		return true
	}
	switch c.Type {
	case CursorTime:
		switch {
		case from.Cursor == nil && !from.Newest.IsZero(): // another kind of source collected before
			p.Newest, p.Moved = from.Newest, now
			if now.Before(p.Newest) {
				p.Newest = now
			}
			p.From = p.Newest.Add(-c.Overlap)
		default:
			if p.From = c.Start.time(now); p.From.Equal(now) {
				p.Newest = now // nothing is known that is newer
			}
		}
		p.From = p.From.UTC().Truncate(time.Microsecond)
	case CursorInteger:
		p.Number = c.Start.number
	}
	return true
}

// reset begins again at the configured start, because the service no longer knows where we stood; but not before the time that was
// promised not to be read again, which the loop has forgotten.
func (s *Source) reset(p *position, now time.Time) {
	before := *p
	*p = position{}
	s.begin(p, event.From{}, now)
	if before.From.After(p.From) {
		p.From, p.Newest, p.Moved = before.From, before.Newest, before.Moved
	}
	s.retried("reset")
	if s.cfg.Cursor.Type == CursorNone {
		return // every run reads all there is
	}
	s.opts.Report(false, "the service no longer knew where we stood ("+now.Format(time.RFC3339)+"): what it no longer shows is missing")
}
