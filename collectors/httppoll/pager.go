package httppoll

import (
	"cmp"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"stackstream/event"
	"stackstream/internal/expr"
)

// pager goes from page to page of one range.
type pager struct {
	cfg    Pagination
	from   *expr.Program
	more   *expr.Program
	number int    // of the next page, or the offset
	token  string // token, marker or URL of the next page; "" on the first
	asked  map[string]bool
	known  map[event.ID]bool // identities on the page before
	pages  int

	size    int    // of the next page, 0 where nobody says
	sized   bool   // the service is told
	limit   string // the setting that bounds it
	bounded bool   // the service is told where a range ends
	trusted bool   // records come in ascending order
	step    time.Duration
	timed
}

// restart begins again with the first page.
func (p *pager) restart() {
	p.number, p.token, p.asked, p.known, p.pages = p.cfg.First, "", map[string]bool{}, nil, 0
	if p.cfg.Type == PageOffset {
		p.number = 0
	}
	p.size, p.timed = p.cfg.Size, timed{}
}

// value is what Send sends with the next request, "" for nothing; address is the whole URL where the service gave one.
func (p *pager) value() (value, address string) {
	switch p.cfg.Type {
	case PageNumber, PageOffset:
		return strconv.Itoa(p.number), ""
	case PageToken, PageMarker:
		return p.token, ""
	case PageURL, PageLink:
		return "", p.token
	}
	return "", ""
}

// next goes to the page behind an answer whose records have the identities ids; done says that there is none. An answer that
// leads nowhere new is an error: the service repeats itself, and what it does not show would be missed.
func (p *pager) next(a *answer, ids []event.ID) (done bool, err error) {
	p.pages++
	if a.nothing {
		return true, nil
	}
	fresh, page := 0, make(map[event.ID]bool, len(ids))
	for _, id := range ids {
		if !p.known[id] {
			fresh++
		}
		page[id] = true
	}
	// In a list that grew by one at its beginning the last record of a page is the first of the next, and may be all of it: only a
	// page that is the one before it leads nowhere.
	repeats := len(ids) > 0 && fresh == 0 && len(page) == len(p.known)
	p.known = page
	asked := p.token
	if p.cfg.Type == PageTime {
		done, repeats = p.followTime(a, fresh), false
	} else {
		done, err = p.follow(a, a.page.Listed)
	}
	p.size = min(p.cfg.Size, 2*p.size)
	switch {
	case err != nil || done:
		return done, err
	case repeats && p.cfg.Type == PageMarker:
		return false, wrongPaging("the page after marker %s has no event that was not on the one before it", asked)
	case repeats:
		return false, wrongPaging("page %d has no record that was not on the page before it", p.pages)
	case p.pages >= p.cfg.MaxPages:
		return false, wrongPaging("there are more than %d pages (max_pages)", p.cfg.MaxPages)
	}
	return false, nil
}

// follow finds the next page behind an answer that lists n records.
func (p *pager) follow(a *answer, n int) (done bool, err error) {
	if p.more != nil {
		val, err := p.more.Eval(a.vars())
		if err != nil {
			return false, wrongPaging("pagination.more: %w", err)
		}
		more, err := val.Bool()
		if err != nil {
			return false, wrongPaging("pagination.more: %w", err)
		}
		if !more {
			return true, nil
		}
	}
	counts := p.cfg.Type == PageNumber || p.cfg.Type == PageOffset || p.cfg.Type == PageMarker
	switch p.cfg.Stop {
	case "":
		if counts && p.more == nil && n == 0 {
			return true, nil
		}
	case stopEmpty:
		if n == 0 {
			return true, nil
		}
	case stopShort:
		if n < p.size {
			return true, nil
		}
	}
	switch p.cfg.Type {
	case PageNone:
		return true, nil
	case PageNumber, PageOffset:
		if p.cfg.Type == PageOffset {
			p.number += n
		} else {
			p.number++
		}
		if n == 0 {
			return false, wrongPaging("page %d is empty, and pagination.more says that there are more", p.pages)
		}
		return false, nil
	case PageLink:
		p.token = nextLink(a.header)
	default:
		if p.from == nil {
			p.token = ""
			for _, r := range a.items {
				p.token = cmp.Or(r.marker, p.token)
			}
			if p.token == "" && n < p.size {
				return true, nil // no more can be asked for, and none was left out
			}
			break
		}
		val, err := p.from.Eval(a.vars())
		if err != nil {
			return false, wrongPaging("pagination.from: %w", err)
		}
		if p.token, err = val.Text(); err != nil {
			return false, wrongPaging("pagination.from: %w", err)
		}
	}
	return p.leads(a)
}

// leads checks where the token leads that was just found.
func (p *pager) leads(a *answer) (done bool, err error) {
	switch {
	case p.token == "" && p.cfg.Type == PageMarker && p.from == nil:
		return false, wrongPaging("the events have no message_id, so that there is no way to ask for those behind them")
	case p.token == "" && p.cfg.Type == PageMarker:
		return false, wrongPaging("the last record of page %d has no marker, so that there is no way to ask for those behind it", p.pages)
	case p.token == "" && p.more != nil:
		return false, wrongPaging("page %d has nothing that leads to the next, and pagination.more says that there is one", p.pages)
	case p.token == "":
		return true, nil
	}
	if p.cfg.Type == PageURL || p.cfg.Type == PageLink {
		next, err := a.url.Parse(p.token)
		if err != nil {
			return false, wrongPaging("page %d leads to what is no URL", p.pages)
		}
		if !sameOrigin(a.url, next) {
			return false, wrongPaging("page %d leads to another host, %s, which is not asked", p.pages, next.Host)
		}
		p.token = next.String()
	}
	switch {
	case p.asked[p.token] && p.cfg.Type == PageMarker:
		return false, wrongPaging("the page after marker %s ends with the same event as one before it", p.token)
	case p.asked[p.token]:
		return false, wrongPaging("page %d leads back to one that was read already", p.pages)
	}
	p.asked[p.token] = true
	return false, nil
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// nextLink is the address of rel="next" in the headers named Link, "" if there is none.
func nextLink(h http.Header) string {
	for target, rels := range eachLink(h) {
		for _, rel := range rels {
			if strings.EqualFold(rel, "next") {
				return target
			}
		}
	}
	return ""
}

// eachLink goes through the addresses in the headers named Link (RFC 8288), each with its relations.
func eachLink(h http.Header) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for _, value := range h.Values("Link") {
			for value != "" {
				open := strings.IndexByte(value, '<')
				if open < 0 {
					break
				}
				target, rest, ok := strings.Cut(value[open+1:], ">")
				if !ok {
					break
				}
				var params string
				params, value = cutParams(rest)
				var rels []string
				for param := range strings.SplitSeq(params, ";") {
					if name, v, _ := strings.Cut(param, "="); strings.EqualFold(strings.TrimSpace(name), "rel") {
						rels = append(rels, strings.Fields(strings.Trim(strings.TrimSpace(v), `"`))...)
					}
				}
				if !yield(strings.TrimSpace(target), rels) {
					return
				}
			}
		}
	}
}

// cutParams cuts the parameters of one link from what follows: a comma outside of quotes separates links.
func cutParams(s string) (params, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func wrongPaging(format string, args ...any) error {
	return &event.Error{Kind: event.Invalid, Op: "read page by page", Err: fmt.Errorf(format, args...)}
}
