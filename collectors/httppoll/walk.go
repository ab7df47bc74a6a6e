package httppoll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/timeform"
)

// walk is one reading of a partition. The time goes by start, which is frozen: each page of a range is asked for with the
// same bounds, and nothing that the walk promises lies after it.
type walk struct {
	*Source
	part  string
	start time.Time // when it began, by the earlier of our clock and the service's
	ends  time.Time // when the run that it is a part of has to be over
	// at is where it stands. It becomes the cursor by hand, with the events before it, and in no other way.
	at   *position
	hand func(ctx context.Context, events []event.Raw, filtered int) error

	from, until time.Time // of the range that is being read; from is zero at the beginning of all
	number      *int64    // that is asked from, nil at the beginning of all
	token       string    // that is asked with
	lower       time.Time // what was promised not to come again lies before this
	pager       pager

	// What follows is about the range that is being read.
	open     bool      // there is one
	next     time.Time // where the next one begins at the earliest
	last     bool      // it is the last one
	reached  position  // where the position would be had everything come in order
	newest   time.Time
	highest  *int64
	disorder bool
	over     bool      // a page had nothing but what lies before lower
	known    time.Time // records up to here were there in an earlier run
	strange  string    // what makes all records of a page useless for the cursor

	promised time.Time // the loop may have forgotten what is older, but for the last Config.Remember
	loose    int       // records since the position last moved that only their number lets the loop remember

	// What follows is about what it costs to begin again, see wait.
	read     int          // pages that were read
	moved    bool         // the cursor has, since the walk began or went on
	handed   position     // what was last handed over
	busy     bool         // a page that was read is not handed over yet
	free     bool         // there is nothing to lose
	detailed atomic.Int64 // bytes of details of that page
}

// settled is up to where records have settled.
func (w *walk) settled() time.Time { return w.start.Add(-w.cfg.Cursor.Settle) }

// run reads everything that is new. It returns nil when the service showed that there is nothing more. After a *suspended it may
// be called again, and goes on where it was.
func (w *walk) run(ctx context.Context) error {
	for {
		if !w.open {
			w.bounds()
			w.restart()
		}
		if err := w.readOn(ctx); err != nil {
			return err
		}
		w.open = false
		w.complete()
		if w.last {
			return nil
		}
		if err := w.handOver(ctx, nil, 0); err != nil {
			return err
		}
	}
}

// bounds chooses the range to read next.
func (w *walk) bounds() {
	w.last = true
	if w.cfg.Cursor.Type != CursorTime {
		return
	}
	w.from, w.until = w.at.From, w.start
	if w.next.After(w.from) {
		w.from = w.next
	}
	if window := w.cfg.Cursor.Window; window > 0 && !w.from.IsZero() {
		// What can't be sent is not a part of it. One that is smaller than can be sent is none.
		end := w.from.Add(window).Truncate(w.step())
		// Nor does one end in what has not settled: that belongs to the last one, whose end services may want further back.
		if end.Before(w.settled()) && end.Add(-w.cfg.Cursor.Overlap).After(w.from) {
			w.until, w.last = end, false
		}
	}
}

// complete moves the position to the end of the range that was read.
func (w *walk) complete() {
	if w.cfg.Cursor.Type != CursorTime {
		*w.at = w.reached.clone()
		return
	}
	overlap := w.cfg.Cursor.Overlap
	moved := w.reached.clone()
	if w.bounded {
		// Both bounds were asked for: also where nothing came there is nothing, but what does not show yet. What the form can't say
		// was not asked for.
		until := w.until.Truncate(w.step())
		if shown := w.start.Add(-w.unseen()); shown.Before(until) {
			until = shown
		}
		moved.advance(until, w.settled(), w.start, overlap)
	}
	*w.at = moved
	w.at.rest(w.start, overlap, w.step())
	if w.last {
		return
	}
	// The next window begins where this one ends, and the position follows as far as records have settled: this one was asked
	// for with both bounds, so that behind it nothing is left.
	w.next = w.until.Add(-overlap)
	to := w.next
	if shown := w.start.Add(-w.unseen() - overlap); shown.Before(to) {
		to = shown
	}
	if to.After(w.at.From) {
		w.at.From = to
	}
}

// showsWithin is how young a range may be that nothing came of, and that is not passed for that: records may show later than their
// time says, all of them, in order, and nobody may have said so.
const showsWithin = 15 * time.Minute

// unseen is how far behind the present a range has to lie to be passed because nothing came of it. By less than minSkew the
// service's clock may be behind ours. Where no record has a time, ranges are all that the cursor goes by, and settle has to say it.
func (w *walk) unseen() time.Duration {
	if w.cfg.Cursor.Field == "" && w.cfg.Cursor.Value == "" && w.dialect == nil {
		return max(w.cfg.Cursor.Settle, minSkew)
	}
	return max(w.cfg.Cursor.Settle, showsWithin)
}

