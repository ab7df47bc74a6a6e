// Package amqp1 receives notifications over AMQP 1.0: from the router or broker of the Service Telemetry Framework (STF), or
// any other peer.
//
// There is a link, on a connection of its own, for each address. It declares nothing: what an address is, a queue or a way
// through routers, the peer decides. A message is settled (accepted) after what it had in it is durable. What the peer hands over
// once more, because it never got to know, is removed by its message_id, by the loop in package collectors. When the source is told
// to end, what it has not handed over is released, so that somebody else may have it at once.
//
// Messages whose body is text, bytes or sections of data are notifications, or what the converter makes of them; Ceilometer's,
// which have several events each, are taken apart (package internal/notification). What has another body is kept whole,
// and becomes a dead letter. Rejected, with a reason for who sent it, is what can't be kept at all: what is no message of AMQP 1.0,
// what has no body, and what is larger than Config.MaxMessage; it is counted, in the cursor, too.
//
// Memory is bounded by what was received and not settled, whatever the peer does (see gate), and the credit by the same and
// by Config.Prefetch: while nothing can be stored the peer gets no more credit. A message is looked at where it lies and makes nothing
// that is larger than itself, whatever is in it or says that it is; what a peer sends besides takes a few megabytes at most.
//
// Whatever goes wrong with a link ends its connection, and to connect again is the only way back. With one address that ends Run;
// of several, the others go on, and readiness says which one does not. Two things prove that a silent link is a quiet one:
// heartbeats, and a question: every Config.Probe the peer is asked to say when it has sent all there is (drain). What it
// answers tells, too, up to when everything was collected: the watermark.
package amqp1

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
)

// Kind is the name of the kind of source, and of its one source.
const Kind = "amqp1"

// maxPause is the longest pause between two tries to connect: a router keeps nothing for us meanwhile.
const maxPause = 5 * time.Second

// Hooks is how what happens here becomes metrics. Every function may be nil, must not block, and may be called from
// several goroutines at once.
type Hooks struct {
	// Links says how many of the configured addresses have a link.
	Links func(up, of int)
	// Held says how many messages were received on all links and are not settled, and how many bytes they take in memory.
	Held func(messages, bytes int)
	// Redelivered counts messages of which the peer says that it had handed them over before.
	Redelivered func(n int)
	// Presettled counts messages that the peer had settled when it sent them: what of those is on its way when a process
	// is killed is lost.
	Presettled func(n int)
	// Rejected counts messages that were rejected, by reason: one of Reasons. They are lost, but for what the peer does with them.
	Rejected func(reason string, n int)
	// Lost counts links that ended by themselves.
	Lost func()
	// Probe says how long the peer took to say that it has sent all there was.
	Probe func(took time.Duration)
}

// Options are what the process gives to a source, besides its configuration.
type Options struct {
	Provider event.Provider
	Version  string    // of stackstream, for the peer's list of connections
	Host     string    // the name of this machine, for the same
	Began    time.Time // when the process did, from time.Now: no watermark trusts a clock that was set since
	Hooks    Hooks
	Report   collectors.Report
	Log      zerolog.Logger
}

// Source is a number of addresses of one peer.
type Source struct {
	cfg    Config
	opts   Options
	filter *collectors.Filter
	dialer *dialer
}

var _ collectors.Source = (*Source)(nil)

// New makes the source of a valid configuration. It reads the files that cfg names, and talks to nobody.
func New(cfg Config, opts Options) (*Source, error) {
	filter, err := collectors.NewFilter(cfg.EventTypes)
	if err != nil {
		return nil, &event.Error{Kind: event.Invalid, Op: "read event_types", Err: err}
	}
	if opts.Report == nil {
		opts.Report = func(bool, string) {}
	}
	d, err := newDialer(cfg, fmt.Sprintf("stackstream %s/%s (%s)", opts.Provider, Kind, opts.Host), opts.Version)
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, opts: opts, filter: filter, dialer: d}, nil
}

// Candidate makes the source of a provider ready for its Collector. The configuration must be valid. options is called for
// each time that the source is made.
func Candidate(cfg Config, options func(report collectors.Report) Options) collectors.Candidate {
	made := func(report collectors.Report) (collectors.Source, error) {
		s, err := New(cfg, options(report))
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	return collectors.Candidate{
		Kind: Kind, Shards: []collectors.Shard{{Name: Kind, Spec: cfg.Spec(), Manual: manual(), New: made}},
	}
}

// Spec is what the loop needs to know of a source with this configuration.
func (c Config) Spec() collectors.Spec {
	return collectors.Spec{
		Repeats: max(c.Remember, 2*c.Prefetch*len(c.Addresses)), Quiet: max(2*c.Probe, 2*beatEvery), MaxPause: maxPause,
	}
}

// Available makes a link to each address, takes nothing from it, and ends it again.
func (s *Source) Available(ctx context.Context) error {
	for _, address := range s.cfg.Addresses {
		w, err := s.dialer.dial(ctx, address)
		if err != nil {
			return err
		}
		w.hangUp()
	}
	return nil
}

// Run receives until ctx ends or no address has a link any more.
func (s *Source) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	st, err := readState(from.Cursor)
	if err != nil {
		return err
	}
	err = newSession(s, st, emit).run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
