package model_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stackstream/collectors"
	"stackstream/event"
	"stackstream/normalizer"
	"stackstream/publisher"
)

// A model that finds nothing may be one that looks nowhere. Each of these defects is planted in one of the parts, is one
// that somebody might write, and must be found: in a world of the smallest size that can show it.
func TestDefectsAreFound(t *testing.T) {
	few := bounds{depth: 24, deviations: 2}
	for _, defect := range []struct {
		name  string
		parts parts
		build build
		find  string // in what is reported
	}{
		{"a writer that sends again what may have been stored", parts{wrapLog: resends}, collecting("poll", 3, 1), "comes twice"},
		{"a normalizing writer that sends again what may have been stored", parts{wrapLog: resends}, normalizing(3, 1), "NORMALIZED"},
		{"a writer that goes on when it is fenced", parts{wrapLog: pushes}, collecting("poll", 4, 2), "RAW"},
		{"a normalizing writer that goes on when it is fenced", parts{wrapLog: pushes}, normalizing(4, 2), "NORMALIZED"},
		{"a writer that expects nothing of the cursor", parts{wrapLog: expectsNothing}, collecting("poll", 4, 2), "RAW"},
		{"a writer that takes what is not known for done", parts{wrapLog: believes}, collecting("queue", 3, 1), "not durable"},
		{"the cursor in a write of its own", parts{wrapLog: separates}, collecting("poll", 3, 1), ""},
		{"a writer that puts the whole progress behind a part of the events", parts{wrapWriter: halves}, collecting("poll", 4, 1), "not collected"},
		{"acknowledgement upstream before the commit", parts{wrapSource: acknowledgesEarly}, collecting("queue", 3, 1), "not durable"},
		{"a memory that does not know what is queued", parts{wrapSource: forgetsQueued, wrapWriter: unmarks}, collecting("queue", 3, 1), "comes twice"},
		{"a memory without the newest of what is durable", parts{wrapMemory: forgetsNewest}, collecting("poll", 4, 1), "comes twice"},
		{"a memory that lags behind what another kind collected", parts{wrapMemory: lagsBehind}, choosing(3), "comes twice"},
		{"a source whose floor is above what it shows again", parts{wrapSource: raisesFloor}, collecting("poll", 5, 1), "comes twice"},
		{"a watermark ahead of what was read", parts{wrapSource: promises}, collecting("poll", 3, 1), "watermark"},
		{"a source whose cursor is behind events that it kept", parts{wrapSource: dropsLast}, collecting("poll", 4, 1), "not collected"},
		{"a normalizer that trusts the consumer's place", parts{wrapCommitter: trustsConsumer}, normalizing(4, 1), "NORMALIZED"},
		{"a normalizer that does not look at the numbers", parts{wrapFeed: renumbers}, normalizing(4, 1), "NORMALIZED"},
		{"a normalizing writer that forgets dead letters", parts{wrapCommitter: dropsDead}, normalizing(4, 1), "NORMALIZED"},
	} {
		t.Run(strings.ReplaceAll(defect.name, " ", "_"), func(t *testing.T) {
			out := few.explore(simulate(t, defect.parts, nil, defect.build))
			switch {
			case out.err == nil:
				t.Errorf("not found in %d schedules", out.schedules)
			case !strings.Contains(out.err.Error(), defect.find):
				t.Errorf("something else was found: %v", out.err)
			default:
				first, _, _ := strings.Cut(out.err.Error(), "\n")
				t.Logf("found by schedule %d (%s): %s", out.schedules, format(out.failing), first)
			}
		})
	}
}

// What the fence makes harmless is not found: the checker looks at what is stored, and not at how it came to be.
func TestTheFenceHolds(t *testing.T) {
	for name, build := range map[string]build{
		"one collector": collecting("poll", 3, 1), "two collectors": collecting("queue", 3, 2), "normalizers": normalizing(3, 2),
	} {
		t.Run(name, func(t *testing.T) {
			out := bounds{depth: 9, deviations: 2}.explore(simulate(t, parts{wrapLog: despairs}, distinct, build))
			if out.err != nil {
				t.Errorf("schedule %d (%s): %v", out.schedules, format(out.failing), out.err)
			}
		})
	}
}

