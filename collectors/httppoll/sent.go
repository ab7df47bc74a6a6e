package httppoll

import (
	"regexp"
)

// validateSent looks whether what leads to the next page gets into the request at all: else every page would be the first.
func (c Config) validateSent(ps *problems) {
	page := c.Pagination
	switch page.Type {
	case PageNumber, PageOffset, PageToken, PageMarker:
		if page.Send.In == "none" && !c.Request.mentions("page") {
			ps.add("pagination.send.in", "is none, and no text of the request has {{ page }}: every page would be the first")
		}
	}
}

// doubtSent looks whether a cursor that is no time gets into the request.
func (c Config) doubtSent(ps *problems) {
	cur := c.Cursor
	sent := cur.Send.In == sendURL || cur.Send.In != "none" && cur.Send.Name != "" || c.Request.mentions("cursor")
	if sent || cur.Type != CursorInteger && cur.Type != CursorToken {
		return
	}
	ps.add("cursor.send.name", "is missing, and no text of the request has {{ cursor }}: the service is asked for everything each time")
}

// mentions tells whether an expression in a text of the request has a variable in it.
func (r Request) mentions(variable string) bool {
	expression := regexp.MustCompile(`(?s)\{\{[^{}]*\b` + variable + `\b.*?\}\}`)
	if expression.MatchString(r.URL) || expression.MatchString(r.Body) {
		return true
	}
	for _, values := range r.Query {
		for _, value := range values {
			if expression.MatchString(value) {
				return true
			}
		}
	}
	for _, value := range r.Headers {
		if expression.MatchString(value) {
			return true
		}
	}
	return false
}
