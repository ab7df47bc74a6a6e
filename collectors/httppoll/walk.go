package httppoll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// walk is one reading of a partition. The time goes by start, which is frozen: each page of a range is asked for with the
// same bounds, and nothing that the walk promises lies after it.
type walk struct {
	*Source
	part  string
	start time.Time // when it began, by the earlier of our clock and the service's
	at    *position // what is handed over with each batch
	hand  func(ctx context.Context, events []event.Raw, filtered int) error

	from, until time.Time // of the range that is being read; from is zero at the beginning of all
	number      *int64    // that is asked from, nil at the beginning of all
	token       string    // that is asked with
	lower       time.Time // what was promised not to come again lies before this
	pager       pager

	// What follows is about the range that is being read.
	reached  position // where the position would be had everything come in order
	newest   time.Time
	disorder bool
	known    time.Time // records up to here were there in an earlier run
}

// settled is up to where records have settled.
func (w *walk) settled() time.Time { return w.start.Add(-w.cfg.Cursor.Settle) }

// run reads everything that is new. It returns nil when the service showed that there is nothing more.
func (w *walk) run(ctx context.Context) error {
	if w.cfg.Cursor.Type != CursorTime {
		if err := w.read(ctx); err != nil {
			return err
		}
		w.at.ETag = w.reached.ETag
		return nil
	}
	for {
		w.from, w.until = w.at.From, w.start
		last := true
		if window := w.cfg.Cursor.Window; window > 0 && !w.from.IsZero() {
			if end := w.from.Add(window + w.cfg.Cursor.Overlap); end.Before(w.start) {
				w.until, last = end, false
			}
		}
		before := w.at.From
		if err := w.read(ctx); err != nil {
			return err
		}
		w.complete()
		if last {
			return nil
		}
		if !w.at.From.After(before) {
			w.at.From = before.Add(w.cfg.Cursor.Window) // nothing can have been there: it was asked for with both bounds
		}
	}
}

// complete moves the position to the end of the range that was read.
func (w *walk) complete() {
	overlap := w.cfg.Cursor.Overlap
	moved := w.reached
	if w.cfg.Cursor.Send.Until != "" {
		// Both bounds were asked for: also where nothing came there is nothing.
		moved.advance(w.until, w.settled(), w.start, overlap)
	}
	*w.at = moved
	w.at.rest(w.start, overlap, w.step())
}

// step is how far apart two times must be for the service to tell them apart.
func (w *walk) step() time.Duration {
	return max(time.Microsecond, w.cfg.Cursor.Send.form(w.cfg.Cursor).Step())
}

// read reads one range to its end, page by page.
func (w *walk) read(ctx context.Context) error {
	w.pager.restart()
	w.lower, w.number, w.token = w.at.From, w.at.Number, w.at.Token
	w.reached, w.newest, w.disorder, w.known = w.at.clone(), time.Time{}, false, w.at.Newest
	for {
		a, err := w.page(ctx)
		if err != nil {
			return err
		}
		if a == nil { // not modified
			return nil
		}
		if behind := w.start.Sub(a.date); behind >= minSkew && behind <= maxSkew {
			w.start = a.date
		}
		w.reached.ETag = a.etag
		ids, err := w.take(ctx, a)
		if err != nil {
			return err
		}
		done, err := w.pager.next(a, ids)
		if err != nil {
			return err
		}
		if done || w.beyond() {
			return nil
		}
	}
}

// beyond tells whether order says that all that was there when the run began has been read. On a busy service the run would
// otherwise chase single new records without end.
func (w *walk) beyond() bool {
	return w.cfg.Cursor.Type == CursorTime && w.ascending() && w.newest.After(w.start)
}

func (w *walk) ascending() bool { return w.cfg.Cursor.Order == "ascending" && !w.disorder }

// take hands over the records of an answer, and returns the identities of all of them.
func (w *walk) take(ctx context.Context, a *answer) ([]event.ID, error) {
	received := time.Now().UTC()
	ids := make([]event.ID, 0, len(a.page.Records))
	events := make([]event.Raw, 0, len(a.page.Records))
	early, disorder, filtered, left := 0, 0, 0, 0
	for _, body := range a.page.Records {
		r := w.record(body, w.part, received)
		ids = append(ids, r.raw.ID)
		at := r.raw.Time
		if w.cfg.Cursor.Type == CursorTime {
			switch {
			case at.IsZero():
			case at.Before(w.lower):
				early++ // the loop may have forgotten it: it was promised that it does not come again
				continue
			case at.Before(w.newest):
				disorder++
			default:
				w.newest = at
			}
			if !at.IsZero() {
				w.reached.advance(at, w.settled(), w.start, w.cfg.Cursor.Overlap)
			}
		}
		if r.number != nil {
			w.reached.number(*r.number)
		}
		switch {
		case r.left:
			left++
		case w.filter.Keep(r.eventType):
			events = append(events, r.raw)
		case at.IsZero() || at.After(w.known):
			filtered++
		}
	}
	w.odd("too-early", early)
	w.odd("disorder", disorder)
	w.odd("filtered-by-expression", left)
	if token, err := w.tokenOf(a); err != nil {
		return nil, err
	} else if token != "" {
		w.reached.Token = token
	}
	if w.disorder = w.disorder || disorder > 0 && w.cfg.Cursor.Order == "ascending"; w.ascending() || w.cfg.Cursor.Type == CursorToken {
		etag := w.at.ETag
		*w.at = w.reached.clone()
		w.at.ETag = etag
	}
	return ids, w.hand(ctx, events, filtered)
}

