package httppoll

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/rawjson"
	"stackstream/internal/records"
)

// Partitions are parts of the service that are read one by one, each with a cursor of its own. They are Values, or what a
// request lists.
type Partitions struct {
	// Values are the names of the parts.
	Values []string `yaml:"values"`
	// As is the name by which texts and expressions have the value: partition.region.
	As string `yaml:"as"`
	// Request is what is asked for a list of the parts, in place of values.
	Request PartitionRequest `yaml:"request"`
	// Path is where in the answer, which is JSON, the list is; empty: the answer is the list.
	Path string `yaml:"path"`
	// Shape is what is there: a list, or an object whose values are its elements.
	Shape records.Shape `yaml:"shape" words:"list,values"`
	// Pagination says how the list goes on, as that of the records.
	Pagination Pagination `yaml:"pagination"`
	// Value is an expression for the value, of rec, an element of the list.
	Value string `yaml:"value"`
	// Where is an expression of rec: only elements for which it is true are meant.
	Where string `yaml:"where"`
	// Every is how often the list is read again. A part that is new begins at cursor.start.
	Every time.Duration `yaml:"every"`
	// AllowEmpty says that the list may be empty; else that is an error.
	AllowEmpty bool `yaml:"allow_empty"`
	// Forget is how long a partition that is no longer listed keeps its cursor.
	Forget time.Duration `yaml:"forget"`
	// Concurrency is how many are read at once.
	Concurrency int `yaml:"concurrency"`
}

// PartitionRequest is what is asked for the list of partitions.
type PartitionRequest struct {
	// URL is the address.
	URL string `yaml:"url"`
	// Method is POST for services that are asked by a body.
	Method string `yaml:"method" words:"GET,POST"`
	// Query has the parameters of the query; each may have a list of values.
	Query map[string][]string `yaml:"query"`
	// Headers has headers to send.
	Headers map[string]string `yaml:"headers"`
	// Body is what is sent where the method is POST.
	Body string `yaml:"body"`
}

const minForget = 24 * time.Hour

func defaultPartitions() Partitions {
	return Partitions{
		As: "partition", Request: PartitionRequest{Method: http.MethodGet}, Shape: records.List,
		Pagination: defaultPagination(),
		Every:      10 * time.Minute, Forget: 30 * 24 * time.Hour, Concurrency: 1,
	}
}

// listed tells whether a request lists the partitions.
func (c Partitions) listed() bool { return c.Request.URL != "" }

var partitionName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (c Partitions) validate(ps *problems) {
	if !partitionName.MatchString(c.As) {
		ps.add("partitions.as", "%q is no name of small letters, digits and _", c.As)
	}
	if c.Concurrency < 1 || c.Concurrency > maxConcurrency {
		ps.add("partitions.concurrency", "must be from 1 to %d", maxConcurrency)
	}
	if c.Forget < minForget {
		ps.add("partitions.forget", "must be at least %s: a list that is wrong for a while must cost nothing", minForget)
	}
	if c.listed() {
		c.validateList(ps)
	} else if c.Path != "" || c.Value != "" || c.Where != "" || c.AllowEmpty || c.Request.Body != "" || len(c.Request.Query) > 0 ||
		len(c.Request.Headers) > 0 || c.Pagination.Type != PageNone {
		ps.add("partitions.request.url", "is missing: where the partitions are listed")
	}
	seen := map[string]bool{}
	for i, v := range c.Values {
		field := "partitions.values[" + strconv.Itoa(i) + "]"
		switch {
		case v == "":
			ps.add(field, "is empty")
		case seen[v]:
			ps.add(field, "%q is there twice", v)
		}
		seen[v] = true
	}
}

func (c Partitions) validateList(ps *problems) {
	const at = "partitions.request"
	if len(c.Values) > 0 {
		ps.add("partitions.values", "can't be set together with request")
	}
	ps.address(at+".url", c.Request.URL)
	if c.Request.Body != "" && c.Request.Method != http.MethodPost {
		ps.add(at+".body", "is for the method POST")
	}
	ps.path("partitions.path", c.Path)
	c.Pagination.validate(ps, "partitions.pagination")
	if c.Pagination.Type == PageTime {
		ps.add("partitions.pagination.type", "is time, which a list of partitions does not have")
	}
	if c.Value == "" {
		ps.add("partitions.value", "is missing: an expression for the value, of rec, an element of the list")
	}
	if c.Every <= 0 {
		ps.add("partitions.every", "must be more than 0")
	}
}

