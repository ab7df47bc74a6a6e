// Package httppoll collects from any HTTP event service that the configuration describes.
//
// Each run reads everything that is new by the cursor, page by page, and hands it over. What it promises, whatever the service
// does:
//
// The bounds of what is asked for are chosen once, when a run begins, and are the same for all of its pages. A page that can't
// be had or read, that leads nowhere or back to where one was, fails what it is a part of; it is never taken for the end. The
// cursor passes a record only when everything before it was handed over: with every page where the service shows records in
// ascending order, else when all pages of a range were read. It passes nothing that is younger than Cursor.Settle or than the
// beginning of the run, and never moves back.
//
// Each run reads Cursor.Overlap back; what is known is left out by the loop in package collectors. An event's body is the
// record as it came, byte for byte, where the service writes JSON. No host but those that were configured is asked, and nobody
// else is told who we are.
package httppoll

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/expr"
	"stackstream/internal/mapping"
	"stackstream/internal/openstack"
	"stackstream/internal/rawjson"
	"stackstream/internal/records"
)

// Kind is the name of the kind of source.
const Kind = "http"

// Hooks is how what happens here becomes metrics. Every function may be nil, and must not block.
type Hooks struct {
	// Page is called for each page that was read: records in it, bytes, and how long it took.
	Page func(records int, bytes int64, took time.Duration)
	// Retry is called when something is asked for again: "error" after a failure, "token" when we had to prove anew who we are,
	// "reset" when the service no longer knew the cursor, "marker" when it no longer knew the page before, "wait" when it was waited
	// for a quota, "size" for fewer records because they were too large, or for more because a page was full of one moment, "part" for
	// less time because a page was full and its order is not promised.
	Retry func(why string)
	// Odd counts records that are not as they should be: "no-id" without identity, "no-cursor" without the field of the cursor or
	// with what it can't be, "not-json", "not-utf8", "rounded" with an id of a number that no double is, "disorder" older than one
	// before it though the order is ascending, "too-early" from before the time that was asked for, which is left out, "unfiltered"
	// those that are kept since the filter can't be evaluated.
	Odd func(what string, n int)
}

// Options are what the process gives to a source, besides its configuration.
type Options struct {
	Version string // of stackstream, for the User-Agent
	Format  string // of the raw events
	Hooks   Hooks
	Report  collectors.Report
	// Clients, if set, shares connections with other sources.
	Clients *openstack.Clients
	// Transport, if set, is given what leads to the network and returns what is asked in its place.
	Transport func(next http.RoundTripper) http.RoundTripper
	Clock     Clock
	// Past, if set, bounds the source to what is over; it is read by ReadPast then, and not run.
	Past *Past
}

// Source is one event service. Available may be called while Run runs.
type Source struct {
	cfg      Config
	opts     Options
	programs *programs
	decoder  records.Decoder
	field    []string // of the cursor
	bounded  bool     // the end of a range is asked for, too
	filter   *collectors.Filter
	dialect  *Dialect // nil for what is described by settings alone
	client   *http.Client
	signer   signer
	pace     *pace
	poller   collectors.Poller

	// What follows is of one Run.
	list      []string // the partitions, as they were last listed
	listedAt  time.Time
	first     string           // the partition to begin with
	held      map[string]*walk // that were suspended, by partition
	saidWaits bool
	told      *recall
	fetched   *detailCache
	claimed   time.Time // up to here the last run read everything
}

var _ collectors.Source = (*Source)(nil)

// New makes a source of a valid configuration. It reads the files that the configuration names for TLS, and talks to nobody.
func New(cfg Config, opts Options) (*Source, error) {
	client, err := opts.Clients.New(cfg.Request.HTTP)
	if err != nil {
		return nil, err
	}
	if opts.Transport != nil {
		client.Transport = opts.Transport(client.Transport)
	}
	return newSource(cfg, opts, client)
}

func newSource(cfg Config, opts Options, client *http.Client) (*Source, error) {
	programs, found := cfg.prepare()
	if len(found) > 0 {
		return nil, &event.Error{Kind: event.Invalid, Op: "read the configuration", Err: fmt.Errorf("%s", found[0])}
	}
	return assemble(cfg, opts, client, programs)
}

