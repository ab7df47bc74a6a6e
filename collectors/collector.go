package collectors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"

	"stackstream/event"
)

const (
	// lookAgain is how often the provider's choice is read while nothing else tells that it changed.
	lookAgain = 30 * time.Second
	// maxPause bounds the pauses between tries, but for a service that asks for a longer one.
	maxPause = time.Minute
	// lookPaused is how often what an operator has paused is looked at, whether it may go on.
	lookPaused = 5 * time.Second
)

// Auto lets the Collector choose the kind of source.
const Auto = "auto"

// Candidate is a kind of source that is configured for a provider. One without sources collects nothing.
type Candidate struct {
	Kind   string
	Shards []Shard
	// Former, if set, returns sources of this kind that are no longer configured and, by the cursors they left, have
	// something to finish. They are run beside Shards. It is given the cursors of all of the provider's sources.
	Former func(map[event.Source]event.RawCursor) []Shard
	// Beside, if set, runs beside the sources until ctx ends, whether they are at work or not: the door that others knock at.
	// It is run where the kind may be chosen, and must return soon when ctx ends.
	Beside func(ctx context.Context)
}

// Shard is one source of a kind. The shards of a kind run in parallel, each with a lease, a cursor and a loop of its
// own; no event may come through two of them.
type Shard struct {
	Name event.Source
	Spec Spec
	// New makes the source. It is called for each run, and to ask whether the service is available: report, which is
	// never nil, is then not listened to.
	New func(report Report) (Source, error)
	// Manual is for operators who change a cursor.
	Manual Manual
}

// Deps is what a Collector needs of the outside.
type Deps struct {
	// NewWriter makes the Writer of a source whose commits are refused once the fence no longer holds.
	NewWriter func(p event.Provider, s event.Source, fence event.Fence) Writer
	Memory    Memory
	Choices   Choices
	Lease     Lease
	Hooks     Hooks
	Log       zerolog.Logger
	// Owner names this process, for people.
	Owner string
}

// Collector collects for one provider: it chooses the kind of source, holds a lease for each of the kind's sources, and
// runs their loops, again and again after errors, with growing pauses.
//
// While a source pauses after an error its lease is free, so that another process, which may reach the service, can try.
type Collector struct {
	Provider event.Provider
	// Want is Auto or the kind of a candidate.
	Want string
	// Only, if set, is the kind that this process is for; while another one is chosen it stands by.
	Only string
	// Candidates in order of priority.
	Candidates []Candidate
	Options    Options
	Deps       Deps
}

// errChosenAnew ends the loops of a kind after another choice was made.
var errChosenAnew = errors.New("another choice of source was made")

// LeaseKey is what a Collector holds while it runs a source.
func LeaseKey(p event.Provider, s event.Source) string {
	return "collector." + string(p) + "." + string(s)
}

// Run collects until ctx ends, and then returns nil. Whatever fails meanwhile is reported through Hooks and the log and
// tried again for ever. It returns an error only if at the end a source did not return in time: it still runs then,
// though it can't hand over anything any more.
//
// It waits with little on its stack, here and in collect: each goroutine keeps its stack, half of which at most goes at a time and only
// while less than a quarter is used. That counts where there are a thousand providers.
func (c *Collector) Run(ctx context.Context) error {
	d := c.starting()
	defer c.beside(ctx)()
	for ctx.Err() == nil {
		if !d.decide(ctx) {
			continue
		}
		if err := c.collect(ctx, d); err != nil || ctx.Err() != nil {
			return err
		}
		d.say.forget()
	}
	return nil
}

// decision is what a provider's events are collected with.
type decision struct {
	*Collector
	chooser *chooser
	wait    backoff.BackOff
	say     *reporter

	choice event.Choice
	shards []Shard
}

func (c *Collector) starting() *decision {
	say := &reporter{provider: c.Provider, hooks: c.Deps.Hooks, log: c.Deps.Log}
	say.state("", event.StateStarting, "")
	return &decision{Collector: c, chooser: &chooser{Collector: c}, wait: newBackOff(maxPause), say: say}
}

