// Package collectorstest has the conformance suite that every source passes, and the model it runs on: streams,
// choices and leases in memory, with the guarantees of the real ones and with failures on demand.
package collectorstest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"stackstream/collectors"
	"stackstream/event"
)

var (
	_ collectors.Writer  = (*Writer)(nil)
	_ collectors.Sharer  = (*Writer)(nil)
	_ collectors.Memory  = (*Log)(nil)
	_ collectors.Choices = (*Log)(nil)
)

// Log is a model of the RAW stream: fenced atomic commits, the cursors and choices in it, and the identities it holds.
// It is safe for concurrent use.
type Log struct {
	// Fault, if set before the Log is used, is asked before each commit that would not be refused anyway: whether it
	// is stored, and what the Writer returns. It may block; nothing else does meanwhile.
	Fault func(ctx context.Context, events []event.Raw, p event.Progress) (store bool, err error)
	// ChoiceFault, if set, may refuse to read or write a choice.
	ChoiceFault func() error

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	last    event.StreamSeq
	commits int
	entries []event.StoredRaw
	cursors map[event.Provider]map[event.Source]event.RawCursor
	choices map[event.Provider]event.Choice
	shared  map[event.Provider]event.StreamSeq // of the last commit with events of a writer that shares
}

// NewLog returns an empty Log.
func NewLog() *Log {
	return &Log{
		changed: make(chan struct{}),
		cursors: map[event.Provider]map[event.Source]event.RawCursor{},
		choices: map[event.Provider]event.Choice{},
		shared:  map[event.Provider]event.StreamSeq{},
	}
}

// Writer is the model of the fenced writer of one source.
type Writer struct {
	log    *Log
	p      event.Provider
	s      event.Source
	fence  event.Fence
	cursor event.RawCursor
	shares bool
	known  event.StreamSeq // as Log.shared
}

// NewWriter has the form of collectors.Deps.NewWriter.
func (l *Log) NewWriter(p event.Provider, s event.Source, fence event.Fence) collectors.Writer {
	return &Writer{log: l, p: p, s: s, fence: fence}
}

// Share has the Writer share its events with others that do.
func (w *Writer) Share() { w.shares = true }

// Look returns the *event.OvertakenError that Commit would return.
func (w *Writer) Look(ctx context.Context) error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if over := w.overtaken(); over != nil {
		return over
	}
	return ctx.Err()
}

// overtaken tells once of what others have stored; mu is held.
func (w *Writer) overtaken() *event.OvertakenError {
	after, upTo := w.known, w.log.shared[w.p]
	w.known = upTo
	if !w.shares || upTo == after {
		return nil
	}
	return &event.OvertakenError{After: after, UpTo: upTo}
}

// Open reads the cursor.
func (w *Writer) Open(ctx context.Context) (event.RawCursor, error) {
	if err := ctx.Err(); err != nil {
		return event.RawCursor{}, err
	}
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.cursor = w.log.cursors[w.p][w.s]
	w.known = w.log.shared[w.p]
	w.cursor.Shared = w.known
	return w.cursor, nil
}

// Commit stores all or nothing.
func (w *Writer) Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	store, fault := true, error(nil)
	if w.log.Fault != nil {
		store, fault = w.log.Fault(ctx, events, p)
	}
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	fenced := l.cursors[w.p][w.s].Sequence != w.cursor.Sequence
	if len(events) > 0 && w.fence.Subject == event.ChoiceSubject(w.p) {
		fenced = fenced || l.choices[w.p].Sequence != w.fence.Sequence
	}
	if fenced {
		return nil, &event.Error{Kind: event.Fenced, Op: "append"}
	}
	if len(events) > 0 {
		if over := w.overtaken(); over != nil {
			return nil, over
		}
	}
	if !store {
		if fault == nil {
			fault = errors.New("not stored, by order of the test")
		}
		return nil, fault
	}
	seqs := make([]event.StreamSeq, 0, len(events))
	cursor := w.cursor
	for _, e := range events {
		l.last++
		cursor.Position++
		cursor.Received = e.Received
		seqs = append(seqs, l.last)
		l.entries = append(l.entries, event.StoredRaw{
			Raw: e, Provider: w.p, Source: w.s, Seq: cursor.Position, Sequence: l.last, StoredAt: time.Now(),
		})
	}
	l.last++
	l.commits++
	cursor.Progress, cursor.Sequence, cursor.WrittenAt = p, l.last, time.Now()
	cursor.Batch = strconv.Itoa(l.commits)
	if l.cursors[w.p] == nil {
		l.cursors[w.p] = map[event.Source]event.RawCursor{}
	}
	l.cursors[w.p][w.s] = cursor
	if w.shares && len(events) > 0 {
		l.shared[w.p] = l.last
		w.known = l.last
	}
	l.notify()
	if fault != nil {
		return nil, fault
	}
	w.cursor = cursor
	return seqs, nil
}

// notify wakes who waits in Wait; mu is held.
func (l *Log) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Identities calls yield for what the Log holds of a provider.
func (l *Log) Identities(
	ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen),
) error {
	for _, e := range l.Events(p) {
		if e.Sequence >= from {
			yield(event.Seen{ID: e.ID, Source: e.Source, Time: e.Time, Seq: e.Seq, Sequence: e.Sequence})
		}
	}
	return ctx.Err()
}