func assemble(cfg Config, opts Options, client *http.Client, programs *programs) (*Source, error) {
	opts.Clock = opts.Clock.complete()
	s := &Source{
		cfg: cfg, opts: opts, programs: programs, client: cfg.RateLimit.pacedClient(client, opts.Clock), field: steps(cfg.Cursor.Field),
	}
	s.decoder = records.Decoder{
		Form: cfg.Request.Decode, Path: steps(cfg.Records.Path), Shape: cfg.Records.Shape, Optional: cfg.Records.OnMissing == "empty",
		Parent: cfg.Records.Parent, Key: cfg.Records.Key, Bound: cfg.Request.bound(),
	}
	for _, path := range cfg.Records.Expand {
		s.decoder.Expand = append(s.decoder.Expand, steps(path))
	}
	for _, r := range cfg.Request.Delimiter {
		s.decoder.Comma = r
	}
	s.signer = cfg.Auth.signer(s.client, s.userAgent(), programs.session, opts.Clock.Now)
	return build(s)
}

// build adds what every source has.
func build(s *Source) (*Source, error) {
	filter, err := collectors.NewFilter(s.cfg.EventTypes)
	if err != nil {
		return nil, &event.Error{Kind: event.Invalid, Op: "read event_types", Err: err}
	}
	if s.opts.Report == nil {
		s.opts.Report = func(bool, string) {}
	}
	s.bounded = s.cfg.bounded()
	if s.opts.Past != nil {
		s.bind(s.opts.Past)
	}
	s.filter, s.pace, s.poller = filter, &pace{cfg: s.cfg.RateLimit, most: s.cfg.Retry.Max}, s.cfg.Schedule.poller()
	s.poller.Fetch = s.fetch
	s.forget()
	return s, nil
}

func (c Schedule) poller() collectors.Poller {
	return collectors.Poller{Every: c.Every, Jitter: c.Jitter, MaxRun: c.MaxRun}
}

// Spec is what the loop needs to know of a source with this configuration.
func (c Config) Spec() collectors.Spec {
	poller := c.Schedule.poller()
	return collectors.Spec{Repeats: c.Remember, Quiet: poller.Quiet()}
}

// Run polls until ctx ends.
func (s *Source) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	s.forget()
	return s.poller.Run(ctx, from, emit)
}

// forget drops what is known of what an earlier Run handed over: not all of that may have become durable.
func (s *Source) forget() {
	s.held, s.told, s.fetched = map[string]*walk{}, newRecall(max(s.cfg.Remember, 1)), &detailCache{}
}

// Available asks for the first page of what a first run would ask for, of the first partition.
func (s *Source) Available(ctx context.Context) error {
	now := s.now()
	parts, err := s.partitions(ctx, now)
	if err != nil || len(parts) == 0 {
		return err
	}
	w := s.newWalk(parts[0], &position{}, now)
	w.ends = now
	s.begin(w.at, event.From{}, now)
	w.bounds()
	w.restart()
	a, err := w.page(ctx)
	if err != nil || a == nil {
		return err
	}
	w.items(a)
	if w.lookAt(a.items); w.strange != "" {
		return &event.Error{Kind: event.Invalid, Op: opAsk, Err: errors.New(w.strange)}
	}
	return nil
}

func (s *Source) newPager() pager {
	p := pager{
		cfg: s.cfg.Pagination, from: s.programs.from, more: s.programs.more, step: s.cfg.Cursor.step(), sized: s.cfg.sendsSize(),
		bounded: s.cfg.Cursor.Send.Until != "", trusted: s.cfg.Cursor.Order == "ascending", limit: "pagination.max_size",
	}
	if d := s.dialect; d != nil {
		p.sized, p.bounded, p.limit = true, d.Until, d.MaxSize
	}
	return p
}

func (s *Source) userAgent() string { return UserAgent(s.opts.Version) }

// UserAgent is what a version of stackstream says of itself.
func UserAgent(version string) string { return "stackstream/" + strings.ReplaceAll(version, " ", "-") }

func (s *Source) partitionVar(part string) map[string]string {
	if part == "" {
		return map[string]string{}
	}
	return map[string]string{s.cfg.Partitions.As: part}
}

// item is a record that was read.
type item struct {
	raw       event.Raw
	eventType string
	number    *int64
	left      bool // out, by records.filter
	early     bool // from before what was asked for
	outside   bool // of the past that is read
	again     bool // on the page before already, which is how pages by time go on
	told      bool // handed over already in this run of the source, with its detail
	vars      expr.Vars
	marker    string // what a dialect knows the record by
}

