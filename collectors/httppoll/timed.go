package httppoll

import (
	"slices"
	"time"
)

// timed is what a pager of type time knows. The next page is asked for from the time of the last record on, so that records of
// that moment come again. This is safe only while a page has the oldest records from there on, and all of one moment fit on one:
//
// A page that is full of one moment, so that nothing is known of what lies behind it, is asked for with a larger size. Where the
// order is not promised, or not kept, a full page may have left out any record: less time is asked for, until a page is not full and
// has all there is. A page may also be full that is shorter than asked for, if the service shows no more at once: one that is as
// long as any other is not believed until that is ruled out. Where none of it helps nothing is passed: it is an error.
type timed struct {
	at       time.Time // from where the next page is asked for; zero: where the range begins
	end      time.Time // until where; zero: where the range ends
	until    time.Time // where the range ends
	full     int       // a page of this size was full of one moment
	moment   time.Time // this one
	tooLarge int       // a page of this size was larger than may be
	why      error     // said so
	most     int       // records on the largest page so far
	doubt    doubt
	back     time.Time // from where the page in doubt was asked for
	backEnd  time.Time
	doubted  int // its records
}

// doubt is about a page that may be shorter than asked for because the service shows no more at once.
type doubt int

const (
	noDoubt doubt = iota
	behind        // it is asked whether there is anything behind
	more          // there is: it is asked for both
)

// few records are no reason for doubt: no service is that narrow.
const few = 10

// begin is from where a page is asked for, of a range that begins at from.
func (p *pager) begin(from time.Time) time.Time {
	if p.at.IsZero() {
		return from
	}
	return p.at
}

// shrink asks for fewer records after an answer that was too large. It returns false where that does not help.
func (p *pager) shrink(why error) bool {
	switch p.cfg.Type {
	case PageTime, PageMarker, PageOffset, PageToken:
	default:
		return false // pages would be numbered anew, or what is left out would not be asked for
	}
	if !p.sized {
		return false
	}
	p.tooLarge, p.why = p.size, why
	smaller := max(p.size/4, 1)
	if p.full > 0 {
		smaller = (p.full + p.size) / 2
	}
	if smaller >= p.size || smaller <= p.full {
		return false
	}
	p.size = smaller
	return true
}

// look decides whether an answer of type time can be taken; again, if not empty, says why it is dropped and asked for in another
// way: "size" for more records, "part" for another part of the time. The records are put in order.
func (p *pager) look(a *answer) (again string, err error) {
	if p.cfg.Type != PageTime {
		return "", nil
	}
	n := a.page.Listed
	ordered, newest := p.sort(a.items)
	moves := newest.Truncate(p.step).After(p.at.Truncate(p.step))
	if p.doubt != noDoubt {
		return "part", p.rule(n, newest)
	}
	p.trusted = p.trusted && ordered
	full := n >= p.size && n > 0
	doubtful := n >= p.most && n >= few
	p.most = max(p.most, n)
	switch {
	case (full || doubtful) && !p.trusted && p.narrow(a.items):
		return "part", p.count()
	case full && p.trusted && moves:
		return "", nil
	case full && newest.IsZero():
		return "", wrongPaging("page %d is full, and no record of it has a time from which to go on", p.pages+1)
	case full && moves && !p.bounded:
		return "", wrongPaging("page %d is full, and its records come in no order, so that some may be left out; with cursor.send.until "+
			"less could be asked for at once", p.pages+1)
	case full:
		return "size", p.grow(a.items)
	case doubtful && !newest.IsZero() && (!p.trusted || !moves):
		if behindIt := newest.Truncate(p.step).Add(p.step); behindIt.Before(p.until) {
			p.doubt, p.doubted, p.moment, p.back, p.backEnd = behind, n, newest, p.at, p.end
			p.at, p.end = behindIt, time.Time{}
			return "part", p.count()
		}
	}
	return "", nil
}

