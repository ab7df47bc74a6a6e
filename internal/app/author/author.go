// Package author has the tools for those who describe an HTTP event service: one that records how the service answers, one
// that plays it back, with faults, and one that tries a description out.
//
// All of them run the source itself in the loop that collects for good (package collectors), over a stream that is in memory.
// None of them writes anything into a real one.
package author

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/collectors/httppoll"
	"stackstream/event"
	"stackstream/internal/app"
	"stackstream/internal/app/config"
	"stackstream/internal/check"
	"stackstream/normalizer"
)

// Subject is a source of a provider that asks by HTTP.
type Subject struct {
	Provider event.Provider
	Kind     event.Source
	Config   httppoll.Config
	Version  string // of stackstream
	// FromEnv are the values that the configuration has from the environment.
	FromEnv []string

	// Doubts are what may lose or repeat events though it is no mistake.
	Doubts check.Findings

	converters map[string]normalizer.Converter
}

// Choose returns the source of a provider; without a name it is the only one there is. A source that is no HTTP service is
// refused.
func Choose(cfg *config.Config, name event.Provider) (*Subject, error) {
	names := cfg.Providers.Names()
	switch {
	case name == "" && len(names) == 1:
		name = names[0]
	case name == "":
		return nil, fmt.Errorf("there are %d providers: name one by --provider", len(names))
	}
	p := cfg.Providers[name]
	if p == nil {
		return nil, fmt.Errorf("there is no provider %s", name)
	}
	converters, err := app.Converters(cfg)
	if err != nil {
		return nil, err
	}
	s := &Subject{Provider: name, converters: converters}
	for _, kind := range app.Kinds() {
		settings, configured := p.Sources[kind.Name]
		if !configured || p.Events != config.EventsAuto && p.Events != kind.Name {
			continue
		}
		if c, ok := app.HTTPConfig(settings); ok {
			s.Kind, s.Config = event.Source(kind.Name), c
			for _, doubt := range cfg.Doubts {
				if strings.HasPrefix(doubt.Subject, fmt.Sprintf("providers.%s.%s.", name, kind.Name)) {
					s.Doubts = append(s.Doubts, doubt)
				}
			}
			return s, nil
		}
	}
	for _, kind := range app.Kinds() {
		if _, configured := p.Sources[kind.Name]; configured {
			return nil, fmt.Errorf("provider %s is collected by %s: this is for the kind %s", name, kind.Name, app.HTTPKinds())
		}
	}
	return nil, fmt.Errorf("provider %s has no event service", name)
}

// open makes the source.
func (s *Subject) open(opts httppoll.Options) (*httppoll.Source, error) {
	opts.Version, opts.Format = s.Version, app.HTTPFormat(string(s.Kind), s.Provider)
	return httppoll.New(s.Config, opts)
}

// errDone ends a loop after one run.
var errDone = errors.New("done")

// once is a source that polls once.
type once struct {
	source *httppoll.Source
	ctx    context.Context // ends the run; the loop's own ends what is being committed, too
}

func (o once) Available(context.Context) error { return nil }

func (o once) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(o.ctx, func() { cancel(context.Cause(o.ctx)) })()
	if err := o.source.Fetch(ctx, from, emit); err != nil {
		return err
	}
	return errDone
}

// poll runs the source once, from where the ledger stands, as a process does that was started just now. What it handed over
// before an error is in the ledger.
func (s *Subject) poll(ctx context.Context, source *httppoll.Source, l *ledger) error {
	loop := &collectors.Loop{
		Provider: s.Provider, Name: s.Kind, Source: once{source, ctx}, Spec: s.Config.Spec(), Writer: l, Memory: l, Log: zerolog.Nop(),
		// A queue that holds one batch makes each a commit of its own.
		Options: collectors.Options{QueueBytes: 1},
	}
	err := loop.Run(context.WithoutCancel(ctx))
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// waiting is told by a source, as its Report, that it goes on later.
type waiting struct {
	mu   sync.Mutex
	what string
}

func (w *waiting) report(trouble bool, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.what = what; !trouble {
		w.what = ""
	}
}

// again is how long to wait until a run is tried again that ended with err, or, where that is nil, that said that it goes on
// later; false where it is over, or where trying again would be of no use.
func (w *waiting) again(err error, pause time.Duration) (why string, wait time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var asked *collectors.RetryAfter
	switch {
	case errors.As(err, &asked):
		return err.Error(), max(pause, asked.After), true
	case err != nil:
		return err.Error(), pause, errors.Is(err, event.Unavailable)
	}
	return w.what, pause, w.what != ""
}

// ledger is the stream RAW in memory, of one source.
type ledger struct {
	mu      sync.Mutex
	last    event.StreamSeq
	cursor  event.RawCursor
	events  []event.StoredRaw
	commits []commit
}

// commit is a batch as it was written.
type commit struct {
	events int
	cursor event.Cursor
}

// Open implements collectors.Writer.
func (l *ledger) Open(context.Context) (event.RawCursor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cursor, nil
}

// Commit implements collectors.Writer.
func (l *ledger) Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var seqs []event.StreamSeq
	for _, e := range events {
		l.last++
		l.cursor.Position++
		l.cursor.Received = e.Received
		l.events = append(l.events, event.StoredRaw{Raw: e, Seq: l.cursor.Position, Sequence: l.last})
		seqs = append(seqs, l.last)
	}
	l.last++
	l.cursor.Progress, l.cursor.Sequence = p, l.last
	l.commits = append(l.commits, commit{len(events), p.Cursor})
	return seqs, nil
}

// Identities implements collectors.Memory.
func (l *ledger) Identities(ctx context.Context, _ event.Provider, from, _ event.StreamSeq, yield func(event.Seen)) error {
	for _, e := range l.all() {
		if e.Sequence >= from {
			yield(event.Seen{ID: e.ID, Time: e.Time, Seq: e.Seq, Sequence: e.Sequence})
		}
	}
	return ctx.Err()
}

// Cursors implements collectors.Memory.
func (l *ledger) Cursors(ctx context.Context, _ event.Provider) (map[event.Source]event.RawCursor, error) {
	return nil, ctx.Err()
}

func (l *ledger) all() []event.StoredRaw {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]event.StoredRaw(nil), l.events...)
}

// standing is the cursor.
func (l *ledger) standing() event.Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cursor.Cursor
}

// clock is a time that passes when somebody waits.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Pause lets the time pass at once.
func (c *clock) Pause(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

// reach lets the time pass until at.
func (c *clock) reach(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.now) {
		c.now = at
	}
}
