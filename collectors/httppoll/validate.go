package httppoll

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"stackstream/internal/records"
	"stackstream/internal/setting"
)

const (
	minMaxBody = 64 << 10
	maxMaxBody = 1 << 30
	maxOverlap = 7 * 24 * time.Hour
	maxRecall  = 10_000_000
)

// Validate returns every mistake that shows without reading a file or asking anybody.
func (c Config) Validate() []Problem {
	_, found := c.prepare()
	return found
}

// prepare is Validate, and returns the compiled expressions.
func (c Config) prepare() (*programs, []Problem) {
	var ps problems
	for _, p := range setting.Check(c) {
		ps.add(p.Field, "%s", p.Msg)
	}
	c.Schedule.validate(&ps)
	c.Request.validate(&ps)
	c.Auth.validate(&ps)
	c.Records.validate(&ps)
	c.Cursor.validate(&ps, c.bounded())
	c.validateResume(&ps)
	c.Pagination.validate(&ps, "pagination")
	c.validateSent(&ps)
	c.Detail.validate(&ps)
	c.Detail.listed(&ps, c.Event.ID, c.Records.Filter, c.Cursor.Field, c.Records.Expand)
	c.Partitions.validate(&ps)
	c.RateLimit.validate(&ps)
	c.Retry.validate(&ps)
	if c.Remember < 0 || c.Remember > maxRecall {
		ps.add("remember", "must be from 0 to %d", maxRecall)
	}
	c.EventTypes.Problems(func(field, message string) { ps.add("event_types."+field, "%s", message) })
	c.validateTimePages(&ps)
	programs, mistakes := c.compile()
	return programs, append(ps, mistakes...)
}

func (c Schedule) validate(ps *problems) {
	if c.Every <= 0 {
		ps.add("schedule.every", "must be more than 0")
	}
	if c.Jitter < 0 {
		ps.add("schedule.jitter", "must not be negative")
	}
	if c.MaxRun <= 0 {
		ps.add("schedule.max_run", "must be more than 0")
	}
}

func (c Request) validate(ps *problems) {
	ps.address("request.url", c.URL)
	if c.Body != "" && c.Method != http.MethodPost {
		ps.add("request.body", "is for the method POST")
	}
	if err := c.Charset.Check(); err != nil {
		ps.add("request.charset", "%s", err)
	}
	one := utf8.RuneCountInString(c.Delimiter) == 1 && !strings.ContainsAny(c.Delimiter, "\"\r\n")
	if c.Delimiter != "" && (c.Decode != records.CSV || !one) {
		ps.add("request.delimiter", "is one character, for decode: csv")
	}
	if c.MaxBody < minMaxBody || c.MaxBody > maxMaxBody {
		ps.add("request.max_body", "must be from 64KiB to 1GiB")
	}
	for _, p := range c.HTTP.Validate() {
		ps.add("request."+p.Field, "%s", p.Msg)
	}
}

var between = regexp.MustCompile(`\{\{.*?\}\}`)

func (c Records) validate(ps *problems) {
	ps.path("records.path", c.Path)
	if c.Key != "" && c.Shape != records.Values {
		ps.add("records.key", "is for shape: values")
	}
	for i, path := range c.Expand {
		field := "records.expand[" + strconv.Itoa(i) + "]"
		if ps.path(field, path); path == "" {
			ps.add(field, "is empty")
		}
	}
	if c.Parent != "" && len(c.Expand) == 0 {
		ps.add("records.parent", "is for records.expand")
	}
}

func (ps *problems) path(field, path string) {
	names := strings.Split(path, ".")
	if path != "" && (slices.Contains(names, "") || names[0] == "$" || strings.ContainsAny(path, "[]*")) {
		ps.add(field, "%q is no path of names with dots between them, like data.events", path)
	}
}

