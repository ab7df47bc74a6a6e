// Package backfill asks an event service again for a range of time that is over, as a job of its own, and adds to RAW what is
// missing there: after an outage, or where a service showed events later than a live source looks back.
//
// # What is added
//
// The events whose source time t is in the range: from <= t < to. Ranges that touch have no event in common. An event without
// a readable time belongs to no range and is left out, and counted: a live source may show it at any moment. Where no record of a
// service bears a time (Job.Timeless) the service's word counts that what it shows belongs to the range.
//
// Each is added once, and none that the streams have. Before anything is asked for, the identities of what they have are read:
// all of RAW, of all the provider's sources, and all that NORMALIZED and the dead letters have, also of a RAW that is gone. Of
// those only such are kept as may come again: those with a time within a day of the range, or with none. So a service that
// gives an event another time than it had by more than a day, under the same identity, makes it come twice. A range that begins
// before the streams remember everything is refused.
//
// A raw event that the normalizer was told to give up is not one that the streams have, though RAW may still hold it for a while:
// nothing will be made of it. So a job does not begin while RAW has dropped events before they were normalized and nobody has
// given them up yet, and one that ends looks whether more were given up since it began: then it looks again, and reads all of
// its range once more. A job that is done is done anew when it is run again after that.
//
// What is added says so (event.Raw.Backfill), in RAW and in NORMALIZED. It comes in the order in which the service shows it,
// behind everything that is there: it is late, as all that is late.
//
// # What it does not touch
//
// The job has a source of its own, backfill-<job>, with its own numbers, cursor and fence. No other cursor, watermark or choice
// is written. It may be run whatever kind of source collects, and asks whatever service it is told to: a queue has no past, but
// another service of the same cloud may know it.
//
// A live source that runs meanwhile does not know what the job adds: it must not be shown it, too. So a range may not reach
// beyond what every live source has promised not to hand over again (Deps.Promised): what comes later it reads itself. The
// promise is read before the identities, so that all it took before are among them.
//
// A promise may be taken back by an operator, who sets a source back. Whoever does that writes the provider's choice of source
// again, in the same atomic batch, and every batch of the job is fenced by the choice. So either a batch comes before the choice
// that was written, and then the source, which begins behind that, finds it in RAW and knows it again; or it is refused, and
// then the job looks again, at the promises as they are behind the choice, and goes on only where they allow it. Another kind of
// source, which might begin further back, and pausing the provider fence the job in the same way.
//
// The promises are looked at every few seconds as well, for a source that is new. A live source of several parts that finds a new
// one meanwhile, and a notification that reaches a queue later after its own time than Deps.Promised reckons with, are what no
// order of things excludes.
//
// # Interruptions
//
// How far the service was read is written with the events, in one atomic batch, as ever. A job that was killed goes on there when
// it is run again; what it had added is among the identities. Two processes with one job: the one that came later takes over, and
// the other is fenced and ends. Two jobs whose ranges overlap do not know of each other's events: one that is not done is in the
// way of any other, and of two that begin at once at least one steps back.
//
// When the service has shown all of the range the cursor says that the job is done, and is retired. The record stays: its numbers
// must never be given to other events.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"stackstream/collectors"
	"stackstream/event"
)

// Service is an event service that is bound to a range of time that is over.
type Service interface {
	// Available asks whether it would serve us.
	Available(ctx context.Context) error
	// ReadPast hands over what the service has of the range, from a cursor on that an earlier reading handed over, nil to begin,
	// and returns nil when it has shown all of it. It may hand over an event twice, and such as are not of the range.
	ReadPast(ctx context.Context, from event.From, emit collectors.Emit) error
}

// Archive knows what the streams have of events that RAW may have dropped.
type Archive interface {
	// Identities calls yield for the identities of all events and dead letters that were stored at a time or later. Time is zero
	// where the one that RAW had is not known.
	Identities(ctx context.Context, p event.Provider, stored time.Time, yield func(event.Seen)) error
	// Since is from which source time on the streams have everything of a provider that was ever collected; zero: all there was.
	Since(ctx context.Context, p event.Provider) (time.Time, error)
	// GivenUp are the raw events that will never be normalized and that RAW may still have. An error of the kind Expired says that
	// RAW drops events which are not normalized, so that more will have to be given up.
	GivenUp(ctx context.Context, p event.Provider) (event.GivenUp, error)
}

// Memory knows what RAW has of a provider's sources.
type Memory interface {
	collectors.Memory
	// CursorsAsOf is Cursors as they were when RAW had come to a sequence, or later: no server that lags is believed.
	CursorsAsOf(ctx context.Context, p event.Provider, asOf event.StreamSeq) (map[event.Source]event.RawCursor, error)
}

// Deps is what a Job needs of the outside.
type Deps struct {
	NewWriter func(p event.Provider, s event.Source, fence event.Fence) collectors.Writer
	Memory    Memory
	Choices   interface {
		ReadChoice(ctx context.Context, p event.Provider) (event.Choice, error)
	}
	Archive Archive
	// Promised is the time before which a live source with this cursor hands over nothing any more, zero if it does not say.
	Promised func(event.Source, event.RawCursor) time.Time
	// Live are the sources that are configured of a kind.
	Live func(kind string) []event.Source
	Log  zerolog.Logger
	// Waits, if set, is told why the job makes a pause, and with "" that it goes on.
	Waits func(why string)
	// Progress, if set, is told how far the job is, after each page and each write.
	Progress func(Progress)
}

// Job is a range of time to ask for again. What is set of it must not change while it runs.
type Job struct {
	Provider event.Provider
	Name     string // of the job
	Kind     string // of the service that is asked
	From, To time.Time
	Service  Service
	// Timeless: the records of the service bear no time.
	Timeless bool
	// Settles is how long after its own time an event may show: a range must have been over for that long.
	Settles time.Duration
	// Dry: it will be tried only, so that it does not matter whether it was done.
	Dry bool
	// AllowDuplicates goes on where an event may come twice.
	AllowDuplicates bool
	Deps            Deps

	source event.Source
	held   *held
}

// Progress is how far a job is.
type Progress struct {
	State
	// At is the time up to which the service was read; zero where that is not known.
	At time.Time
	// Added is how many events are durable.
	Added uint64
}

// Check returns what is wrong with the job itself.
func (j *Job) Check() error {
	invalid := func(format string, args ...any) error {
		return &event.Error{Kind: event.Invalid, Op: "backfill " + j.Name, Err: fmt.Errorf(format, args...)}
	}
	source, err := event.BackfillSource(j.Name)
	switch {
	case err != nil:
		return err
	case j.From.IsZero() || j.To.IsZero():
		return invalid("a range has a beginning and an end")
	case !j.From.Before(j.To):
		return invalid("the range ends at %s, which is not after its beginning, %s", stamp(j.To), stamp(j.From))
	}
	j.source = source
	return nil
}

// Source is the source through which the events of the job come.
func (j *Job) Source() event.Source { return j.source }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// errReadAgain is what an operator may do about most of what ends a job.
var errReadAgain = errors.New("the same command goes on where this one ended")
