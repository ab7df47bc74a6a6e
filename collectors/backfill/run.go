package backfill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nuid"

	"stackstream/collectors"
	"stackstream/event"
)

const (
	// lookAgain is how often what the live sources have promised is looked at.
	lookAgain = 5 * time.Second
	// maxPause bounds the pauses after errors, but for a service that asks for a longer one.
	maxPause = time.Minute
)

// run is one process at work on a job. Its loop calls it as a source, in one goroutine at a time.
type run struct {
	*Job
	choice event.Choice

	claimed  bool
	finished bool
	fatal    error // what trying again does not mend
	looked   time.Time
	handed   uint64 // events that the loop took

	mu        sync.Mutex // of what follows, which the loop's hook reads
	state     State      // behind what the loop took
	at        time.Time  // up to where the service was read
	before    uint64     // events that earlier processes added
	committed uint64     // and this one
}

// What was seen before the job began need not hold any more.
var (
	errLookAgain = errors.New("the provider's choice of source was written again: an operator may have set a live source back")
	errGivenUp   = errors.New("raw events were given up meanwhile, which counted as there")
)

// Run does the job that was looked at, until it is done, and returns how far it came. What may pass makes it pause and go on; nil
// says that the service has shown all of the range. A job that was looked at is run once.
func (j *Job) Run(ctx context.Context, o Outlook) (Progress, error) {
	for {
		progress, err := j.runOnce(ctx, o)
		if !errors.Is(err, errLookAgain) && !errors.Is(err, errGivenUp) {
			return progress, err
		}
		j.waits(err.Error() + "; looking again")
		for wait := newBackOff(); ; {
			if o, err = j.Look(ctx); event.KindOf(err) != event.Unavailable {
				break
			}
			if err := j.pause(ctx, err, wait); err != nil {
				return progress, err
			}
		}
		if err != nil {
			return progress, err
		}
		j.waits("")
	}
}

// runOnce is Run under one choice of source.
func (j *Job) runOnce(ctx context.Context, o Outlook) (Progress, error) {
	if o.Before != nil && !o.Before.Done.IsZero() {
		return Progress{State: *o.Before, Added: o.Added}, nil
	}
	r := j.start(o)
	r.state.Run = nuid.Next()
	wait := newBackOff()
	for {
		was := r.committed
		err := r.loop().Run(ctx)
		switch {
		case r.finished:
			return r.progress(), nil
		case ctx.Err() != nil:
			return r.progress(), context.Cause(ctx)
		}
		if final := r.final(ctx, err); final != nil {
			return r.progress(), final
		}
		if r.committed > was {
			wait.Reset()
		}
		if err := r.pause(ctx, err, wait); err != nil {
			return r.progress(), err
		}
	}
}

func (j *Job) start(o Outlook) *run {
	r := &run{Job: j, choice: o.choice, before: o.Added, state: State{
		From: j.From.UTC(), To: j.To.UTC(), Service: j.Kind, Began: time.Now().UTC(), Base: o.base,
		Accepted: o.given.At,
	}}
	if o.Before != nil {
		r.state = *o.Before
	}
	r.state.AllowDuplicates = r.state.AllowDuplicates || j.AllowDuplicates
	return r
}

// loop is the loop that runs any source, for one reading of the service.
func (r *run) loop() *collectors.Loop {
	fence := event.Fence{Subject: event.ChoiceSubject(r.Provider), Sequence: r.choice.Sequence}
	return &collectors.Loop{
		Provider: r.Provider, Name: r.source, Source: r, Writer: r.Deps.NewWriter(r.Provider, r.source, fence),
		Memory: ownMemory{r.Deps.Memory, r.source, r.held.upTo, r.held.given}, Log: r.Deps.Log,
		Hooks: collectors.Hooks{Committed: func(_ event.Provider, _ event.Source, c collectors.Commit) {
			r.mu.Lock()
			r.committed += uint64(c.Events)
			r.mu.Unlock()
			r.tell()
		}},
	}
}

// ownMemory shows a loop what its own source has collected. All else is among the identities that are held, which the loop does
// not need to keep once more.
type ownMemory struct {
	collectors.Memory
	source event.Source
	known  event.StreamSeq // up to here there is nothing that a loop without a cursor would have to know
	given  event.GivenUp   // is to be added once more
}

func (m ownMemory) Identities(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen)) error {
	if from == 0 {
		from = m.known + 1
	}
	return m.Memory.Identities(ctx, p, from, upTo, func(e event.Seen) {
		if e.Source == m.source && !m.given.Has(e.Source, e.Seq) {
			yield(e)
		}
	})
}

// final is the error that ends the job, nil for one that may pass.
func (r *run) final(ctx context.Context, err error) error {
	switch kind := event.KindOf(err); {
	case r.fatal != nil:
		return r.fatal
	case kind == event.Fenced:
		return r.overtaken(ctx, err)
	case r.handed != r.committed:
		// What was handed over and not stored counts as held here.
		return fmt.Errorf("%w (%w)", err, errReadAgain)
	case kind == event.Paused, kind == event.Invalid:
		return err
	}
	return nil
}

// overtaken explains a fence.
func (r *run) overtaken(ctx context.Context, err error) error {
	brief, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	cursors, cerr := r.Deps.Memory.Cursors(brief, r.Provider)
	if cerr != nil {
		return err
	}
	own := cursors[r.source]
	if s, cerr := ReadState(own.Cursor); cerr == nil && s.Run != r.state.Run {
		if !s.Removed.IsZero() {
			return r.fenced("the job was removed by %s", own.Owner)
		}
		return r.fenced("another process has taken over the job: %s", own.Owner)
	}
	choice, cerr := r.Deps.Choices.ReadChoice(brief, r.Provider)
	switch {
	case cerr != nil, choice.Sequence == r.choice.Sequence:
		return err
	case choice.Kind == r.choice.Kind:
		return errLookAgain
	}
	return r.fenced("the provider's choice of source was changed meanwhile (%s: %s); %w", choice.Kind, choice.Why, errReadAgain)
}

func (j *Job) fenced(format string, args ...any) error {
	return &event.Error{Kind: event.Fenced, Op: "backfill " + j.Name, Err: fmt.Errorf(format, args...)}
}

func newBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(maxPause), backoff.WithMaxElapsedTime(0))
}

// pause waits after an error, for as long as the service wants.
func (j *Job) pause(ctx context.Context, why error, wait backoff.BackOff) error {
	delay := wait.NextBackOff()
	var asked *collectors.RetryAfter
	if errors.As(why, &asked) {
		delay = max(delay, asked.After)
	}
	j.waits(why.Error())
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		j.waits("")
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (j *Job) waits(why string) {
	if j.Deps.Waits != nil {
		j.Deps.Waits(why)
	}
}

func (r *run) progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Progress{State: r.state, At: r.at, Added: r.before + r.committed}
}

func (r *run) tell() {
	if r.Deps.Progress != nil {
		r.Deps.Progress(r.progress())
	}
}
