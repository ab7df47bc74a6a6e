// Package webhook collects events that others post over HTTP.
//
// A request is answered with success when all of its events are durable in the stream, in the batch that the loop has made of
// those of many requests, and never before. What can't be taken as it is is refused as a whole, with the reason. What can't be
// taken now, or of which it is not known whether it is stored, is answered so that its sender tries again: an event that comes
// again is known by its id and answered as stored.
//
// There is no service to ask for what was missed: a sender that does not try again loses what was refused, and that is counted.
//
// One process listens for all sources of its provider that it runs (front). With several replicas there are as many sources,
// webhook, webhook-2 and so on, and leases spread them: whoever has one takes events, whoever has none says that it can't. They
// share their events (collectors.Spec.Shared): what is posted to one, or to two at the same time, is stored once.
//
// The time of an event is the one at which it was received here: a sender's clock must not decide for how long an id is remembered.
// The watermark says that everything that was posted up to then, and answered with success, is stored.
package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
)

// Kind is the name of the kind of source.
const Kind = "webhook"

const (
	// beat is how often a source tells that it lives, and moves the watermark, while nothing is posted.
	beat = 5 * time.Second
	// maxPause is the longest pause between two tries: meanwhile senders are told to come again.
	maxPause = 5 * time.Second
)

// Hooks is how what happens here becomes metrics. Every function may be nil, must not block, and may be called from several
// goroutines at once.
type Hooks struct {
	// Answered is called for each request that was answered, with the reason where that was not with success.
	Answered func(reason string, took time.Duration)
	// Again is called, in place of Answered, for each request that was posted with the same signature before and is stored since.
	Again func()
	// Pending says how many requests wait to be stored, and how many bytes of memory requests take: at each change, in the order of
	// these.
	Pending func(requests int, bytes int64)
	// Remembered says how many events are known again by their ids.
	Remembered func(n int)
	// Connections says how many connections there are.
	Connections func(n int)
}

func (h Hooks) again() {
	if h.Again != nil {
		h.Again()
	}
}

func (h Hooks) connections(n int) {
	if h.Connections != nil {
		h.Connections(n)
	}
}

// Options are what the process gives to the sources, besides their configuration.
type Options struct {
	// Formats names the formats of raw events of the formats json and cloudevents: the normalizer chooses its converter by them.
	JSONFormat, CloudEventsFormat, CeilometerFormat string
	// Began is when the process did, from time.Now: no watermark trusts a clock that was set since.
	Began time.Time
	Hooks Hooks
	Log   zerolog.Logger
	// Listens, if set, is called with the address.
	Listens func(net.Addr)
}

func (o Options) listens(addr net.Addr) {
	o.Log.Info().Str("address", addr.String()).Msg("webhook listens")
	if o.Listens != nil {
		o.Listens(addr)
	}
}

// Source hands over what is posted.
type Source struct {
	cfg   Config
	front *front
	beat  time.Duration

	remembers atomic.Int64
	report    collectors.Report // nil where nobody is told
	full      bool              // is reported
}

var (
	_ collectors.Source     = (*Source)(nil)
	_ collectors.Rememberer = (*Source)(nil)
)

// Remembers is told how many events would be known again. Where there are as many as may be, nothing is taken.
func (s *Source) Remembers(events int) {
	s.remembers.Store(int64(events))
	s.front.sayRemembered()
	full := events >= s.cfg.Limits.Remembered
	if full == s.full || s.report == nil {
		return
	}
	s.full = full
	why := ""
	if full {
		why = "takes nothing: " + s.cfg.rememberedAll()
	}
	s.report(full, why)
}

// Spec is what the loop needs to know of the sources.
func (c Config) Spec() collectors.Spec {
	return collectors.Spec{Quiet: 3 * beat, MaxPause: maxPause, Shared: true}
}

// Candidate makes the sources of a provider ready for its Collector. The configuration must be valid.
func Candidate(cfg Config, opts Options) collectors.Candidate {
	front := newFront(cfg, opts)
	c := collectors.Candidate{Kind: Kind, Beside: front.serve, Former: former(cfg)}
	for _, name := range cfg.sourceNames() {
		c.Shards = append(c.Shards, collectors.Shard{
			Name: name, Spec: cfg.Spec(), Manual: manual(cfg),
			New: func(report collectors.Report) (collectors.Source, error) {
				return &Source{cfg: cfg, front: front, beat: beat, report: report}, nil
			},
		})
	}
	return c
}