// rule rules out that a page in doubt left something out, or finds that it did, by an answer about what lies behind it.
func (p *pager) rule(n int, newest time.Time) error {
	// Where it is asked for a step more, to be sure, what is not behind shows too.
	if p.doubt == behind && !newest.Before(p.at) {
		// Asked for with it, the page must be longer.
		p.doubt, p.at, p.size = more, p.back, max(p.size, min(2*p.doubted, p.cfg.MaxSize))
		return p.count()
	}
	if p.doubt == more && n <= p.doubted {
		return wrongPaging("asked for %d records from %s on, the service shows %d, and there are more behind %s: it shows no more at "+
			"once, and there is no way to ask for the rest", p.size, shown(p.begin(newest)), n, shown(p.moment))
	}
	p.most = max(p.most, n, p.doubted+1)
	p.doubt, p.at, p.end = noDoubt, p.back, p.backEnd
	return p.count()
}

// count counts a page that was not taken.
func (p *pager) count() error {
	if p.pages++; p.pages >= p.cfg.MaxPages {
		return wrongPaging("there are more than %d pages (max_pages)", p.cfg.MaxPages)
	}
	return nil
}

// sort puts records in the order of their times, and tells whether they came so. One without a time stays behind the one before it.
func (p *pager) sort(items []item) (ordered bool, newest time.Time) {
	type placed struct {
		item
		at time.Time
	}
	all := make([]placed, len(items))
	var before time.Time
	ordered = true
	for i, r := range items {
		if when := r.raw.Time; !when.IsZero() {
			ordered = ordered && !when.Truncate(p.step).Before(before.Truncate(p.step))
			before = when
			if when.After(newest) {
				newest = when
			}
		}
		all[i] = placed{r, before}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return a.at.Compare(b.at) })
	for i := range all {
		items[i] = all[i].item
	}
	return ordered, newest
}

// narrow asks for less time: up to the middle of the records that came, or as near to it as their times allow.
func (p *pager) narrow(items []item) bool {
	if !p.bounded {
		return false
	}
	least := p.at.Truncate(p.step)
	up, down := len(items)/2, len(items)/2
	for ; up < len(items) || down >= 0; up, down = up+1, down-1 {
		for _, i := range []int{down, up} {
			if i < 0 || i >= len(items) {
				continue
			}
			if end := items[i].raw.Time.Truncate(p.step); end.After(least) && (p.end.IsZero() || end.Before(p.end)) {
				p.end = end
				return true
			}
		}
	}
	return false
}

// grow asks for more records, because a page is full of one moment.
func (p *pager) grow(items []item) error {
	p.full, p.moment = max(p.full, p.size), items[len(items)-1].raw.Time
	larger := min(4*p.size, p.cfg.MaxSize)
	if p.tooLarge > 0 {
		larger = min(larger, (p.full+p.tooLarge)/2)
	}
	switch {
	case larger > p.full:
		p.size = larger
		return p.count()
	case p.tooLarge > 0:
		return p.tooMany(p.why)
	default:
		return wrongPaging("a page of %d records, the most that may be asked for (see %s), ends within the time %s: there is no way to "+
			"ask for those behind it", p.full, p.limit, shown(p.moment))
	}
}

// tooMany is the error where an answer is larger than may be that would have all records of one moment.
func (p *pager) tooMany(err error) error {
	return wrongPaging("a page of %d records ends within the time %s, and with more of them %w", p.full, shown(p.moment), err)
}

// followTime goes on from the newest record of a page that was taken; done says that there is nothing more.
func (p *pager) followTime(a *answer, fresh int) (done bool) {
	newest := time.Time{}
	for _, r := range a.items {
		newest = later(newest, r.raw.Time)
	}
	p.full, p.tooLarge, p.why = 0, 0, nil
	switch {
	case !p.end.IsZero() && a.page.Listed < p.size:
		// All of a part was read. The next one is twice as long.
		var end time.Time
		if twice := p.end.Add(2 * p.end.Sub(p.at)); !p.at.IsZero() && twice.Before(p.until) {
			end = twice
		}
		p.at, p.end = p.end, end
		return false
	case fresh > 0 && newest.Truncate(p.step).After(p.at.Truncate(p.step)):
		p.at = newest
		return false
	}
	return true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func shown(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }
