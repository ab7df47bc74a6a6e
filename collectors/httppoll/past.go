package httppoll

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

// Past bounds a source to a range of time that is over: what the service has from From on and before To. Nothing is asked for
// again and again, and no setting moves where it begins or ends.
type Past struct {
	From, To time.Time
	// Parts, if not nil, are the partitions to read; others are left out, and Left is told.
	Parts []string
	Left  func(part string)
	// Rate, if set, is our pace, beside that of the configuration.
	Rate Rate
	// Waits, if set, is told why the same page is asked for again, after a pause.
	Waits func(why error)
}

// pastTries is how often a page of the past is asked for, some minutes in all: a list that is in no order would be read from its
// beginning again.
const pastTries = 60

func (p *Past) tries() uint64 {
	if p == nil {
		return pageTries
	}
	return pastTries
}

func (p *Past) waits(why error) {
	if p != nil && p.Waits != nil {
		p.Waits(why)
	}
}

// forever is how long a run over the past may take: it is one run, whatever has to be waited for.
const forever = 1000 * time.Hour

// CheckPast says why a range of time can't be asked for, nil if it can.
func (c Config) CheckPast() error {
	why := "so that every run reads all that the service shows: there is nothing behind it to ask for"
	switch c.Cursor.Type {
	case CursorTime:
		return nil
	case CursorInteger, CursorToken:
		why = "and no number or token says where a time begins"
	}
	return &event.Error{Kind: event.Invalid, Op: "ask for the past", Err: fmt.Errorf("cursor.type is %s, %s", c.Cursor.Type, why)}
}

// NewestFirst tells whether a range is read from its end to its beginning.
func (c Config) NewestFirst() bool { return c.Cursor.Order == "descending" }

// Parts are the partitions that a cursor of this kind of source knows, nil where there are none.
func Parts(c event.Cursor) ([]string, error) {
	at, err := decodeState(c)
	if err != nil {
		return nil, err
	}
	var parts []string
	for part := range at.Parts {
		if part != "" {
			parts = append(parts, part)
		}
	}
	slices.Sort(parts)
	return parts, nil
}

// bind makes a source one of the past.
func (s *Source) bind(p *Past) {
	s.cfg.Schedule.MaxRun = forever
	s.cfg.Pagination.MaxPages = math.MaxInt // a page that leads nowhere new is an error all the same
	// How many records of no time are known again is the business of who reads the past.
	s.cfg.Remember = math.MaxInt32
	s.client = RateLimit{Rate: p.Rate}.pacedClient(s.client, s.opts.Clock)
}

// ReadPast hands over what the service has of the range of Options.Past, from a cursor on that an earlier reading handed over, nil
// to begin. It returns nil when the service showed that there is no more. As ever, what is handed over may come twice.
func (s *Source) ReadPast(ctx context.Context, from event.From, emit collectors.Emit) error {
	if s.opts.Past == nil {
		return errors.New("the source is not bound to a time")
	}
	s.forget()
	for claimed := (time.Time{}); ; claimed = s.claimed {
		err := s.fetch(ctx, from, func(ctx context.Context, b collectors.Batch) error {
			if err := emit(ctx, b); err != nil {
				return err
			}
			if b.Cursor != nil {
				from.Cursor = b.Cursor
			}
			return nil
		})
		if errors.Is(err, errReset) {
			// Asking again would not bring back what the service has forgotten.
			return &event.Error{Kind: event.Invalid, Op: "ask for the past", Err: err}
		}
		if err != nil || ctx.Err() != nil {
			return join(err, context.Cause(ctx))
		}
		// One answer that is all there is to a run may have been cut: there is more as long as each brings something new.
		if !s.claimed.Before(s.end(s.now())) || !s.claimed.After(claimed) {
			return nil
		}
	}
}

// end is the end of what a run that begins now may read: it goes by the clock, or is where the past ends. That is rounded up to
// what can be sent.
func (s *Source) end(now time.Time) time.Time {
	p := s.opts.Past
	if p == nil {
		return now
	}
	step := s.cfg.Cursor.step()
	end := p.To.UTC().Truncate(step)
	if end.Before(p.To) {
		end = end.Add(step)
	}
	return end
}

// chosen are those of the partitions that are to be read.
func (p *Past) chosen(parts []string) []string {
	if p == nil || p.Parts == nil {
		return parts
	}
	var chosen []string
	for _, part := range parts {
		if part == "" || slices.Contains(p.Parts, part) {
			chosen = append(chosen, part)
		} else if p.Left != nil {
			p.Left(part)
		}
	}
	return chosen
}

// outside tells whether a time lies behind the range, or before it.
func (p *Past) outside(at time.Time) bool {
	return p != nil && !at.IsZero() && (at.Before(p.From) || !at.Before(p.To))
}

// passed tells whether everything of the past was read though the list goes on: in a list in order, a whole page lies beyond the
// range. One record may have a wrong time.
func (w *walk) passed(items []item) bool {
	switch {
	case w.opts.Past == nil:
		return false
	case w.cfg.Cursor.Order == "descending":
		return w.over
	case w.cfg.Cursor.Order != "ascending" || !w.ascending():
		return false
	}
	beyond := 0
	for i := range items {
		switch at := items[i].raw.Time; {
		case at.IsZero():
		case at.Before(w.opts.Past.To):
			return false
		default:
			beyond++
		}
	}
	return beyond > 0
}