// step is how far apart two times must be for the service to tell them apart.
func (w *walk) step() time.Duration { return w.cfg.Cursor.step() }

func (c Cursor) step() time.Duration { return max(time.Microsecond, c.Send.form(c).Step()) }

// restart begins with the first page of a range.
func (w *walk) restart() {
	w.open = true
	w.pager.restart()
	w.pager.until = w.until
	w.lower, w.number, w.token = w.at.From, w.at.Number, w.at.Token
	w.reached, w.newest, w.highest, w.disorder, w.over, w.known = w.at.clone(), time.Time{}, nil, false, false, w.at.Newest
}

// readOn reads a range to its end, page by page, from where it is.
func (w *walk) readOn(ctx context.Context) error {
	for {
		if err := w.time(); err != nil {
			return err
		}
		a, err := w.page(ctx)
		if err != nil {
			return err
		}
		if a == nil { // not modified
			return nil
		}
		if behind := w.start.Sub(a.date); behind >= minSkew && behind <= maxSkew && w.opts.Past == nil {
			w.start = a.date
		}
		if w.pager.pages == 0 {
			// That the first page is as it was says nothing about those behind it, unless what is new stands on it.
			if w.reached.ETag = ""; w.cfg.Pagination.Type == PageNone || w.cfg.Cursor.Order == "descending" {
				w.reached.ETag = a.etag
			}
		}
		w.items(a)
		if why, err := w.pager.look(a); err != nil {
			return err
		} else if why != "" {
			w.read++
			w.retried(why)
			continue
		}
		w.busy = true
		ids, err := w.take(ctx, a)
		if err != nil {
			return err
		}
		w.busy = false
		w.read++
		short := a.page.Listed < w.pager.size || w.pager.size == 0
		done, err := w.pager.next(a, ids)
		if err != nil {
			return err
		}
		if done || short && w.beyond() || w.passed(a.items) {
			return nil
		}
	}
}

// beyond tells whether order says that there is nothing more to read: everything that was there when the run began has been read
// (on a busy service it would otherwise chase single new records without end), or, where the newest come first, a page had nothing
// but what lies before the range.
func (w *walk) beyond() bool {
	if w.cfg.Cursor.Type != CursorTime {
		return false
	}
	return !w.bounded && w.ascending() && w.newest.After(w.start) || w.cfg.Cursor.Order == "descending" && w.over
}

// ascending tells whether everything up to the newest record was read. Pages by time are, in parts that have all there is.
func (w *walk) ascending() bool {
	return !w.disorder && (w.cfg.Cursor.Order == "ascending" || w.cfg.Pagination.Type == PageTime)
}

// items reads the records of an answer.
func (w *walk) items(a *answer) {
	received := w.now()
	a.items = make([]item, len(a.page.Records))
	for i := range a.page.Records {
		r := w.record(&a.page, i, w.part, received)
		r.early = !r.raw.Time.IsZero() && r.raw.Time.Before(w.lower)
		r.outside = w.opts.Past.outside(r.raw.Time)
		r.again = w.cfg.Pagination.Type == PageTime && w.pager.known[r.raw.ID]
		a.items[i] = r
	}
}

// take hands over the records of an answer, and returns the identities of all of them.
func (w *walk) take(ctx context.Context, a *answer) ([]event.ID, error) {
	ids := make([]event.ID, 0, len(a.items))
	items := make([]item, 0, len(a.items))
	for _, r := range a.items {
		ids = append(ids, r.raw.ID)
		if !r.again {
			items = append(items, r)
		}
	}
	w.lookAt(a.items)
	if err := w.details(ctx, items); err != nil {
		return nil, err
	}
	events := make([]event.Raw, 0, len(items))
	early, disorder, filtered := 0, 0, 0 // what is filtered is counted once, as far as the time tells
	for i := range items {
		r := &items[i]
		if r.early {
			early++ // the loop may have forgotten it: it was promised that it does not come again
			continue
		}
		if r.outside {
			continue
		}
		if !w.pass(r) {
			disorder++
		}
		at := r.raw.Time
		switch {
		case r.told:
		case !r.left && w.filter.Keep(r.eventType):
			events = append(events, r.raw)
		case at.IsZero() || at.After(w.known):
			filtered++
		}
	}
	w.odd("too-early", early)
	w.over = early > 0 && early == len(a.page.Records)
	if w.cfg.Cursor.Order == "ascending" {
		w.odd("disorder", disorder)
	}
	if token, err := w.tokenOf(a); err != nil {
		return nil, err
	} else if token != "" {
		w.reached.Token = token
	}
	if w.disorder = w.disorder || disorder > 0 && w.ascending(); w.ascending() {
		etag := w.at.ETag
		*w.at = w.reached.clone()
		w.at.ETag = etag
	}
	if err := w.remembered(items); err != nil {
		return nil, err
	}
	if err := w.handOver(ctx, events, filtered); err != nil {
		return nil, err
	}
	w.wereTold(items)
	return ids, nil
}

