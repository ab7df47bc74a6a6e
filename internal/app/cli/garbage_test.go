package cli

import (
	"slices"
	"strings"
	"testing"
)

// Who carries events collects seldom as long as little is in use, and does so at once; another pace is taken once it would have been
// right for a while, and the frugal one only where much is in use.
func TestPaceOfGarbage(t *testing.T) {
	const mib = 1 << 20
	busy, quiet := strings.Repeat("b", 12), strings.Repeat("q", 12)
	for name, test := range map[string]struct {
		live     uint64
		did      string
		switches string // b, u, f: to which pace, in turn
	}{
		"little in use, and waits":                 {6 * mib, quiet, "u"},
		"little in use, and carries":               {20 * mib, busy, "b"},
		"carries, with a pause":                    {20 * mib, busy + "qqq" + busy, "b"},
		"carries, and then waits":                  {20 * mib, busy + quiet, "bu"},
		"much in use, and waits":                   {60 * mib, quiet, ""},
		"much in use, and made meanwhile":          {60 * mib, "bbbb" + quiet, ""},
		"much in use, and carries":                 {60 * mib, busy, "u"},
		"much in use, carries, and then waits":     {60 * mib, busy + quiet, "uf"},
		"much in use, and now and then does a bit": {60 * mib, quiet + "bbb" + quiet + "bbb" + quiet, ""},
	} {
		p := pace{percent: frugalPercent}
		got := ""
		for _, did := range test.did {
			allocated := uint64(mib)
			if did == 'b' {
				allocated = 900 * mib
			}
			if percent, changed := p.look(allocated, test.live); changed {
				switch {
				case percent > usualPercent:
					got += "b"
				case percent == usualPercent:
					got += "u"
				default:
					got += "f"
				}
			}
		}
		if got != test.switches {
			t.Errorf("%s: %q, want %q", name, got, test.switches)
		}
	}
}

// A heap of which little is in use may double, and none that is busy becomes larger than another: what is collected more often then is
// collected as often as where much is in use, at most.
func TestBusyHeapIsBounded(t *testing.T) {
	const mib = 1 << 20
	var shares []int
	for live := uint64(0); live < largeHeap; live += mib / 4 {
		p := pace{percent: frugalPercent}
		percent, _ := p.look(900*mib, live)
		if percent < usualPercent || live*uint64(100+percent)/100 > busyHeap {
			t.Errorf("%d kB in use may grow by %d %%", live/1024, percent)
		}
		shares = append(shares, -percent)
	}
	if !slices.IsSorted(shares) || shares[0] != -busyPercent || shares[len(shares)-1] != -usualPercent {
		t.Errorf("with more and more in use heaps may grow by %v %%", shares)
	}
	p := pace{percent: frugalPercent}
	for i := range 20 { // what is in use goes up and down between two looks
		if percent, _ := p.look(900*mib, uint64(20-i%4)*mib); 20*mib*uint64(100+percent)/100 > busyHeap+2*mib {
			t.Errorf("a heap of 17 to 20 MiB may grow by %d %%", percent)
		}
	}
}
