package author

import (
	"reflect"

	"stackstream/collectors/httppoll"
	"stackstream/internal/records"
)

// The faults.
const (
	faultTwice     = "page twice"
	faultDoubled   = "record on two pages"
	faultCut       = "answer cut short"
	faultHTML      = "login page with 200"
	fault500       = "500"
	faultDown      = "connection lost, six times"
	fault429       = "429, Retry-After in seconds"
	fault429Long   = "429 four times, Retry-After"
	fault429Date   = "429, Retry-After as a date"
	fault401       = "401"
	faultBack      = "leads back"
	faultKilled    = "killed"
	faultReordered = "reordered"
	faultLate      = "late record"
)

// kind is a kind of fault.
type kind struct {
	name string
	// request says that it happens to requests.
	request bool
	times   int
	// fits tells whether it may happen to a request.
	fits func(c httppoll.Config, a asking) bool
	// why, if not empty, is why it is not injected at all.
	why func(c httppoll.Config) string
}

func kinds() []*kind {
	any := func(httppoll.Config, asking) bool { return true }
	asks := func(_ httppoll.Config, a asking) bool { return !a.login }
	further := func(_ httppoll.Config, a asking) bool { return a.page && a.asked.Page > 0 && len(a.before.units) > 0 }
	paged := func(c httppoll.Config) string {
		if c.Pagination.Type == httppoll.PageNone {
			return "pagination.type is none"
		}
		return ""
	}
	return []*kind{
		{name: faultTwice, request: true, fits: further, why: paged},
		{name: faultDoubled, request: true, why: paged, fits: func(c httppoll.Config, a asking) bool {
			return further(c, a) && !a.sheet.like.split.Fixed
		}},
		{name: faultBack, request: true, why: leadsBack, fits: func(c httppoll.Config, a asking) bool {
			return a.page && a.asked.Page > 0 && len(a.chain.pages) > 1 && !a.chain.pages[0].split.Fixed && a.sheet.like.index > 0
		}},
		{name: faultCut, request: true, fits: func(_ httppoll.Config, a asking) bool {
			return !a.login && (!a.page || len(a.sheet.like.body) > 1)
		}},
		{name: faultHTML, request: true, fits: asks},
		{name: fault500, request: true, fits: any},
		{name: faultDown, request: true, times: 6, fits: any},
		{name: fault429, request: true, fits: any},
		{name: fault429Long, request: true, times: 4, fits: any},
		{name: fault429Date, request: true, fits: any},
		{name: fault401, request: true, fits: asks, why: func(c httppoll.Config) string {
			if reflect.ValueOf(c.Auth).IsZero() {
				return "auth is not set"
			}
			return ""
		}},
		{name: faultKilled, request: true, fits: any},
		{name: faultReordered, why: func(c httppoll.Config) string {
			if c.Cursor.Order == "ascending" {
				return "not promised: cursor.order is ascending"
			}
			return ""
		}},
		{name: faultLate, why: func(c httppoll.Config) string {
			if c.Request.Decode == records.JSON && c.Records.Shape == records.One {
				return "the answer is the record"
			}
			return ""
		}},
	}
}

func leadsBack(c httppoll.Config) string {
	switch c.Pagination.Type {
	case httppoll.PageToken, httppoll.PageURL, httppoll.PageLink:
		return ""
	}
	return "pagination.type is " + c.Pagination.Type + ": no page says what follows"
}