// lookAt notes that no record of a page has what the cursor goes by: one may be odd, but not all.
func (w *walk) lookAt(items []item) {
	c := w.cfg.Cursor
	if w.dialect != nil || len(items) == 0 || c.Type != CursorTime && c.Type != CursorInteger || c.Field == "" && c.Value == "" {
		return
	}
	for i := range items {
		if !items[i].raw.Time.IsZero() || items[i].number != nil {
			return
		}
	}
	what, name := "a whole number", cmp.Or(c.Field, c.Value)
	if c.Type == CursorTime {
		what = "a time of the form " + cmp.Or(strings.Trim(fmt.Sprint(c.Format), "[]"), string(timeform.RFC3339))
	}
	found := "nothing"
	if items[0].vars != nil {
		if text, err := w.cursorText(&items[0]); err == nil && text != "" {
			found = strconv.Quote(text[:min(len(text), 60)])
		}
	}
	w.strange = fmt.Sprintf("none of %d records of a page has %s at %s (see cursor.field, .value and .format): the first has %s",
		len(items), what, name, found)
}

// claim is up to where everything was read. Where one answer is all there is to a run, it may have been cut by the service: as long as
// each brings something new, there may be more.
func (w *walk) claim() time.Time {
	if w.cfg.Pagination.Type == PageNone && w.newest.After(w.known) && w.newest.Before(w.start) {
		return w.newest
	}
	return w.start
}

// remembered fails where the service would show again, if the walk began anew, more records than the loop knows again: those that
// no time promises not to come again, as long as the position does not pass them. Beyond that number an old one would be taken
// for new.
func (w *walk) remembered(items []item) error {
	// The records of a dialect have times; one without is taken for new when it is read back.
	if w.dialect != nil || !w.handed.same(w.at) {
		w.loose = 0
		return nil
	}
	for i := range items {
		if at := items[i].raw.Time; !items[i].early && (at.IsZero() || at.Before(w.promised)) {
			w.loose++
		}
	}
	if w.loose <= w.cfg.Remember {
		return nil
	}
	return &event.Error{Kind: event.Invalid, Op: "read page by page", Err: fmt.Errorf(
		"there are more records than are known again (remember: %d) before the cursor has passed any: "+
			"raise remember, or have the cursor move earlier (cursor.type, .order, .window)", w.cfg.Remember)}
}

// pass moves along with a record; false if it is out of order.
func (w *walk) pass(r *item) bool {
	inOrder := true
	if at := r.raw.Time; w.cfg.Cursor.Type == CursorTime && !at.IsZero() {
		if inOrder = !at.Before(w.newest); inOrder {
			w.newest = at
		}
		// In a list in order, what bears a time that is not yet here stands at its end; where it does not, its time is wrong, and
		// says nothing about what comes behind it.
		if !w.ascending() || !at.After(w.start) {
			w.reached.advance(at, w.settled(), w.start, w.cfg.Cursor.Overlap)
		}
	}
	if n := r.number; n != nil {
		inOrder = w.highest == nil || *n >= *w.highest
		if inOrder {
			w.highest = n
		}
		w.reached.number(*n)
	}
	return inOrder
}

// handOver hands over events with the position behind them.
func (w *walk) handOver(ctx context.Context, events []event.Raw, filtered int) error {
	if err := w.hand(ctx, events, filtered); err != nil {
		return err
	}
	w.moved = w.moved || !w.handed.same(w.at)
	w.handed = w.at.clone()
	return nil
}

// tokenOf is the token behind an answer, "" where the cursor is none.
func (w *walk) tokenOf(a *answer) (string, error) {
	if w.cfg.Cursor.Type != CursorToken || a.nothing {
		return "", nil
	}
	val, err := w.programs.token.Eval(a.vars())
	if errors.Is(err, expr.ErrMissing) && a.page.Listed == 0 {
		return "", nil // there is no last record, nor what leads on from it
	}
	if err != nil {
		return "", wrongPaging("cursor.token: %w", err)
	}
	token, err := val.Text()
	if err != nil {
		return "", wrongPaging("cursor.token: %w", err)
	}
	if token != "" && w.cfg.Cursor.resumes() {
		return resolved(a, token)
	}
	return token, nil
}
