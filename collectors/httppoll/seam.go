package httppoll

import (
	"context"
	"net/http"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/internal/records"
)

// Clock is the time that a source goes by; what is not set is that of the machine.
type Clock struct {
	Now func() time.Time
	// Pause waits, or returns ctx's error.
	Pause func(ctx context.Context, d time.Duration) error
}

func (c Clock) complete() Clock {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Pause == nil {
		c.Pause = func(ctx context.Context, d time.Duration) error {
			if d <= 0 {
				return context.Cause(ctx)
			}
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return c
}

// pauses is a backoff.Timer that waits by a Clock.
type pauses struct {
	ctx   context.Context
	clock Clock
	over  chan time.Time
}

func (c Clock) timer(ctx context.Context) *pauses {
	return &pauses{ctx: ctx, clock: c, over: make(chan time.Time, 1)}
}

// Start returns when the pause is over, or ctx has ended: whoever waits for C looks at ctx as well.
func (p *pauses) Start(d time.Duration) {
	if p.clock.Pause(p.ctx, d) == nil {
		p.over <- p.clock.Now()
	}
}

func (p *pauses) Stop()               {}
func (p *pauses) C() <-chan time.Time { return p.over }

func (s *Source) now() time.Time { return s.opts.Clock.Now().UTC() }

// Anew makes another source of the same configuration, as New does for a process that was started again.
func (s *Source) Anew(opts Options) (*Source, error) {
	client, err := opts.Clients.New(s.cfg.Request.HTTP)
	if err != nil {
		return nil, err
	}
	if opts.Transport != nil {
		client.Transport = opts.Transport(client.Transport)
	}
	return assemble(s.cfg, opts, client, s.programs)
}

// Fetch is one run: it hands over everything behind from that the service shows now. What Run does again and again.
func (s *Source) Fetch(ctx context.Context, from event.From, emit collectors.Emit) error {
	return s.fetch(ctx, from, emit)
}

// Asked says what a request asks for. Who stands between a source and the network finds it in the request's context; a
// request that only proves who we are has none.
type Asked struct {
	What        string
	Partition   string
	From, Until time.Time // as they are sent, before they are written; zero where nothing is
	Number      *int64
	Token       string // of the cursor
	// Page counts the pages of a range from 0; Value is the number, token, marker or address that leads to it, "" on the
	// first.
	Page  int
	Value string
}

// What is asked for.
const (
	AskedPage   = "page"
	AskedDetail = "detail" // of a record
	AskedList   = "list"   // of partitions
)

// Contents are what a source reads in an answer.
type Contents struct {
	Records []Content
	// Parts are the answer taken apart: what Records has of one unit comes one after the other, Counts says how many.
	Parts  records.Parts
	Counts []int
	Token  string // of the cursor, behind it
}

// Content is what a source reads of a record.
type Content struct {
	ID     event.ID
	Time   time.Time
	Number *int64
	Body   []byte
	Left   bool // out, by records.filter
}

// Read says what is in an answer.
func (s *Source) Read(part string, header http.Header, body []byte) (Contents, error) {
	page, err := s.decoder.Decode(body)
	if err != nil {
		return Contents{}, err
	}
	var out Contents
	for i := range page.Records {
		r := s.record(&page, i, part, time.Time{})
		out.Records = append(out.Records, Content{ID: r.raw.ID, Time: r.raw.Time, Number: r.number, Body: r.raw.Body, Left: r.left})
	}
	if out.Parts, err = s.decoder.Split(body); err != nil {
		return Contents{}, err
	}
	for _, unit := range out.Parts.Units {
		n := 1
		if len(s.decoder.Expand) > 0 {
			inner, err := s.decoder.Decode(out.Parts.With([][]byte{unit}))
			if err != nil {
				return Contents{}, err
			}
			n = len(inner.Records)
		}
		out.Counts = append(out.Counts, n)
	}
	w := &walk{Source: s}
	out.Token, err = w.tokenOf(&answer{url: s.cfg.configured(), header: header, page: page})
	return out, err
}

// Leads is the token or marker of the page behind an answer, "" where there is none.
func (s *Source) Leads(header http.Header, body []byte) (string, error) {
	page, err := s.decoder.Decode(body)
	if err != nil || s.programs.from == nil {
		return "", err
	}
	a := &answer{url: s.cfg.configured(), header: header, page: page}
	val, err := s.programs.from.Eval(a.vars())
	if err != nil {
		return "", err
	}
	return val.Text()
}

type askedKey struct{}

// AskedOf returns what the request of a context asks for.
func AskedOf(ctx context.Context) (Asked, bool) {
	a, ok := ctx.Value(askedKey{}).(Asked)
	return a, ok
}

// asking puts into the context of a request what it asks for.
func (w *walk) asking(ctx context.Context) context.Context {
	a := Asked{
		What: AskedPage, Partition: w.part, From: w.asksFrom(), Until: w.until, Number: w.number, Token: w.token, Page: w.pager.pages,
	}
	value, address := w.pager.value()
	if a.Value = value; address != "" {
		a.Value = address
	}
	return asks(ctx, a)
}

func asks(ctx context.Context, a Asked) context.Context { return context.WithValue(ctx, askedKey{}, a) }

// Renews tells whether one can log in again when a service does not know us any more.
func (a Auth) Renews() bool { return a.OAuth2 != nil || a.Session != nil || a.Keystone != nil }