// sourceNames are the sources: as many as there are replicas.
func (c Config) sourceNames() []event.Source {
	names := []event.Source{Kind}
	for n := 2; n <= c.Replicas; n++ {
		names = append(names, event.Source(fmt.Sprintf("%s-%d", Kind, n)))
	}
	return names
}

// former retires sources of more replicas than there are now. Nothing is left for them to read.
func former(cfg Config) func(map[event.Source]event.RawCursor) []collectors.Shard {
	return func(cursors map[event.Source]event.RawCursor) []collectors.Shard {
		var found []collectors.Shard
		for name, cursor := range cursors {
			ours := name == Kind || strings.HasPrefix(string(name), Kind+"-")
			if ours && !cursor.Retired && !slices.Contains(cfg.sourceNames(), name) {
				found = append(found, collectors.Shard{
					Name: name, New: func(collectors.Report) (collectors.Source, error) { return retiring{}, nil },
				})
			}
		}
		slices.SortFunc(found, func(a, b collectors.Shard) int { return cmp.Compare(a.Name, b.Name) })
		return found
	}
}

// retiring is a source that is no longer there.
type retiring struct{}

func (retiring) Available(context.Context) error { return nil }

func (retiring) Run(ctx context.Context, _ event.From, emit collectors.Emit) error {
	if err := emit(ctx, collectors.Batch{Cursor: event.Cursor(`{}`), Retired: true, Urgent: true}); err != nil {
		return endedBy(ctx, err)
	}
	<-ctx.Done()
	return nil
}

// endedBy returns nil for whatever came of it that ctx has ended.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Available reads the files that the configuration names, and looks whether the address is free, or already ours.
func (s *Source) Available(ctx context.Context) error {
	if _, err := newHandler(s.front); err != nil {
		return err
	}
	tlsConfig, err := s.cfg.TLS.config()
	if err != nil {
		return err
	}
	if s.front.listens() {
		return nil
	}
	s.front.trying.Lock() // the sources of a provider may all be asked at once
	defer s.front.trying.Unlock()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err == nil {
		return listener.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) && (tlsConfig != nil || answers(ctx, s.cfg)) {
		return nil // by a pipeline that runs here; with TLS that can't be told
	}
	return &event.Error{Kind: event.Unavailable, Op: "listen", Err: fmt.Errorf("%w (see listen)", err)}
}

// answers tells whether a stackstream listens already.
func answers(ctx context.Context, cfg Config) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.Listen+cfg.Path, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.Header.Get("Server") == serverName && resp.StatusCode != http.StatusNotFound // then it is another source's
}

// Run hands over what is posted until ctx ends or nothing listens any more.
func (s *Source) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	// A source whose address somebody else has is not at work, and does not say so by handing over anything.
	if err := s.front.opens(ctx); err != nil {
		return endedBy(ctx, err)
	}
	// What RAW has is read before anything is taken, so that the first sender need not wait for it.
	if err := emit(ctx, collectors.Batch{Cursor: event.Cursor(`{}`)}); err != nil {
		return endedBy(ctx, err)
	}
	s.front.join(s)
	defer s.front.leave(s)
	floor := from.Floor
	for {
		d, mark, err := s.front.next(ctx, s.beat)
		if err != nil {
			return endedBy(ctx, err)
		}
		if at := s.front.now().Add(-s.cfg.Window); at.After(floor) {
			floor = at
		}
		b := collectors.Batch{Watermark: mark, Floor: floor, Urgent: s.front.full()} // what is past the floor makes room
		if d != nil {
			b.Events, b.Filtered = d.events, d.filtered
		}
		if len(b.Events) > 0 {
			b.Done, b.Undone = d.stored, d.unknown
		}
		if err := emit(ctx, b); err != nil {
			if d != nil {
				d.unknown()
			}
			return endedBy(ctx, err)
		}
	}
}

// manual is for operators who change a cursor: there is none.
func manual(cfg Config) collectors.Manual {
	return collectors.Manual{
		Rewind: func(event.Cursor, time.Time, time.Time) (event.Cursor, time.Time, error) {
			return nil, time.Time{}, &event.Error{Kind: event.Invalid, Op: "rewind", Err: errors.New(
				"what is posted is not there to be read again: its sender has to post it again")}
		},
		Set: func(event.Cursor, string, time.Time) (event.Cursor, error) {
			return nil, &event.Error{Kind: event.Invalid, Op: "set the cursor", Err: errors.New("a webhook has none: nothing is read")}
		},
		Meanwhile: func() string {
			if cfg.Refuse == refuseDisconnect {
				return "connections of senders are broken: those lose nothing that try again"
			}
			return "senders are answered with 503 and Retry-After: those lose nothing that try again"
		},
	}
}