// record reads one of a page. What can't be read of it is counted, and it is handed over all the same; what it is worth is decided
// later.
func (s *Source) record(page *records.Page, n int, part string, received time.Time) item {
	body := page.Records[n]
	if s.dialect != nil {
		return s.dialectRecord(body, received)
	}
	f := item{raw: event.Raw{
		Received: received, Format: s.opts.Format, ContentType: "application/json",
		// The page is one block of memory: an event must not keep all of it alive while it waits.
		Body: append([]byte(nil), body...),
	}}
	if part != "" {
		f.raw.Header = map[string]string{mapping.HeaderPartition: part, mapping.HeaderPartitionName: s.cfg.Partitions.As}
	}
	doc, valid := page.Doc(n, f.raw.Body)
	if !valid {
		if _, err := doc.Parse(f.raw.Body, rawjson.All); err != nil {
			s.odd("not-json", 1)
			f.raw.ID, f.raw.Hashed = event.HashID(f.raw.Body), true
			return f
		}
	}
	vars := mapping.Vars(expr.NewOpenRecord(doc), s.partitionVar(part))
	if s.programs.filter != nil {
		keep, err := truth(s.programs.filter, vars)
		if f.left = err == nil && !keep; err != nil {
			s.odd("unfiltered", 1)
		}
	}
	id, exact := s.programs.mapping.ID(vars, f.raw.Body, nil)
	if page.Mended && strings.Contains(string(id), "\uFFFD") {
		exact = false
	}
	switch f.raw.ID = event.BoundID(id); {
	case id == "":
		if s.cfg.Event.ID != "" {
			s.odd("no-id", 1)
		}
		f.raw.ID, f.raw.Hashed = event.HashID(f.raw.Body), true
	case !exact, !valid && !utf8.Valid(body):
		// Two names that differ in bytes that are no UTF-8, or in digits that no double has, would be one.
		if page.Mended || !rawjson.Value(body).Exact() {
			s.odd("not-utf8", 1)
		} else {
			s.odd("rounded", 1)
		}
		f.raw.ID, f.raw.Hashed = event.HashID(f.raw.Body), true
	}
	if part != "" {
		// Two parts of a service may number alike.
		f.raw.ID = event.BoundID(event.ID(part) + "/" + f.raw.ID)
	}
	f.vars = vars
	f.eventType, _ = s.programs.mapping.Type(vars)
	s.cursorOf(&f)
	return f
}

// truth evaluates an expression that is true or false.
func truth(p *expr.Program, vars expr.Vars) (bool, error) {
	val, err := p.Eval(vars)
	if err != nil {
		return false, err
	}
	return val.Bool()
}

// cursorOf reads the field of the cursor.
func (s *Source) cursorOf(f *item) {
	if s.cfg.Cursor.Type != CursorTime && s.cfg.Cursor.Type != CursorInteger || s.cfg.Cursor.Field == "" && s.programs.value == nil {
		return
	}
	var err error
	if s.cfg.Cursor.Type == CursorTime {
		f.raw.Time, err = s.timeOf(f)
	} else {
		f.number, err = s.numberOf(f)
	}
	if err != nil {
		s.odd("no-cursor", 1)
	}
}

func (s *Source) timeOf(f *item) (time.Time, error) {
	if s.programs.value != nil {
		if val, err := s.programs.value.Eval(f.vars); err != nil {
			return time.Time{}, err
		} else if at, ok := val.Time(); ok {
			return at.UTC(), nil
		}
	}
	text, err := s.cursorText(f)
	if err != nil {
		return time.Time{}, err
	}
	return s.cfg.Cursor.Format.Parse(text)
}

func (s *Source) numberOf(f *item) (*int64, error) {
	text, err := s.cursorText(f)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && strconv.FormatInt(n, 10) != text {
		err = errors.New("is not written as numbers are")
	}
	if err != nil {
		return nil, err
	}
	return &n, nil
}

func (s *Source) cursorText(f *item) (string, error) {
	if s.programs.value != nil {
		return textOf(s.programs.value, f.vars)
	}
	return mapping.Record(f.vars).Find(s.field).ID(), nil
}

// steps are the names of a dotted path.
func steps(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, ".")
}

func (s *Source) odd(what string, n int) {
	if s.opts.Hooks.Odd != nil && n > 0 {
		s.opts.Hooks.Odd(what, n)
	}
}

func (s *Source) retried(why string) {
	if s.opts.Hooks.Retry != nil {
		s.opts.Hooks.Retry(why)
	}
}
