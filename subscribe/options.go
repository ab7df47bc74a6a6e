package subscribe

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"stackstream/event"
)

// Options says what a Subscriber reads and from where.
type Options struct {
	// Durable names the consumer, and with it the position that outlives the process: one name for each program that is
	// to see every event. Letters, digits, _ and - only. It is created if it does not exist; what exists is never
	// changed, and refused if it reads something else.
	Durable string

	// Providers to read; none means all.
	Providers []event.Provider
	// Types are patterns of event types, as in "compute.instance.*": * stands for any characters, ? for one. None means
	// all. Events of other types pass unseen; they are not decoded.
	Types []string

	// Where a new durable begins: at the first of these that is set, else with the oldest event that there is. They say
	// nothing about a durable that exists.
	StartSeq  event.StreamSeq // with this stream sequence
	StartTime time.Time       // with what was stored at this time or later
	New       bool            // with what is stored from now on

	// After, if set, is the truth about what was handled: the Sequence of the last event whose effect is stored. The
	// durable is moved behind it, whatever was acknowledged. Store it only over a smaller one: see the package comment.
	After event.StreamSeq

	// OnGap is told about missing events, before the event that follows them; the Subscriber then goes on. Without it
	// the Subscriber stops with a *GapError and stays before the gap.
	OnGap func(Gap)
	// OnDead is given the dead letters in their place between the events. An error stops the Subscriber like one of the
	// handler. Without it dead letters pass unseen.
	OnDead func(ctx context.Context, d Dead) error
	// OnRetry is told when reading fails, with how long the Subscriber waits before it tries again, for the log. It
	// never gives up.
	OnRetry func(err error, wait time.Duration)
}

func (o *Options) validate() error {
	var found []error
	if o.Durable == "" {
		found = append(found, errors.New("the durable has no name"))
	} else if err := CheckDurable(o.Durable); err != nil {
		found = append(found, err)
	}
	set := 0
	for _, s := range []bool{o.StartSeq > 0, !o.StartTime.IsZero(), o.New} {
		if s {
			set++
		}
	}
	if set > 1 {
		found = append(found, errors.New("more than one of StartSeq, StartTime and New is set"))
	}
	found = append(found, checkProviders(o.Providers))
	return errors.Join(found...)
}

// CheckDurable returns what is wrong with the name of a durable.
func CheckDurable(name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(name) {
		return fmt.Errorf("durable name %q: only letters, digits, _ and - are allowed", name)
	}
	return nil
}

func checkProviders(providers []event.Provider) error {
	for _, p := range providers {
		if _, err := event.ParseProvider(string(p)); err != nil {
			return err
		}
	}
	return nil
}

// subjects are the filters of a consumer for the providers: events and dead letters, which share one row of numbers.
func subjects(providers []event.Provider) []string {
	if len(providers) == 0 {
		return []string{event.NormalizedSubject("*"), event.DeadSubject("*")}
	}
	var out []string
	for _, p := range providers {
		out = append(out, event.NormalizedSubject(p), event.DeadSubject(p))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// MatchTypes tells whether an event type is like one of the patterns, as Options.Types has them; none match all.
func MatchTypes(patterns []string) func(eventType string) bool { return newTypeFilter(patterns).match }

// typeFilter matches event types.
type typeFilter struct{ patterns []*regexp.Regexp }

func newTypeFilter(globs []string) typeFilter {
	var f typeFilter
	for _, glob := range globs {
		quoted := regexp.QuoteMeta(glob)
		quoted = strings.ReplaceAll(quoted, `\*`, `.*`)
		quoted = strings.ReplaceAll(quoted, `\?`, `.`)
		f.patterns = append(f.patterns, regexp.MustCompile(`(?s)^`+quoted+`$`))
	}
	return f
}

func (f typeFilter) match(eventType string) bool {
	if len(f.patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(f.patterns, func(p *regexp.Regexp) bool { return p.MatchString(eventType) })
}