// brokenLog does something else than it should when it appends.
type brokenLog struct {
	log
	append func(ctx context.Context, b event.Batch) (event.StreamSeq, error)
}

func (l brokenLog) Append(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
	return l.append(ctx, b)
}

// newest is the cursor that is there now, whatever the process knows.
func (l log) newest(subject string) event.StreamSeq { return l.s.last(subject, l.s.end()) }

func resends(l log) publisher.Log {
	return brokenLog{l, func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
		seq, err := l.Append(ctx, b)
		for event.KindOf(err) == event.Unknown {
			b.Expect = l.newest(b.Cursor.Subject)
			seq, err = l.Append(ctx, b)
		}
		return seq, err
	}}
}

func pushes(l log) publisher.Log {
	return brokenLog{l, func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
		seq, err := l.Append(ctx, b)
		for event.KindOf(err) == event.Fenced {
			b.Expect = l.newest(b.Cursor.Subject)
			seq, err = l.Append(ctx, b)
		}
		return seq, err
	}}
}

func expectsNothing(l log) publisher.Log {
	return brokenLog{l, func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
		b.Expect = l.newest(b.Cursor.Subject)
		return l.Append(ctx, b)
	}}
}

func believes(l log) publisher.Log {
	return brokenLog{l, func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
		seq, err := l.Append(ctx, b)
		if event.KindOf(err) == event.Unknown {
			return b.Expect + event.StreamSeq(len(b.Messages)) + 1, nil
		}
		return seq, err
	}}
}

// despairs takes what is not known for not done, without looking.
func despairs(l log) publisher.Log {
	return brokenLog{l, func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
		seq, err := l.Append(ctx, b)
		if event.KindOf(err) == event.Unknown {
			return 0, unavailableError("append")
		}
		return seq, err
	}}
}

func separates(l log) publisher.Log {
	return brokenLog{l, func(ctx context.Context, b event.Batch) (event.StreamSeq, error) {
		if len(b.Messages) > 1 {
			half := b
			half.Messages = b.Messages[:len(b.Messages)-1]
			half.Cursor = b.Messages[len(b.Messages)-1]
			half.Expect = l.newest(half.Cursor.Subject)
			if seq, err := l.Append(ctx, half); err != nil {
				return seq, err
			}
			b.Messages = nil
		}
		return l.Append(ctx, b)
	}}
}

type brokenWriter struct {
	collectors.Writer
	commit func(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error)
}

func (w brokenWriter) Commit(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
	return w.commit(ctx, events, p)
}

func halves(w collectors.Writer) collectors.Writer {
	return brokenWriter{w, func(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
		n := len(events) / 2
		first, err := w.Commit(ctx, events[:n], p)
		if err != nil {
			return nil, err
		}
		second, err := w.Commit(ctx, events[n:], p)
		return append(first, second...), err
	}}
}

// brokenSource changes what a source hands over.
type brokenSource struct {
	collectors.Source
	change func(b collectors.Batch) collectors.Batch
}

func (s brokenSource) Run(ctx context.Context, from event.From, emit collectors.Emit) error {
	return s.Source.Run(ctx, from, func(ctx context.Context, b collectors.Batch) error { return emit(ctx, s.change(b)) })
}

func acknowledgesEarly(s collectors.Source) collectors.Source {
	return brokenSource{s, func(b collectors.Batch) collectors.Batch {
		b.Done()
		return b
	}}
}

func raisesFloor(s collectors.Source) collectors.Source {
	return brokenSource{s, func(b collectors.Batch) collectors.Batch {
		b.Floor = b.Floor.Add(time.Hour)
		return b
	}}
}

func promises(s collectors.Source) collectors.Source {
	return brokenSource{s, func(b collectors.Batch) collectors.Batch {
		b.Watermark = b.Watermark.Add(time.Second)
		return b
	}}
}

func dropsLast(s collectors.Source) collectors.Source {
	return brokenSource{s, func(b collectors.Batch) collectors.Batch {
		b.Events = b.Events[:len(b.Events)-1]
		return b
	}}
}

// mark makes another identity of one that a memory forgot; what is stored is the event itself.
const mark = "#again"

func forgetsQueued(s collectors.Source) collectors.Source {
	return brokenSource{s, func(b collectors.Batch) collectors.Batch {
		b.Events = append(b.Events, b.Events...)
		for i := len(b.Events) / 2; i < len(b.Events); i++ {
			b.Events[i].ID += mark
		}
		return b
	}}
}

