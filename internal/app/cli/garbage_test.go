package cli

import (
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
		"carries, with a pause":                    {26 * mib, busy + "qqq" + busy, "b"},
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
				got += map[int]string{busyPercent: "b", usualPercent: "u", frugalPercent: "f"}[percent]
			}
		}
		if got != test.switches {
			t.Errorf("%s: %q, want %q", name, got, test.switches)
		}
	}
}
