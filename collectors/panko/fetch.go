package panko

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"stackstream/collectors"
	"stackstream/event"
)

const (
	// pageTries is how often a page is asked for until the run fails; then the poller begins again from the cursor.
	pageTries = 4
	// markerTries is how often a run may begin again because Panko forgot the marker.
	markerTries = 3
	// minSkew and maxSkew bound by how much Panko's clock may be behind ours for us to go by it: HTTP tells whole
	// seconds, and what is further off than the latter is no clock.
	minSkew = 2 * time.Second
	maxSkew = 24 * time.Hour
)

// run is one reading of everything after a cursor.
type run struct {
	*Source
	start  time.Time // when it began, by the earlier of our clock and Panko's; nothing it promises lies after this
	at     cursor
	emit   collectors.Emit
	limit  int // of the next page
	marker string
	// What follows is about the pages read since it last began at the cursor.
	markers  map[string]bool
	previous map[event.ID]bool // identities on the last page
	newest   time.Time
	reached  cursor    // where the cursor would be if all pages came in order
	disorder bool      // they did not: older events may follow, so the cursor stays until all is read
	known    time.Time // events up to here were there in an earlier run
}

// fetch is one run. It returns nil when Panko showed that there is nothing more.
func (s *Source) fetch(ctx context.Context, from event.From, emit collectors.Emit) error {
	r := &run{Source: s, start: time.Now().UTC(), emit: emit, limit: s.cfg.Limit}
	at, fresh, err := s.cfg.resume(from, r.start)
	if err != nil {
		return err
	}
	r.at = at
	if fresh {
		// A start at "now" must be the same one after a crash that comes before the first event.
		if err := r.hand(ctx, nil, 0, time.Time{}); err != nil {
			return err
		}
	}
	for lost := 0; ; {
		err := r.pages(ctx)
		var gone markerLost
		if lost++; !errors.As(err, &gone) || lost > markerTries {
			return err
		}
		s.retried("marker")
	}
}

// pages reads from the cursor's lower bound on, until the end.
func (r *run) pages(ctx context.Context) error {
	from := r.at.From
	r.marker, r.markers, r.previous, r.newest = "", map[string]bool{}, nil, time.Time{}
	r.reached, r.disorder, r.known = r.at, false, r.at.Generated
	for {
		p, err := r.page(ctx, pageRequest{from: from, marker: r.marker, limit: r.limit})
		if err != nil {
			return err
		}
		if behind := r.start.Sub(p.date); behind >= minSkew && behind <= maxSkew {
			r.start = p.date
		}
		if len(p.elements) == 0 {
			return r.complete(ctx)
		}
		if err := r.take(ctx, p, from); err != nil {
			return err
		}
		// Order says that whatever was there when the run began has been read once a page reaches beyond that time. On
		// a busy cloud the run would otherwise chase single new events without end.
		short := len(p.elements) < p.asked
		if last := p.elements[len(p.elements)-1].raw.Time; short && !r.disorder && last.After(r.start) {
			return r.complete(ctx)
		}
		done, err := r.follow(p)
		if err != nil {
			return err
		}
		if done {
			return r.complete(ctx)
		}
	}
}

// page asks for one page, again after errors that may pass, and for fewer events where they are too large.
func (r *run) page(ctx context.Context, req pageRequest) (page, error) {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(200*time.Millisecond), backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	ask := func() (page, error) {
		began := time.Now()
		p, err := r.get(ctx, req)
		for errors.Is(err, errTooLarge) && req.limit > 1 {
			r.retried("size")
			req.limit = max(req.limit/4, 1)
			p, err = r.get(ctx, req)
		}
		if err != nil && !mayPass(err) {
			return p, backoff.Permanent(err)
		}
		if err == nil && r.opts.Hooks.Page != nil {
			r.opts.Hooks.Page(len(p.elements), p.bytes, time.Since(began))
		}
		return p, err
	}
	p, err := backoff.RetryNotifyWithData(ask,
		backoff.WithContext(backoff.WithMaxRetries(pause, pageTries-1), ctx),
		func(error, time.Duration) { r.retried("error") })
	r.limit = min(r.cfg.Limit, 2*req.limit)
	return p, err
}

// mayPass tells whether it is worth asking for the same page again soon.
func mayPass(err error) bool {
	var asked *collectors.RetryAfter
	var gone markerLost
	return errors.Is(err, event.Unavailable) && !errors.As(err, &asked) && !errors.As(err, &gone)
}

// take hands over the events of a page that was asked for from a time on.
func (r *run) take(ctx context.Context, p page, from time.Time) error {
	r.odd("no-id", p.odd.noID)
	r.odd("no-time", p.odd.noTime)
	r.odd("not-json", p.odd.notJSON)
	events := make([]event.Raw, 0, len(p.elements))
	disorder, early, filtered := 0, 0, 0
	for _, e := range p.elements {
		at := e.raw.Time
		if !at.IsZero() && at.Before(from) {
			early++ // the loop may have forgotten it: it was promised that it does not come again
			continue
		}
		if !at.IsZero() && at.Before(r.newest) {
			disorder++
		}
		if at.After(r.newest) {
			r.newest = at
		}
		r.reached.advance(at, r.start, r.cfg.Overlap)
		switch {
		case r.filter.Keep(e.eventType):
			events = append(events, e.raw)
		case at.IsZero() || at.After(r.known):
			filtered++
		}
	}
	r.odd("disorder", disorder)
	r.odd("too-early", early)
	if r.disorder = r.disorder || disorder > 0; !r.disorder {
		r.at = r.reached
	}
	return r.hand(ctx, events, filtered, time.Time{})
}

// follow sets the marker behind a page; done says that nothing can follow.
func (r *run) follow(p page) (done bool, err error) {
	ids := make(map[event.ID]bool, len(p.elements))
	fresh := 0
	marker := ""
	for _, e := range p.elements {
		if !r.previous[e.raw.ID] {
			fresh++
		}
		ids[e.raw.ID] = true
		if e.messageID != "" {
			marker = e.messageID
		}
	}
	switch {
	case marker == "" && len(p.elements) < p.asked:
		return true, nil
	case marker == "":
		return false, wrongPaging("the events have no message_id, so that there is no way to ask for those after them")
	case r.markers[marker]:
		return false, wrongPaging("the page after marker %s ends with the same event as one before it", marker)
	case fresh == 0:
		return false, wrongPaging("the page after marker %s has no event that was not on the one before it", r.marker)
	}
	r.markers[marker] = true
	r.marker, r.previous = marker, ids
	return false, nil
}

func wrongPaging(format string, args ...any) error {
	return &event.Error{Kind: event.Invalid, Op: "read the events page by page", Err: fmt.Errorf(format, args...)}
}

// complete says that everything up to the beginning of the run was read.
func (r *run) complete(ctx context.Context) error {
	r.at = r.reached
	r.at.rest(r.start, r.cfg.Overlap)
	return r.hand(ctx, nil, 0, r.start.Add(-r.cfg.Overlap))
}

func (r *run) hand(ctx context.Context, events []event.Raw, filtered int, watermark time.Time) error {
	at, err := r.at.encode()
	if err != nil {
		return err
	}
	return r.emit(ctx, collectors.Batch{
		Events: events, Cursor: at, Floor: r.at.From, Filtered: filtered, Watermark: watermark,
	})
}
