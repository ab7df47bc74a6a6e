package collectors

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"stackstream/event"
)

const (
	// silentAfter is how many times a source's Quiet makes a silence.
	silentAfter = 3
	// maxTick bounds how late a deadline of the loop is noticed.
	maxTick = 10 * time.Second
)

// phase of a run; it only moves forward.
type phase int

const (
	reading   phase = iota
	finishing       // the source has ended or was told to; what it handed over is committed
	stopping        // ctx has ended; the commit under way and the latest cursor are still written
	failed          // the Writer refused; nothing more is written
)

// run is the state of one Run. Its methods are called by the one goroutine of Run, but for emit and runSource.
type run struct {
	*Loop
	opt   Options
	queue *queue
	seen  *seen
	busy  busy
	// sharing is the Writer where the source shares its events with others.
	sharing Sharer
	shared  event.StreamSeq // up to here RAW is known to be there

	phase        phase
	err          error
	cancelSource context.CancelFunc
	cancelled    time.Time // when the source was told to end
	returned     bool      // the source has
	live         bool      // the source has handed over something
	reported     bool      // as stuck

	position   event.Seq       // at the start
	opened     event.StreamSeq // of the cursor at the start
	remembers  atomic.Bool     // the set has what RAW holds
	forgetting error           // why it could not be read; the source's goroutine sets it

	saved     event.Progress  // what is durable
	next      event.Progress  // what the next commit will say
	urgent    bool            // it is not to wait
	exists    bool            // the cursor was written, now or earlier
	last      event.StreamSeq // newest sequence in RAW known to be the source's
	wroteAt   time.Time
	waiting   []waiting
	writing   bool
	committed chan written
	commanded time.Time // when an operator had last changed the cursor that was opened
	looking   bool
	looked    chan error
}

// run starts the two goroutines there are: the source, and one for each commit, one at a time. Both have ended when it
// returns.
func (r *run) run(ctx context.Context, from event.From) error {
	var sourceCtx context.Context
	sourceCtx, r.cancelSource = context.WithCancel(ctx)
	defer func() {
		r.cancelSource()
		if r.looking {
			<-r.looked //nolint:errcheck // what it found no longer matters
		}
	}()
	commitCtx, cancelCommit := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelCommit()
	ended := make(chan error, 1)
	r.busy.leave()
	go r.runSource(sourceCtx, from, ended)

	tick := time.NewTicker(r.tick())
	defer tick.Stop()
	r.beat()
	done := ctx.Done()
	for {
		if !r.writing {
			r.commitNext(commitCtx)
		}
		if r.phase != reading && r.returned && !r.writing {
			r.callUndone(r.queue.close(true))
			return r.err
		}
		select {
		case <-done:
			done = nil
			r.end(stopping, nil)
			drain := time.AfterFunc(r.opt.Drain, cancelCommit)
			defer drain.Stop()
		case err := <-ended:
			r.returned = true
			r.sourceEnded(ctx, err)
		case w := <-r.committed:
			r.writing = false
			r.settle(w)
		case err := <-r.looked:
			if r.looking = false; err != nil {
				r.end(failed, err)
			}
		case <-r.queue.ready:
		case <-tick.C:
			r.check()
			r.lookAtCursor(sourceCtx)
		}
	}
}

// tick is how often deadlines are looked at.
func (r *run) tick() time.Duration {
	tick := min(maxTick, r.opt.Heartbeat, r.opt.Grace)
	if r.Spec.Quiet > 0 {
		tick = min(tick, r.Spec.Quiet)
	}
	return tick
}

func (r *run) beat() { r.Hooks.beat(r.Provider, r.Name, r.tick()) }

func (r *run) runSource(ctx context.Context, from event.From, ended chan<- error) {
	err := errGoexit
	defer func() { ended <- err }()
	err = guard(func() error { return r.Source.Run(ctx, from, r.emit) })
}

func (r *run) sourceEnded(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
		r.end(stopping, nil)
	case r.forgetting != nil:
		r.end(finishing, r.forgetting)
	case err == nil:
		r.end(finishing, errors.New("the source ended by itself"))
	default:
		r.end(finishing, err)
	}
}

// end moves the run to a later phase. The first error is the one that is returned, unless the Writer refused.
func (r *run) end(p phase, err error) {
	r.phase = max(r.phase, p)
	if r.err == nil || p == failed {
		r.err = err
	}
	if r.cancelled.IsZero() {
		r.cancelled = time.Now()
		r.cancelSource()
	}
	for _, it := range r.queue.close(r.phase >= stopping) {
		undo(it.undone)
	}
}

// check looks at the deadlines, and beats unless one passed that only a restart of the process mends.
func (r *run) check() {
	if quiet := time.Since(r.busy.since()); r.phase == reading && r.Spec.Quiet > 0 && quiet > silentAfter*r.Spec.Quiet {
		r.end(finishing, fmt.Errorf("silent since %s", r.busy.since().UTC().Format(time.RFC3339)))
	}
	overdue := !r.cancelled.IsZero() && time.Since(r.cancelled) > r.opt.Grace
	switch {
	case overdue && !r.returned:
		r.stuck("the source does not return though it was told to end")
	case overdue && r.writing && r.phase >= stopping && time.Since(r.cancelled) > r.opt.Drain+r.opt.Grace:
		r.stuck("the commit does not return though it was told to end")
	default:
		r.beat()
	}
}

// lookAtCursor finds out whether an operator has changed the cursor. Otherwise a quiet source would learn of it only when it has
// something to write.
func (r *run) lookAtCursor(ctx context.Context) {
	if r.look == nil || r.looking || r.phase != reading {
		return
	}
	r.looking = true
	go func() {
		cursor, err := r.look(ctx)
		switch {
		case event.KindOf(err) == event.Paused:
		case err == nil && cursor.Sequence > r.opened && !cursor.Commanded.Equal(r.commanded):
			err = &event.Error{Kind: event.Fenced, Op: "look at the cursor", Last: cursor.Sequence, Err: fmt.Errorf(
				"%s has changed it", cursor.Owner)}
		default:
			err = nil // what can't be read now says nothing
		}
		r.looked <- err
	}()
}

func (r *run) stuck(what string) {
	if r.reported {
		return
	}
	r.reported = true
	reason := fmt.Sprintf("stuck: %s at %s", what, r.cancelled.UTC().Format(time.RFC3339))
	if r.err != nil {
		reason += " (" + r.err.Error() + ")"
	}
	r.report(event.StateBackoff, reason)
}

func (r *run) report(s event.State, reason string) {
	if r.Report != nil {
		r.Report(s, reason)
	}
}
