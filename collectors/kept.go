package collectors

import (
	"context"
	"errors"
	"sort"
	"time"

	"stackstream/event"
)

const (
	// keepLook is how often a source that stands by looks how far the one at work has come.
	keepLook = 5 * time.Second
	// keepBehind is how many events it lets come before it reads them.
	keepBehind = 2000
	// keepAtLeast is how many identities may be kept while standing by, of all the provider's sources, however few repeats
	// a source admits to. One takes 48 bytes.
	keepAtLeast = 400_000
	// keepFirst bounds how long the first reading keeps a process from asking for the lease.
	keepFirst = 30 * time.Second
)

// errTooMany says that RAW has more identities than are kept. They are read when it is the source's turn, then.
var errTooMany = errors.New("too many identities to keep them")

// known is an identity that RAW holds.
type known struct {
	remembered
	own event.Seq // its number, if it came from the source itself
	job bool      // it came from a job of the provider, and not from a service
}

// kept is what a source has read of RAW while it stood by, so that little is left to read when it is its turn. It is not
// safe for concurrent use.
type kept struct {
	memory   Memory
	provider event.Provider
	source   event.Source
	limit    int

	from event.StreamSeq // list has everything that RAW had from here on when it was last read
	list []known         // in the order of the stream; nil if nothing was read since it was used
	read event.Seq       // the source's number of the last event that is in it for certain
}

func newKept(memory Memory, p event.Provider, s event.Source, spec Spec) *kept {
	return &kept{memory: memory, provider: p, source: s, limit: max(keepAtLeast, 2*spec.Repeats)}
}

// drain calls yield for all identities that RAW holds from a sequence on, and at least to upTo, in the order of the stream, and
// reads only those that are not in the list, which is gone afterwards. After an error what was told is all there is up to some point.
//
// The list counts only if RAW has the last of it where it was. RAW may have been made anew meanwhile, or have been restored
// from an older copy: what is in the list and no longer in RAW is not known then, and has to be collected again.
func (k *kept) drain(ctx context.Context, from, upTo event.StreamSeq, yield func(known)) error {
	list := k.since(from)
	k.list = nil
	if len(list) > 0 {
		last := list[len(list)-1]
		first, same := true, false
		err := k.memory.Identities(ctx, k.provider, last.seq, upTo, func(e event.Seen) {
			switch next := k.entry(e); {
			case first:
				first, same = false, next == last
				for i := 0; same && i < len(list); i++ {
					yield(list[i])
				}
			case same:
				yield(next)
			}
		})
		if err != nil || same {
			return err
		}
	}
	return k.memory.Identities(ctx, k.provider, from, upTo, func(e event.Seen) { yield(k.entry(e)) })
}

// refresh brings the list up to date, from a sequence on. When that fails half way, what was read is not read again. There is
// no list when there are too many.
func (k *kept) refresh(ctx context.Context, from, upTo event.StreamSeq) error {
	before := *k
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	list := make([]known, 0, len(before.list)+keepBehind)
	err := k.drain(ctx, from, upTo, func(e known) {
		if len(list) == k.limit {
			cancel(errTooMany)
			return
		}
		list = append(list, e)
	})
	switch {
	case errors.Is(context.Cause(ctx), errTooMany):
		return errTooMany
	case err != nil && end(list) <= end(before.list):
		*k = before
		return err
	}
	k.from, k.list = from, list
	return err
}

// forget drops the list of a RAW that had more events of the source than it has now: it was made anew, or restored.
func (k *kept) forget(position event.Seq) {
	if position < k.read {
		k.list, k.read = nil, 0
	}
}

// end is the sequence of the last of a list.
func end(list []known) event.StreamSeq {
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].seq
}

// since is the part of the list from a sequence on, nothing if the list begins later.
func (k *kept) since(from event.StreamSeq) []known {
	if from < k.from {
		return nil
	}
	return k.list[sort.Search(len(k.list), func(i int) bool { return k.list[i].seq >= from }):]
}

func (k *kept) entry(e event.Seen) known {
	out := known{remembered: remembered{id: identityOf(e.ID), at: seconds(e.Time), seq: e.Sequence}}
	if e.Source == k.source {
		out.own = e.Seq
	} else {
		out.job = e.Source.Job()
	}
	return out
}

// keep reads what RAW has and then, until ctx ends, what comes, whenever that is enough to be worth it. It calls first as
// soon as it has read all there was, or has failed to, which it tries again. For a source that never collected it reads
// nothing: that could be all that RAW has.
func (k *kept) keep(ctx context.Context, open func(context.Context) (event.RawCursor, error), first func()) error {
	for {
		cursor, err := open(ctx)
		if err == nil {
			k.forget(cursor.Position)
		}
		rewound := cursor.DedupeFrom < k.from
		if err == nil && cursor.Position > 0 && (k.list == nil || rewound || cursor.Position >= k.read+keepBehind) {
			if err = k.refresh(ctx, cursor.DedupeFrom, cursor.Sequence); err == nil {
				k.read = cursor.Position
			}
		}
		first()
		if errors.Is(err, errTooMany) {
			return err
		}
		if pause(ctx, keepLook) != nil {
			return nil
		}
	}
}