// tokenOf is the token behind an answer, "" where the cursor is none.
func (w *walk) tokenOf(a *answer) (string, error) {
	if w.cfg.Cursor.Type != CursorToken {
		return "", nil
	}
	val, err := w.programs.token.Eval(a.vars())
	if err != nil {
		return "", wrongPaging("cursor.token: %w", err)
	}
	token, err := val.Text()
	if err != nil {
		return "", wrongPaging("cursor.token: %w", err)
	}
	return token, nil
}

// fetch is one run: all partitions.
func (s *Source) fetch(ctx context.Context, from event.From, emit collectors.Emit) error {
	at, err := decodeState(from.Cursor)
	if err != nil {
		return err
	}
	start := time.Now().UTC()
	fresh := false
	for _, part := range s.parts {
		if at.Parts[part] == nil {
			at.Parts[part] = &position{}
		}
		if s.begin(at.Parts[part], from, start) {
			fresh = true
		}
		if p := at.Parts[part]; !p.From.IsZero() && p.From.Before(from.Floor) {
			// It was not configured for a while, in which what it had handed over was forgotten.
			s.opts.Report(false, fmt.Sprintf("what %s has from %s to %s is not read: it was not configured meanwhile", part,
				p.From.Format(time.RFC3339), from.Floor.Format(time.RFC3339)))
			p.From = from.Floor
		}
	}
	if fresh {
		// A start at "now" must be the same one after a crash that comes before the first event.
		if err := s.batch(ctx, at, nil, 0, time.Time{}, emit); err != nil {
			return err
		}
	}
	earliest := start
	var failed error
	for _, part := range s.parts {
		w := &walk{Source: s, part: part, start: start, at: at.Parts[part], pager: s.newPager()}
		w.hand = func(ctx context.Context, events []event.Raw, filtered int) error {
			return s.batch(ctx, at, events, filtered, time.Time{}, emit)
		}
		err := w.run(ctx)
		for lost := 0; errors.Is(err, errReset) && lost < 1; lost++ {
			s.reset(w.at, start)
			err = w.run(ctx)
		}
		if len(s.parts) > 1 && errors.Is(err, event.Invalid) {
			// The other parts may be well, and this one may stay as it is for long.
			failed = errors.Join(failed, fmt.Errorf("%s %s: %w", s.cfg.Partitions.As, part, err))
			continue
		}
		if err != nil {
			return err
		}
		if w.start.Before(earliest) {
			earliest = w.start
		}
	}
	if failed != nil {
		return failed
	}
	watermark := time.Time{}
	if s.cfg.Cursor.Type == CursorTime {
		watermark = earliest.Add(-max(s.cfg.Cursor.Overlap, s.cfg.Cursor.Settle))
	}
	return s.batch(ctx, at, nil, 0, watermark, emit)
}

// begin chooses where a partition begins that never was read, and tells whether it did.
func (s *Source) begin(p *position, from event.From, now time.Time) bool {
	if p.Began {
		return false
	}
	p.Began = true
	c := s.cfg.Cursor
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
			p.From = c.Start.time(now)
		}
	case CursorInteger:
		p.Number = c.Start.number
	}
	return true
}

// reset begins again at the configured start, because the service no longer knows where we stood.
func (s *Source) reset(p *position, now time.Time) {
	*p = position{}
	s.begin(p, event.From{}, now)
	s.retried("reset")
	s.opts.Report(false, "the service no longer knew where we stood ("+now.Format(time.RFC3339)+"): what it no longer shows is missing")
}

func (s *Source) batch(
	ctx context.Context, at state, events []event.Raw, filtered int, watermark time.Time, emit collectors.Emit,
) error {
	cursor, err := at.encode()
	if err != nil {
		return err
	}
	return emit(ctx, collectors.Batch{Events: events, Cursor: cursor, Floor: at.floor(s.parts), Filtered: filtered, Watermark: watermark})
}
