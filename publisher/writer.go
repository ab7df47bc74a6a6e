package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nuid"

	"stackstream/event"
)

// writer puts batches behind one cursor and settles what became of each. It is not safe for concurrent use.
type writer struct {
	log     Log
	bodies  Bodies
	subject string // of the cursor
	fence   event.Fence
	owner   string
	limits  Limits
	hooks   Hooks

	ids     *nuid.NUID
	pause   backoff.BackOff
	waiting bool

	// maxBody is Limits.MaxBody, or less once the server has refused less.
	maxBody int
	// expect is the stream sequence of the cursor that the next batch replaces; it is known while opened.
	expect event.StreamSeq
	// batch is the attempt of this writer that wrote that cursor, "" if it did not write it.
	batch  string
	opened bool
	// rereads: whoever is fenced reads all that he goes by anew. Who has fenced him is of no interest then, and is not looked for:
	// the sequence in a refusal may be the fence's, which the cursor's subject never comes to.
	rereads bool
	// shared is what a writer that shares needs beside that.
	shared shared
}

// minBody is where making bodies smaller for a server that calls them too large ends, in bytes.
const minBody = 512

func newWriter(log Log, bodies Bodies, subject string, fence event.Fence, opts Options) writer {
	limits := opts.Limits.withDefaults()
	return writer{
		log: log, bodies: bodies, subject: subject, fence: fence,
		owner: opts.Owner, limits: limits, hooks: opts.Hooks,
		ids: nuid.New(), maxBody: limits.MaxBody,
		pause: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(100*time.Millisecond),
			backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0.5),
			backoff.WithMaxInterval(20*time.Second), // 30 s with the jitter
			backoff.WithMaxElapsedTime(0),
		),
	}
}

// open reads the cursor into record. Its answer need not be the newest: a writer that starts from an old one is fenced.
func (w *writer) open(ctx context.Context, record any) error {
	w.opened = false
	m, ok, err := w.log.ReadCursor(ctx, w.subject, 0)
	if err != nil {
		return fmt.Errorf("read %s: %w", w.subject, err)
	}
	w.expect, w.batch = 0, ""
	if ok {
		if err := event.DecodeRecord(m, record); err != nil {
			return err
		}
		w.expect = m.Sequence
	}
	if err := w.openShared(ctx); err != nil {
		return err
	}
	w.opened = true
	return nil
}

func (w *writer) mustBeOpen() error {
	if w.opened {
		return nil
	}
	return w.invalid(errors.New("the writer is not open: Open must be called first and after every error"))
}

// end is called with what Commit returns.
func (w *writer) end(err error) {
	w.calm()
	if err != nil {
		w.opened = false
	}
}

func (w *writer) invalid(err error) error {
	return &event.Error{Kind: event.Invalid, Op: "commit behind " + w.subject, Err: err}
}

// write stores p and the cursor behind it, once, and returns the cursor's stream sequence. record makes the cursor of
// an attempt from its batch id. rebuild makes p again, as many messages, with no body above a given size that could go
// to an object instead.
//
// All attempts are attempts at the same content, so that it does not matter which of them is the one that is stored: a
// batch whose answer was lost may still be stored by the server later, and then all later ones are refused.
func (w *writer) write(
	ctx context.Context, p piece, rebuild func(maxBody int) piece, record func(batch string) any,
) (event.StreamSeq, error) {
	if err := w.store(ctx, p.objects); err != nil {
		return 0, err
	}
	var (
		mine    []string // ids of the attempts that may be stored
		maxBody = w.maxBody
		began   = time.Now()
	)
	for {
		id := w.ids.Next()
		body, err := json.Marshal(record(id))
		if err != nil {
			return 0, w.invalid(fmt.Errorf("encode cursor: %w", err))
		}
		if len(body) > w.limits.MaxBody {
			return 0, w.invalid(fmt.Errorf("the cursor has %d bytes", len(body)))
		}
		b := event.Batch{
			ID: id, Messages: p.messages, Cursor: event.Message{Subject: w.subject, Body: body},
			Expect: w.expect, Fence: w.fence,
		}
		record, err := w.shared.put(&b, p.events, p.received)
		if err != nil {
			return 0, w.invalid(err)
		}
		mine = append(mine, id)
		start := time.Now()
		at, err := w.log.Append(ctx, b)
		if err == nil {
			w.hooks.result(0, &p, time.Since(start))
			w.maxBody = maxBody
			return w.committed(at, id, record), nil
		}
		kind := event.KindOf(err)
		if kind == 0 {
			kind = event.Unknown
		}
		w.hooks.result(kind, &p, time.Since(start))
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}

		switch kind {
		case event.Full, event.Unavailable:
			mine = mine[:len(mine)-1]

		case event.TooLarge:
			mine = mine[:len(mine)-1]
			largest := min(maxBody, p.largest())
			if largest <= minBody {
				return 0, w.invalid(err)
			}
			maxBody = max(largest/2, minBody)
			p = rebuild(maxBody)
			if err := w.store(ctx, p.objects); err != nil {
				return 0, err
			}
			continue

		case event.Invalid:
			return 0, err

		case event.Fenced:
			if w.rereads && len(mine) == 1 {
				return 0, w.fenced(nobody, state{}, err) // nothing of this was sent before: nothing of it can be there
			}
			fallthrough
		default:
			over, oerr := w.overtaken(ctx, kind, err)
			if oerr != nil {
				return 0, oerr
			}
			atLeast := lastSeen(err)
			if over != nil {
				if len(mine) == 1 {
					return 0, over // no attempt but the one that is refused
				}
				atLeast = over.UpTo
			}
			found, last, rerr := w.reread(ctx, atLeast, mine)
			switch {
			case rerr != nil:
				return 0, rerr
			case found == ours:
				w.hooks.result(0, &p, time.Since(began))
				return w.committed(last.sequence, last.Batch, w.shared.wrote(last.Batch, record)), nil
			case found == nobody && over != nil:
				return 0, over
			case found == foreign || kind == event.Fenced:
				return 0, w.fenced(found, last, err)
			}
		}
		if err := w.wait(ctx, err); err != nil {
			return 0, err
		}
	}
}

