package httppoll

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"stackstream/internal/timeform"
)

// Doubts returns what may lose or repeat events, or never ends, though it is no mistake: each with the reason, and what would
// mend it.
func (c Config) Doubts() []Problem {
	var ps problems
	cur, page := c.Cursor, c.Pagination
	if c.Event.ID == "" {
		ps.add("event.id", "is missing, so that a hash of the whole record identifies an event: two that are alike in everything are "+
			"taken for one, and one that changes (a counter, a state) for two; name the field that identifies it")
	}
	paged := page.Type == PageNumber || page.Type == PageOffset
	switch {
	case paged && cur.Order != "ascending" && cur.Type != CursorTime:
		ps.add("pagination.type", "counts pages of a list that grows at its beginning while it is read: records move to the next page, "+
			"and one that is removed meanwhile moves another out of sight; a marker, a token or cursor.type: time does not have that")
	case paged && cur.Type == CursorTime && !c.bounded() && cur.Order != "ascending":
		ps.add("pagination.type", "counts pages of a list that grows while it is read; name what takes the end of the range, "+
			"cursor.send.until, so that it does not grow")
	}
	if cur.Type == CursorTime {
		c.doubtTime(&ps)
	}
	c.doubtSent(&ps)
	c.doubtOrder(&ps)
	c.doubtMemory(&ps)
	c.doubtStatuses(&ps)
	if cur.Type == CursorToken && page.Type == PageNone {
		ps.add("pagination.type", "is not set: each run reads one page behind the token, and if more comes than that has it falls "+
			"behind for good; pagination.type: token with the same expression reads on")
	}
	if page.Type == PageNone && cur.Type == CursorNone {
		ps.add("pagination", "is missing and so is the cursor: what the service no longer shows in one answer when it is asked next is "+
			"missed; ask often, or name how to go on")
	}
	return ps
}

func (c Config) doubtTime(ps *problems) {
	cur := c.Cursor
	asked := cur.Send.Name != "" || strings.Contains(c.requestText(), "from")
	if !asked && (cur.Order != "descending" || c.Pagination.Type == PageNone) {
		ps.add("cursor.send.name", "is missing, and no text of the request has {{ from }}: the service is asked for everything each time")
	}
	if cur.Order != "ascending" && cur.Window == 0 && cur.Start.text == "" && c.Pagination.Type != PageTime {
		ps.add("cursor.window", "is not set, nor is start: the first run reads all there is, and since records do not come in order "+
			"it counts only when it is over: each restart meanwhile begins again; set a window, which needs send.until, or a start")
	}
	if cur.Overlap == 0 && cur.Settle == 0 {
		ps.add("cursor.overlap", "is 0, and so is settle: a record that shows after a newer one is missed; say how late one may show")
	}
	if repeats := slices.ContainsFunc(append(timeform.Forms{cur.Send.Format}, cur.Format...), timeform.Form.Repeats); repeats &&
		cur.Overlap < 2*time.Hour {
		ps.add("cursor.format", "is of a zone that sets its clocks back in autumn: what it shows in that hour means two moments, and the "+
			"earlier one is read; with an overlap of 2h nothing is missed")
	}
	if cur.Send.form(cur).Step() >= time.Second && cur.Boundary == "exclusive" && cur.Overlap < 2*time.Second {
		ps.add("cursor.boundary", "is exclusive, and the time is sent in steps of %s: records of the same moment as the last one are "+
			"asked for again, one step earlier, which overlap should cover", cur.Send.form(cur).Step())
	}
	if c.Event.Time != "" && cur.Field != "" && c.Event.Time != "rec."+cur.Field {
		ps.add("event.time", "is not the field of the cursor (%s): what is asked for goes by another time than the event", cur.Field)
	}
	field, sent := meaning(cur.Field), meaning(cur.Send.Name)
	if field != "" && sent != "" && field != sent {
		ps.add("cursor.send.name", "is %q, which sounds like when a record was %s, and cursor.field %q like when it was %s: what "+
			"was asked for by the one is passed by the other, and records are missed; both must be the same time", cur.Send.Name, sent,
			cur.Field, field)
	}
	if field == changed && c.Event.ID != "" && !strings.Contains(c.Event.ID, cur.Field) {
		ps.add("event.id", "does not have the field of the cursor (%s), which sounds like when a record was changed: one that "+
			"changes comes again under an identity that is known, and is left out; if each change is an event, add it: "+
			"rec.id + \"/\" + rec.%s",
			cur.Field, cur.Field)
	}
	if cur.Send.Until != "" && c.Records.OnMissing == "empty" {
		ps.add("records.on_missing", "is empty, and both bounds are sent: an error that comes with 200 and without %s is taken for "+
			"nothing, and the range is passed; leave it at error if the service has a list that is empty", cmp.Or(c.Records.Path, "a list"))
	}
}