// partitions are the partitions to read: one that is called "" where there are none. A list is read again when its time has come;
// where that fails, so does the run: what is not known is not taken for nothing.
func (s *Source) partitions(ctx context.Context, now time.Time) ([]string, error) {
	c := s.cfg.Partitions
	switch {
	case !c.listed() && len(c.Values) == 0:
		return []string{""}, nil
	case !c.listed():
		return c.Values, nil
	case !s.listedAt.IsZero() && now.Sub(s.listedAt) < c.Every:
		return s.list, nil
	}
	list, err := s.readList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the partitions: %w", err)
	}
	if len(list) == 0 && !c.AllowEmpty {
		return nil, wrongList("the list is empty: that is taken for a mistake unless partitions.allow_empty is set")
	}
	s.list, s.listedAt = list, now
	return list, nil
}

// readList reads the list of partitions, page by page.
func (s *Source) readList(ctx context.Context) ([]string, error) {
	c := s.cfg.Partitions
	w := &walk{Source: s, ends: s.now(), free: true}
	p := pager{cfg: c.Pagination, from: s.programs.list.from, more: s.programs.list.more, sized: c.Pagination.SendSize != ""}
	p.restart()
	decoder := records.Decoder{Form: records.JSON, Path: steps(c.Path), Shape: c.Shape, Bound: s.cfg.Request.bound()}
	var all []string
	seen := map[string]bool{}
	for done := false; !done; {
		a, err := retrying(ctx, w, func() (*answer, error) { return s.askList(ctx, &p, decoder) })
		if err != nil {
			return nil, err
		}
		ids := make([]event.ID, 0, len(a.page.Records))
		for _, element := range a.page.Records {
			value, meant, err := s.element(element)
			if err != nil {
				return nil, err
			}
			ids = append(ids, event.ID(value))
			if meant && !seen[value] {
				seen[value] = true
				all = append(all, value)
			}
		}
		if done, err = p.next(a, ids); err != nil {
			return nil, err
		}
		if len(all) > maxPartitions {
			return nil, wrongList("there are more than %d of them (see partitions.where)", maxPartitions)
		}
	}
	return all, nil
}

// askList asks for one page of the list.
func (s *Source) askList(ctx context.Context, p *pager, decoder records.Decoder) (*answer, error) {
	resp, err := s.exchange(ctx, func() (*http.Request, error) {
		value, address := p.value()
		asked := asks(ctx, Asked{What: AskedList, Page: p.pages, Value: value + address})
		req, err := s.programs.list.write(asked, s.cfg.Partitions.Request.Method, address, expr.Vars{"page": value})
		if err != nil {
			return nil, err
		}
		setDefault(req.Header, "Accept", "application/json")
		setDefault(req.Header, "User-Agent", s.userAgent())
		if address == "" {
			query := req.URL.Query()
			send(req, query, s.cfg.Partitions.Pagination.Send, value)
			send(req, query, s.cfg.Partitions.Pagination.sendSize(), strconv.Itoa(p.size))
			req.URL.RawQuery = query.Encode()
		}
		return req, nil
	})
	if err != nil {
		return nil, err
	}
	defer drop(resp.Response)
	if !resp.success() || resp.StatusCode == http.StatusNoContent {
		return nil, s.refusal(resp)
	}
	a, err := s.takeIn(resp.Response, decoder)
	if err == nil && p.cfg.Type == PageNone && nextLink(resp.Header) != "" {
		return nil, wrongList("it has more pages (a header Link with rel=\"next\"): name how they are asked for, partitions.pagination")
	}
	return a, err
}

// element reads an element of the list. One for which partitions.where can't be evaluated is meant.
func (s *Source) element(body []byte) (value string, meant bool, err error) {
	rec, err := rawjson.Parse(body)
	if err != nil {
		return "", false, wrongList("an element is no JSON: %w", err)
	}
	vars := expr.Vars{"rec": expr.NewRecord(rec)}
	if value, err = textOf(s.programs.list.value, vars); err != nil {
		return "", false, wrongList("partitions.value: %w", err)
	}
	if where := s.programs.list.where; where != nil {
		if chosen, err := truth(where, vars); err == nil && !chosen {
			return value, false, nil
		}
	}
	if value == "" {
		return "", false, wrongList("partitions.value is empty for an element")
	}
	return value, true, nil
}

func wrongList(format string, args ...any) error {
	return &event.Error{Kind: event.Invalid, Op: "list the partitions", Err: fmt.Errorf(format, args...)}
}
