package collectors

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
)

// Options of a Loop. Zero values are replaced by the defaults.
type Options struct {
	// QueueBytes bounds what is read and not yet being committed (8 MiB). One batch that is larger passes alone.
	QueueBytes int
	// Heartbeat is how long a cursor that moved without any events may stay unwritten (60 s).
	Heartbeat time.Duration
	// Drain is how long a commit may go on after the end was asked for (10 s).
	Drain time.Duration
	// Grace is how long a source may take to return after it was told to end (10 s), until it is reported as stuck.
	Grace time.Duration
}

func (o Options) withDefaults() Options {
	o.QueueBytes = cmp.Or(o.QueueBytes, 8<<20)
	o.Heartbeat = cmp.Or(o.Heartbeat, time.Minute)
	o.Drain = cmp.Or(o.Drain, 10*time.Second)
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	return o
}

// Loop runs one source of one provider: it reads the cursor, lets the source go on from there, removes what RAW has
// already, commits the rest together with the cursor behind it, and calls Done after that.
//
// It needs no lease to be correct: the Writer is fenced. A Loop may be run again after Run has returned.
type Loop struct {
	Provider event.Provider
	Name     event.Source
	Source   Source
	Spec     Spec
	Writer   Writer
	Memory   Memory
	Options  Options
	Hooks    Hooks
	Log      zerolog.Logger
	// Report, if set, is told what the loop is doing: live with the first batch of a run, backoff with a reason while
	// it waits for a source that does not return.
	Report func(s event.State, reason string)

	kept    *kept           // what was read of RAW already, if anything
	atLeast event.StreamSeq // up to here RAW is known to be there: the fence
	// look, if set, reads the cursor now and then: while nothing is written nobody is fenced.
	look func(ctx context.Context) (event.RawCursor, error)
}

// Run collects until ctx ends, and then returns nil: a commit under way is finished within Options.Drain, the latest
// cursor is written if it moved, and what is queued is dropped, to be read again.
//
// It returns an error when the source failed, panicked, fell silent or ended by itself, after committing what was read
// before; and when the Writer refused, after dropping everything: event.Fenced then means that another writer took
// over. It always waits for the source to return. While a source does not, Hooks.Beat is not called.
func (l *Loop) Run(ctx context.Context) error {
	r, from, err := l.open(ctx)
	if err == nil {
		err = r.run(ctx, from)
		l.Hooks.beat(l.Provider, l.Name, 0)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// open reads where the source stands.
func (l *Loop) open(ctx context.Context) (*run, event.From, error) {
	sharing, err := l.sharer()
	if err != nil {
		return nil, event.From{}, err
	}
	if sharing != nil {
		sharing.Share()
	}
	cursor, err := l.Writer.Open(ctx)
	if err != nil {
		return nil, event.From{}, fmt.Errorf("open cursor: %w", err)
	}
	cursors, err := l.Memory.Cursors(ctx, l.Provider)
	if err != nil {
		return nil, event.From{}, fmt.Errorf("read cursors: %w", err)
	}
	from := event.From{Cursor: cursor.Cursor, Newest: cursor.Newest, Floor: cursor.Floor, Watermark: cursor.Watermark}
	for s, c := range cursors {
		if !s.Job() { // what a job brought says nothing about how far a service was read
			from.Newest = later(from.Newest, c.Newest)
		}
	}
	r := &run{
		Loop: l, opt: l.Options.withDefaults(), sharing: sharing, shared: cursor.Shared, seen: newSeen(l.Spec.Repeats, cursor.Floor),
		saved: cursor.Progress, next: cursor.Progress, last: cursor.Sequence, opened: cursor.Sequence, exists: cursor.Sequence > 0,
		wroteAt: time.Now(), committed: make(chan written, 1), position: cursor.Position,
		commanded: cursor.Commanded, looked: make(chan error, 1),
	}
	r.queue = newQueue(r.opt.QueueBytes)
	return r, from, nil
}

// remember reads what RAW has of what the source may show again. It is called before the first events are taken, and
// not earlier: a source that can't reach its service tries again and again, and this may be much to read.
//
// Identities are read from the source's own DedupeFrom on, those of all the provider's sources: its set had them all
// when the cursor was written, and what other sources collected since lies behind it. A source that never collected
// has no such bound, and reads all that RAW has of the provider, once.
func (r *run) remember(ctx context.Context) error {
	if r.remembers.Load() {
		return nil
	}
	ahead, began := r.position, time.Now()
	k := r.kept
	if k == nil {
		k = newKept(r.Memory, r.Provider, r.Name, r.Spec)
	}
	k.forget(r.position)
	err := k.drain(ctx, r.next.DedupeFrom, max(r.opened, r.atLeast, r.shared), func(e known) {
		ahead = max(ahead, e.own)
		r.seen.recall(e)
	})
	if err != nil {
		return fmt.Errorf("read identities: %w", err)
	}
	if ahead > r.position {
		return aheadError(r.position, ahead)
	}
	r.remembers.Store(true)
	r.sayRemembered()
	r.Log.Info().Str("provider", string(r.Provider)).Str("source", string(r.Name)).Int("events", r.seen.size()).
		Dur("took", time.Since(began)).Msg("the events that the source may show again are read back")
	return nil
}

// sayRemembered tells a source that wants to know how many events are remembered.
func (r *run) sayRemembered() {
	if s, ok := r.Source.(Rememberer); ok {
		s.Remembers(r.seen.size())
	}
}

// aheadError says that RAW has events which the cursor does not know of. Going on would give their numbers to others,
// which the normalizer would take for repeats. Mostly another writer is at work, and the next look finds its cursor; should
// a server have stored a batch without the cursor at its end, the source stays stopped and says so.
func aheadError(cursor, ahead event.Seq) error {
	return &event.Error{Kind: event.Fenced, Op: "open cursor", Err: fmt.Errorf(
		"it stands at event %d, and the stream has event %d: another writer is at work, or a batch lost its cursor", cursor, ahead)}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