// decide finds out what to collect with. If that is nothing, it says so, has waited, and returns false.
func (d *decision) decide(ctx context.Context) bool {
	candidate, choice, err := d.chooser.choose(ctx)
	var shards []Shard
	if err == nil {
		shards, err = d.Collector.shards(ctx, candidate)
	}
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		d.say.state("", event.StateBackoff, err.Error())
		d.Deps.Hooks.failed(d.Provider, "", err)
		_ = pause(ctx, pauseFor(d.wait, err))
		return false
	}
	d.wait.Reset()
	switch paused := choice.Paused.Err(); {
	case paused != nil:
		d.say.state("", event.StatePaused, event.PauseReason(paused))
		_ = pause(ctx, lookPaused)
	case !d.chooser.allows(candidate.Kind):
		d.say.state("", event.StateStandby, fmt.Sprintf("configured is %s, but %s was chosen since: %s", d.Want,
			choice.Kind, choice.Why))
		_ = pause(ctx, lookAgain)
	case d.Only != "" && candidate.Kind != d.Only:
		d.say.state("", event.StateStandby, fmt.Sprintf("chosen is %s, this process is for %s", candidate.Kind, d.Only))
		_ = pause(ctx, lookAgain)
	case len(candidate.Shards) == 0:
		d.say.state("", event.StateIdle, choice.Why)
		_ = pause(ctx, lookAgain)
	default:
		d.say.state("", event.StateLive, choice.Why)
		d.choice, d.shards = choice, shards
		return true
	}
	return false
}

// beside starts what runs beside sources, and returns what ends it and waits for it.
func (c *Collector) beside(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, candidate := range c.Candidates {
		wanted := (c.Want == Auto || c.Want == candidate.Kind) && (c.Only == "" || c.Only == candidate.Kind)
		if candidate.Beside != nil && wanted {
			running.Go(func() { candidate.Beside(ctx) })
		}
	}
	return func() { cancel(); running.Wait() }
}

// shards are the sources of the chosen kind: those that are configured, and those that still have something to finish.
func (c *Collector) shards(ctx context.Context, kind Candidate) ([]Shard, error) {
	if kind.Former == nil {
		return kind.Shards, nil
	}
	cursors, err := c.Deps.Memory.Cursors(ctx, c.Provider)
	if err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	return slices.Concat(kind.Shards, kind.Former(cursors)), nil
}

// collect runs the sources of the chosen kind until ctx ends or another choice is made. The error is Run's. It looks after the
// choice by itself: that takes no goroutine more.
func (c *Collector) collect(ctx context.Context, d *decision) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ends := d.begin(running)
	look := time.NewTimer(lookAgain)
	defer look.Stop()
	done, late := ctx.Done(), (<-chan time.Time)(nil)
	for left := len(d.shards); left > 0; {
		select {
		case err := <-ends:
			left--
			if err != nil { // errChosenAnew: the others end, too, and the caller chooses again
				stop()
			}
		case <-look.C:
			if c.chosenAnew(running, &d.choice) {
				stop()
				continue
			}
			look.Reset(lookAgain)
		case <-done:
			done, late = nil, c.patience()
		case <-late:
			return fmt.Errorf("stop collecting for %s: a source of kind %s does not return", c.Provider, d.choice.Kind)
		}
	}
	return nil
}

// begin starts the sources, and returns where the end of each is told.
func (d *decision) begin(ctx context.Context) <-chan error {
	ends := make(chan error, len(d.shards))
	for i := range d.shards {
		s := &shard{
			Collector: d.Collector, Shard: d.shards[i], choice: d.choice, say: d.say,
			kept: newKept(d.Deps.Memory, d.Provider, d.shards[i].Name, d.shards[i].Spec),
		}
		go func() { ends <- s.run(ctx) }()
	}
	return ends
}

// patience ends when a source that was told to end has had its time.
func (c *Collector) patience() <-chan time.Time {
	opt := c.Options.withDefaults()
	return time.After(opt.Drain + 2*opt.Grace)
}

// chosenAnew reads the choice. One that can't be read has not changed as far as we know, unless a newer version made it;
// the fence holds in any case.
func (c *Collector) chosenAnew(ctx context.Context, choice *event.Choice) bool {
	now, err := c.Deps.Choices.ReadChoice(ctx, c.Provider)
	if newer := (*event.NewerError)(nil); errors.As(err, &newer) {
		return true
	}
	return err == nil && now.Sequence != choice.Sequence
}