func (w *writer) committed(at event.StreamSeq, batch string, record *event.Shared) event.StreamSeq {
	w.expect, w.batch = at, batch
	if record != nil {
		w.shared.expect, w.shared.record = at-1, *record
	}
	w.calm()
	return at
}

// whose says who wrote the cursor that was found.
type whose int

const (
	nobody  whose = iota // it is still the one that was to be replaced, or an older one of a replica that lags
	ours                 // an attempt at the content in hand
	foreign              // another writer, or this one before it was opened
)

// headerBatchSequence numbers the messages of an atomic batch of the server's from 1 on.
const headerBatchSequence = "Nats-Batch-Sequence"

// state is what a writer needs to know of any cursor.
type state struct {
	Batch string `json:"batch"`
	Owner string `json:"owner"`

	sequence event.StreamSeq
}

// reread reads the cursor until there is an answer. It does not insist on seeing w.expect, nor on atLeast once the stream
// is known to end before it: where those are gone, because the stream was made anew, it would wait for ever; a new
// attempt decides that case, and the one of a lagging replica.
func (w *writer) reread(ctx context.Context, atLeast event.StreamSeq, mine []string) (whose, state, error) {
	for {
		w.hooks.reread()
		m, ok, err := w.log.ReadCursor(ctx, w.subject, atLeast)
		if err == nil {
			if !ok || m.Sequence <= w.expect {
				return nobody, state{}, nil
			}
			s := state{sequence: m.Sequence}
			if err := event.DecodeRecord(m, &s); err != nil {
				return 0, state{}, err
			}
			switch {
			case slices.Contains(mine, s.Batch):
				return ours, s, nil
			case w.batch != "" && s.Batch == w.batch && m.Header.Get(headerBatchSequence) == "1":
				// It is the one that was to be replaced, as a batch begins with it whose end the server could not store. It completes
				// that batch once it can, and takes nothing before.
				w.expect = m.Sequence
				return nobody, state{}, nil
			}
			return foreign, s, nil
		}
		if ctx.Err() != nil {
			return 0, state{}, ctx.Err()
		}
		switch event.KindOf(err) {
		case event.Invalid:
			return 0, state{}, fmt.Errorf("read %s: %w", w.subject, err)
		case event.Regressed:
			return nobody, state{}, nil
		}
		if err := w.wait(ctx, err); err != nil {
			return 0, state{}, err
		}
	}
}

func (w *writer) fenced(found whose, s state, cause error) error {
	if found == foreign {
		cause = fmt.Errorf("the cursor was written by %q", s.Owner)
	}
	return &event.Error{Kind: event.Fenced, Op: "commit behind " + w.subject, Last: s.sequence, Err: cause}
}

// lastSeen is the sequence that a refusal named, so that the answer of a replica that lags behind it does not count.
func lastSeen(err error) event.StreamSeq {
	var e *event.Error
	if errors.As(err, &e) {
		return e.Last
	}
	return 0
}

// store puts objects into Bodies. Doing it twice does no harm, so that any error but a final one means again.
func (w *writer) store(ctx context.Context, objects []object) error {
	for _, o := range objects {
		for {
			err := w.bodies.PutBody(ctx, o.ref, o.body)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			switch event.KindOf(err) {
			case event.Invalid, event.TooLarge:
				return w.invalid(fmt.Errorf("store body %s: %w", o.ref.Object, err))
			}
			if err := w.wait(ctx, err); err != nil {
				return err
			}
		}
		w.calm()
	}
	return nil
}

// wait pauses because of cause. Pauses grow until calm is called.
func (w *writer) wait(ctx context.Context, cause error) error {
	w.waiting = true
	w.hooks.waiting(cause)
	t := time.NewTimer(w.pause.NextBackOff())
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// calm ends a period of waiting.
func (w *writer) calm() {
	if w.waiting {
		w.waiting = false
		w.pause.Reset()
		w.hooks.resumed()
	}
}

// largest is the size of the largest body in a message.
func (p *piece) largest() int {
	n := 0
	for i := range p.messages {
		n = max(n, len(p.messages[i].Body))
	}
	return n
}
