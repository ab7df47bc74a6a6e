package cli

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much may be allocated, in per cent of what is in use, before garbage is collected. Much of what lives here is the identities that
// are remembered, and what belongs to providers: to double that, as Go does, is what takes the most memory. To collect takes about a
// millisecond per megabyte in use, however little that frees: so much is in use by who has a thousand providers that wait, and so
// little is allocated, that to collect often is worth it.
const (
	usualPercent  = 50
	frugalPercent = 20
)

const (
	// largeHeap is what has to be in use. Of less, there is little to win.
	largeHeap = 24 << 20
	// quietRate is the most that may be allocated in a second. A thousand providers that wait allocate half of it; with all of it the
	// collector of garbage has a twelfth of a core.
	quietRate = 16 << 20
	// lookAtGarbage is how often a process looks how it stands.
	lookAtGarbage = time.Second
	// enoughLooks is how many looks in a row have to find another pace right before it is taken.
	enoughLooks = 5
)

// collectGarbage has garbage collected by what there is of it, until ctx ends.
func collectGarbage(ctx context.Context) {
	p := pace{frugal: true} // what is made at the start stays, and holes between it would stay, too
	debug.SetGCPercent(frugalPercent)
	tick := time.NewTicker(lookAtGarbage)
	defer tick.Stop()
	for last, _ := heap(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		allocated, live := heap()
		if percent, changed := p.look(allocated-last, live); changed {
			debug.SetGCPercent(percent)
		}
		last = allocated
	}
}

// heap is how many bytes were allocated since the process began, and how many the last collection left.
func heap() (allocated, live uint64) {
	read := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(read)
	return read[0].Value.Uint64(), read[1].Value.Uint64()
}

// pace is how often garbage is collected.
type pace struct {
	large  bool // much is in use
	frugal bool
	looks  int // in a row that found the other one right
}

// look takes what was allocated since the last one, and what is in use. It returns the share to collect by, and whether that is another
// one.
func (p *pace) look(allocated, live uint64) (percent int, changed bool) {
	was := p.frugal
	switch quiet := allocated <= quietRate*uint64(lookAtGarbage/time.Second); {
	case live < largeHeap:
		*p = pace{}
	case !p.large: // it grows, as at the start: what is made now stays
		*p = pace{large: true, frugal: true}
	case quiet == p.frugal:
		p.looks = 0
	default:
		if p.looks++; p.looks == enoughLooks {
			*p = pace{large: true, frugal: quiet}
		}
	}
	if p.frugal {
		return frugalPercent, !was
	}
	return usualPercent, was
}