func (c Cursor) validate(ps *problems, bounded bool) {
	ps.path("cursor.field", c.Field)
	for i, form := range c.Format {
		if err := form.Check(); err != nil {
			ps.add("cursor.format["+strconv.Itoa(i)+"]", "%s", err)
		}
	}
	if c.Send.In == sendURL && c.Type != CursorToken {
		ps.add("cursor.send.in", "is url, for a token that is an address: cursor.type: token")
	}
	if c.Send.Format != "" {
		if err := c.Send.Format.Check(); err != nil {
			ps.add("cursor.send.format", "%s", err)
		}
	}
	field := c.Type == CursorTime || c.Type == CursorInteger
	if field && c.Field == "" && c.Value == "" && (c.Type != CursorTime || !bounded) {
		ps.add("cursor.field", "is missing: where a record has its time or number (a time that no record says needs the end of a range, "+
			"send.until or {{ until }})")
	}
	if c.Field != "" && c.Value != "" {
		ps.add("cursor.value", "can't be set together with field")
	}
	if c.Type == CursorToken && c.Token == "" {
		ps.add("cursor.token", "is missing: an expression for the next token, like body.next")
	}
	if c.Overlap < 0 || c.Overlap > maxOverlap {
		ps.add("cursor.overlap", "must be from 0 to %s", maxOverlap)
	}
	if c.Settle < 0 || c.Settle > maxOverlap {
		ps.add("cursor.settle", "must be from 0 to %s", maxOverlap)
	}
	if c.Window < 0 {
		ps.add("cursor.window", "must not be negative")
	}
	if !slices.Contains(setting.WordsOf[Cursor]("Type"), c.Type) { // what belongs to which type is not known then
		return
	}
	if c.Type == CursorTime {
		if c.Window > 0 && !bounded {
			ps.add("cursor.window", "needs send.until, the name that takes the end of what is asked for "+
				"(or {{ until }} in a text of the request)")
		}
		if step := c.Send.form(c).Step(); c.Window > 0 && c.Window < c.Overlap+2*step {
			ps.add("cursor.window", "must be more than overlap by at least two steps of the time that is sent, which are of %s: windows "+
				"overlap, too", step)
		}
		if c.Start.number != nil {
			ps.add("cursor.start", "is a number, and the cursor is a time")
		}
		return
	}
	set := map[string]bool{
		"overlap": c.Overlap > 0, "settle": c.Settle > 0, "window": c.Window > 0, "format": len(c.Format) > 0,
		"send.until": c.Send.Until != "",
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] {
			ps.add("cursor."+name, "is for cursor.type: time")
		}
	}
	if c.Type == CursorNone {
		for _, s := range []struct{ name, value string }{
			{"field", c.Field}, {"value", c.Value}, {"token", c.Token}, {"send.name", c.Send.Name},
		} {
			if s.value != "" {
				ps.add("cursor."+s.name, "is for another cursor.type than none, which it is where nothing else is said")
			}
		}
	}
	if c.Start.text != "" && (c.Type != CursorInteger || c.Start.number == nil) {
		ps.add("cursor.start", "is a time or a number where cursor.type is one, and it is %s", c.Type)
	}
}

func (c Pagination) validate(ps *problems, at string) {
	if c.Send.In == sendURL {
		ps.add(at+".send.in", "is url, which is for cursor.send; pages whose address the service gives are type: next_url or link_header")
	}
	if c.SendSize != "" && c.Size <= 0 {
		ps.add(at+".size", "is missing: the number that send_size sends")
	}
	if c.Stop == stopShort && c.Size <= 0 {
		ps.add(at+".size", "is missing: stop: short_page has to know how many records a full page has")
	}
	if c.MaxPages < 1 {
		ps.add(at+".max_pages", "must be at least 1")
	}
	if !slices.Contains(setting.WordsOf[Pagination]("Type"), c.Type) {
		return
	}
	switch c.Type {
	case PageNumber, PageOffset, PageToken, PageMarker:
		if c.Send.Name == "" && c.Send.In != "none" {
			ps.add(at+".send.name", "is missing: the name that takes the %s", c.Type)
		}
	}
	needs := c.Type == PageToken || c.Type == PageURL || c.Type == PageMarker
	switch {
	case needs && c.From == "":
		ps.add(at+".from", "is missing: an expression for the %s, like body.next or last.id", c.Type)
	case !needs && c.From != "":
		ps.add(at+".from", "is for type: token, next_url or marker")
	}
}

// validateTimePages checks what pagination.type: time needs.
func (c Config) validateTimePages(ps *problems) {
	page := c.Pagination
	if page.Type != PageTime {
		return
	}
	if c.Cursor.Type != CursorTime {
		ps.add("pagination.type", "time asks for the next page by the time of the last record, and needs cursor.type: time")
	} else if c.Cursor.Order != "ascending" && c.Cursor.Send.Until == "" {
		ps.add("cursor.send.until", "is missing: where records come in no order a page that is full may have left out any, and less time "+
			"is asked for then (or say cursor.order: ascending, if that is promised)")
	}
	if !c.sendsSize() {
		ps.add("pagination.send_size", "is missing: the name that takes the size of a page, so that one that is full of one moment can be "+
			"asked for with a larger size (or write {{page_size}} in a text of the request)")
	}
	switch {
	case page.Size <= 0 && page.SendSize == "":
		ps.add("pagination.size", "is missing: type: time has to know how many records a full page has")
	case page.Size > 0 && page.MaxSize < page.Size:
		ps.add("pagination.max_size", "must be at least size, %d", page.Size)
	}
}

// sendsSize tells whether the service is told how many records a page may have.
func (c Config) sendsSize() bool {
	return c.Pagination.SendSize != "" || strings.Contains(c.requestText(), "page_size")
}

// sendSize is where the size of a page goes.
func (c Pagination) sendSize() Send { return Send{In: c.Send.In, Name: c.SendSize} }

var statuses = regexp.MustCompile(`^[1-5](xx|[0-9][0-9])$`)

func (c Retry) validate(ps *problems) {
	if c.Max < 0 {
		ps.add("retry.max", "must not be negative")
	}
	for _, keys := range slices.Sorted(maps.Keys(c.On)) {
		ps.statuses("retry.on."+keys, keys)
	}
	c.validateAnswers(ps)
}