// requestText is all that the request is written of.
func (c Config) requestText() string {
	text := c.Request.URL + " " + c.Request.Body
	for _, values := range c.Request.Query {
		text += " " + strings.Join(values, " ")
	}
	for _, value := range c.Request.Headers {
		text += " " + value
	}
	return text
}

const (
	created = "created"
	changed = "changed"
)

// meaning is what the name of a time says of it, "" if nothing.
func meaning(name string) string {
	name = strings.ToLower(name)
	for word, means := range map[string]string{"creat": created, "updat": changed, "modif": changed, "changed": changed} {
		if strings.Contains(name, word) {
			return means
		}
	}
	return ""
}

var newestFirst = regexp.MustCompile(
	`(?i)^(desc|descending|backwards?|newest(_first)?|.*[:\s,]desc|-(created|updated|timestamp|time|date|id|published).*)$`)

// doubtOrder looks for what asks for another order than is said.
func (c Config) doubtOrder(ps *problems) {
	if c.Cursor.Order != "ascending" || c.Cursor.Type == CursorNone {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.Request.Query)) {
		for _, value := range c.Request.Query[name] {
			if newestFirst.MatchString(value) {
				ps.add("cursor.order", "is ascending, and request.query.%s: %s asks for the newest first: the cursor moves with each "+
					"page, and if one fails the older ones behind it are missed; ask for the oldest first, or say descending", name, value)
				return
			}
		}
	}
}

// doubtMemory looks for repeats that would not be known any more.
func (c Config) doubtMemory(ps *problems) {
	if reach := c.Cursor.Overlap + c.Cursor.Settle; c.Cursor.Type == CursorTime && reach > 24*time.Hour {
		ps.add("cursor.overlap", "reads back %s, with settle: what is read back is known again only as long as the raw stream has it, so "+
			"that must keep events for longer; else they come twice", reach)
	}
	shown := c.Pagination.Size * c.Pagination.MaxPages
	if c.Pagination.Type == PageNone {
		shown = c.Pagination.Size
	}
	switch {
	case c.Cursor.Type == CursorTime:
	case c.Cursor.Type == CursorNone && c.Remember < max(shown, 1):
		ps.add("remember", "is %d: each run reads all that the service shows, up to %d by pagination, and what is behind the last %d "+
			"comes twice; make it as large as that", c.Remember, max(shown, 1), c.Remember)
	case c.Remember == 0 && c.Cursor.Boundary == "inclusive":
		ps.add("remember", "is 0, and cursor.boundary is inclusive: the last record is shown again by each run, and comes twice")
	}
}

// doubtStatuses looks for outages that would be taken for answers.
func (c Config) doubtStatuses(ps *problems) {
	for _, keys := range slices.Sorted(maps.Keys(c.Retry.On)) {
		switch action := c.Retry.On[keys]; {
		case action == actionEmpty && outageStatus.MatchString(keys):
			ps.add("retry.on."+keys, "is taken for nothing: while the service is out of order, or does not let us in, what it has "+
				"is passed; retry or fail leaves the cursor where it is")
		case action == actionReset && c.Cursor.Start.now && c.Cursor.Start.ago == 0:
			ps.add("retry.on."+keys, "begins again at cursor.start, which is now: what came since the last run is missed; a start like "+
				"now-24h is read again, and what is known is left out")
		}
	}
	for _, keys := range slices.Sorted(maps.Keys(c.Detail.On)) {
		if outageStatus.MatchString(keys) {
			ps.add("detail.on."+keys, "keeps records without their detail while the service is out of order, or does not let us in, and "+
				"that stays so; leave it out, so that they wait")
		}
	}
}

var outageStatus = regexp.MustCompile(`\b(5xx|5[0-9][0-9]|4xx|401|403|408|429)\b`)