// Cursors returns the cursors of all sources of a provider.
func (l *Log) Cursors(ctx context.Context, p event.Provider) (map[event.Source]event.RawCursor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[event.Source]event.RawCursor{}
	for s, c := range l.cursors[p] {
		all[s] = c
	}
	return all, ctx.Err()
}

// ReadChoice returns the choice of a provider, zero if none was made.
func (l *Log) ReadChoice(ctx context.Context, p event.Provider) (event.Choice, error) {
	if l.ChoiceFault != nil {
		if err := l.ChoiceFault(); err != nil {
			return event.Choice{}, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.choices[p], ctx.Err()
}

// WriteChoice replaces the choice with the sequence c.Sequence.
func (l *Log) WriteChoice(ctx context.Context, p event.Provider, c event.Choice) (event.Choice, error) {
	if l.ChoiceFault != nil {
		if err := l.ChoiceFault(); err != nil {
			return event.Choice{}, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return event.Choice{}, err
	}
	if l.choices[p].Sequence != c.Sequence {
		return event.Choice{}, &event.Error{Kind: event.Fenced, Op: "write choice"}
	}
	l.last++
	c.Sequence = l.last
	l.choices[p] = c
	l.notify()
	return c, nil
}

// Events returns what is stored for a provider, in the order of the stream.
func (l *Log) Events(p event.Provider) []event.StoredRaw {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []event.StoredRaw
	for _, e := range l.entries {
		if e.Provider == p {
			all = append(all, e)
		}
	}
	return all
}

// IDs returns the identities stored for a provider, in the order of the stream.
func (l *Log) IDs(p event.Provider) []event.ID {
	var ids []event.ID
	for _, e := range l.Events(p) {
		ids = append(ids, e.ID)
	}
	return ids
}

// Cursor returns the cursor of a source.
func (l *Log) Cursor(p event.Provider, s event.Source) event.RawCursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cursors[p][s]
}

// CursorsAsOf returns the cursors of all sources of a provider: they never lag.
func (l *Log) CursorsAsOf(ctx context.Context, p event.Provider, _ event.StreamSeq) (map[event.Source]event.RawCursor, error) {
	return l.Cursors(ctx, p)
}

// Change changes the cursor of a source as an operator's command does: who writes behind it is fenced.
func (l *Log) Change(p event.Provider, s event.Source, change func(*event.RawCursor)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change(p, s, change)
}

// SetBack changes the cursor of a source as a command does that has it read again: who writes under the provider's choice of
// source is fenced as well.
func (l *Log) SetBack(p event.Provider, s event.Source, change func(*event.RawCursor)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change(p, s, change)
	choice := l.choices[p]
	l.last++
	choice.Sequence = l.last
	l.choices[p] = choice
}

// change is Change; mu is held.
func (l *Log) change(p event.Provider, s event.Source, change func(*event.RawCursor)) {
	cursor := l.cursors[p][s]
	change(&cursor)
	l.last++
	cursor.Commanded = time.Now()
	cursor.Sequence, cursor.Batch = l.last, "command-"+strconv.FormatUint(uint64(l.last), 10)
	if l.cursors[p] == nil {
		l.cursors[p] = map[event.Source]event.RawCursor{}
	}
	l.cursors[p][s] = cursor
	l.notify()
}

// Commits returns how many commits were stored, those without events included.
func (l *Log) Commits() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commits
}

// Wait returns when the condition holds, which is looked at after each change of the Log, or with ctx's error.
func (l *Log) Wait(ctx context.Context, condition func() bool) error {
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Leases is a model of leases that are shared by several collectors. Its zero value is ready for use.
type Leases struct {
	mu      sync.Mutex
	holders map[string]*holder
}

type holder struct {
	by       string
	lose     context.CancelFunc
	released chan struct{}
}

// For returns the leases as a process of that name sees them.
func (l *Leases) For(owner string) collectors.Lease { return &owned{leases: l, owner: owner} }

// Lose takes the lease of key from its holder, if there is one.
func (l *Leases) Lose(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.holders[key]; h != nil {
		h.lose()
	}
}

// Held returns the keys that are held, sorted.
func (l *Leases) Held() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []string
	for key := range l.holders {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

type owned struct {
	leases *Leases
	owner  string
}

// Hold implements collectors.Lease.
func (o *owned) Hold(
	ctx context.Context, key string, holding func(held bool, by string), work func(ctx context.Context) error,
) error {
	l := o.leases
	workCtx, lose := context.WithCancel(ctx)
	defer lose()
	mine := &holder{by: o.owner, lose: lose, released: make(chan struct{})}
	for {
		l.mu.Lock()
		other := l.holders[key]
		if other == nil {
			if l.holders == nil {
				l.holders = map[string]*holder{}
			}
			l.holders[key] = mine
		}
		l.mu.Unlock()
		if other == nil {
			break
		}
		holding(false, other.by)
		select {
		case <-other.released:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.holders, key)
		close(mine.released)
	}()
	holding(true, o.owner)
	return work(workCtx)
}
