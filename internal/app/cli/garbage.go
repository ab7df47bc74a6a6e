package cli

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much may be allocated, in per cent of what is in use, before garbage is collected. To collect takes about a millisecond per
// megabyte in use, however little that frees. Who carries many events allocates hundreds of megabytes a second, and a collection at
// half of what Go allows would take a sixth of all processor time: for that little is in use, as a rule, and to double it is cheap. So
// much is in use by who has a thousand providers that wait, and so little is allocated, that to collect often is worth it.
const (
	busyPercent   = 100
	usualPercent  = 50
	frugalPercent = 20
)

const (
	// largeHeap has to be in use for frugality: of less, there is little to win.
	largeHeap = 24 << 20
	// busyHeap is how large a heap of which less is in use may become by garbage. With all else a process stays below 64 MB then.
	busyHeap = largeHeap * (100 + usualPercent) / 100
	// quietRate is the most that may be allocated in a second. A thousand providers that wait allocate half of it; with all of it the
	// collector of garbage has a twelfth of a core.
	quietRate = 16 << 20
	// lookAtGarbage is how often a process looks how it stands.
	lookAtGarbage = 500 * time.Millisecond
	// enoughLooks is how many looks in a row have to find another pace right before it is taken.
	enoughLooks = 10
)

// collectGarbage has garbage collected by what there is of it, until ctx ends.
func collectGarbage(ctx context.Context) {
	p := pace{percent: frugalPercent} // what is made at the start stays, and holes between it would stay, too
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
	percent int
	busy    bool   // many events are carried, and little is in use
	most    uint64 // was in use while it is busy, lately
	large   bool   // much is in use
	looks   int    // in a row that found another one right
}

// look takes what was allocated since the last one, and what is in use. It returns the share to collect by, and whether that is another
// one.
func (p *pace) look(allocated, live uint64) (percent int, changed bool) {
	was := p.percent
	quiet := allocated <= quietRate*uint64(lookAtGarbage)/uint64(time.Second)
	switch {
	case !quiet && live < largeHeap:
		most := max(live, p.most*31/32) // what is in use goes up and down faster than we look
		*p = pace{percent: busyShare(most), busy: true, most: most}
	case p.busy && p.looks < enoughLooks-1: // that may be a pause
		p.looks++
	case live < largeHeap:
		*p = pace{percent: usualPercent}
	case p.busy:
		*p = pace{percent: usualPercent, large: true}
	case !p.large: // it grows, as at the start: what is made now stays
		*p = pace{percent: frugalPercent, large: true}
	case quiet == (p.percent == frugalPercent):
		p.looks = 0
	default:
		if p.looks++; p.looks == enoughLooks {
			*p = pace{percent: usualPercent, large: true}
			if quiet {
				p.percent = frugalPercent
			}
		}
	}
	return p.percent, p.percent != was
}

// busyShare is by how much a heap may grow of which less than largeHeap is in use, in tens of per cent: each change stops everybody for a
// moment.
func busyShare(live uint64) int {
	return int(min(busyPercent, (busyHeap-live)*100/max(live, 1)/10*10))
}