func unmarks(w collectors.Writer) collectors.Writer {
	return brokenWriter{w, func(ctx context.Context, events []event.Raw, p event.Progress) ([]event.StreamSeq, error) {
		for i := range events {
			events[i].ID = event.ID(strings.TrimSuffix(string(events[i].ID), mark))
		}
		return w.Commit(ctx, events, p)
	}}
}

type brokenMemory struct {
	collectors.Memory
}

func forgetsNewest(m collectors.Memory) collectors.Memory { return brokenMemory{m} }

func (m brokenMemory) Identities(ctx context.Context, p event.Provider, from, upTo event.StreamSeq, yield func(event.Seen)) error {
	var seen []event.Seen
	err := m.Memory.Identities(ctx, p, from, upTo, func(s event.Seen) { seen = append(seen, s) })
	for _, s := range seen[:max(0, len(seen)-1)] {
		yield(s)
	}
	return err
}

func lagsBehind(m collectors.Memory) collectors.Memory {
	lagging := m.(memory)
	lagging.lags = true
	return lagging
}

// brokenCommitter may show the service another cursor than the one that there is.
type brokenCommitter struct {
	normalizer.Committer
	open   func(c event.NormalizedCursor) event.NormalizedCursor
	commit func(outcomes []event.Outcome) []event.Outcome
}

func (c brokenCommitter) Open(ctx context.Context) (event.NormalizedCursor, error) {
	cursor, err := c.Committer.Open(ctx)
	if c.open != nil {
		cursor = c.open(cursor)
	}
	return cursor, err
}

func (c brokenCommitter) Commit(ctx context.Context, outcomes []event.Outcome, raw event.RawStream) (event.NormalizedCursor, error) {
	if c.commit != nil {
		outcomes = c.commit(outcomes)
	}
	return c.Committer.Commit(ctx, outcomes, raw)
}

// trustsConsumer goes on where the consumer was told that all is dealt with.
func trustsConsumer(c normalizer.Committer, w *world) normalizer.Committer {
	return brokenCommitter{Committer: c, open: func(c event.NormalizedCursor) event.NormalizedCursor {
		w.mu.Lock()
		defer w.mu.Unlock()
		c.RawSeq, c.Sources = w.consumer.acked, map[event.Source]event.SourcePosition{}
		for _, m := range w.raw.held(1, c.RawSeq) {
			if raw, err := event.ParseRaw(m); err == nil {
				c.Sources[raw.Source] = event.SourcePosition{Position: raw.Seq}
			}
		}
		return c
	}}
}

func dropsDead(c normalizer.Committer, _ *world) normalizer.Committer {
	return brokenCommitter{Committer: c, commit: func(outcomes []event.Outcome) []event.Outcome {
		return slices.DeleteFunc(slices.Clone(outcomes), func(o event.Outcome) bool { return o.Dead != nil })
	}}
}

// renumbered hides from the service that something is missing.
type renumbered struct {
	normalizer.Reader
	mu   *sync.Mutex
	next map[event.Source]event.Seq
}

type renumbering struct{ feed }

func renumbers(f feed) normalizer.Feed { return renumbering{f} }

func (f renumbering) Open(ctx context.Context, p event.Provider, from event.NormalizedCursor) (normalizer.Reader, error) {
	r, err := f.feed.Open(ctx, p, from)
	if err != nil {
		return nil, err
	}
	next := map[event.Source]event.Seq{}
	for source, at := range from.Sources {
		next[source] = at.Position
	}
	return renumbered{r, &sync.Mutex{}, next}, nil
}

func (r renumbered) Next(ctx context.Context, limit, bytes int) ([]event.Stored, error) {
	messages, err := r.Reader.Next(ctx, limit, bytes)
	var out []event.Stored
	for _, m := range messages {
		raw, perr := event.ParseRaw(m)
		if perr != nil {
			return nil, errors.Join(err, perr)
		}
		r.next[raw.Source]++
		again := raw.Message(cloud, raw.Source, r.next[raw.Source], raw.BodyRef)
		out = append(out, event.Stored{Message: again, Sequence: m.Sequence, Time: m.Time})
	}
	return out, err
}
