package cli

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Only what is as it is in the file of the program may be dropped: what was changed in memory would be lost.
func TestUnchanged(t *testing.T) {
	const smaps = `00400000-00e70000 r-xp 00000000 fe:00 396 /opt/stack stream/collector
Size:              10688 kB
Rss:                8700 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
00e70000-01a68000 r--p 00a70000 fe:00 396 /opt/stack stream/collector
Rss:                9056 kB
Anonymous:             0 kB
Swap:                  0 kB
01a68000-01a70000 r--p 01668000 fe:00 396 /opt/stack stream/collector
Rss:                  32 kB
Anonymous:            16 kB
Swap:                  0 kB
01a70000-01b89000 rw-p 01670000 fe:00 396 /opt/stack stream/collector
Rss:                 580 kB
Anonymous:             0 kB
Swap:                  0 kB
01b89000-03bd8000 rw-p 00000000 00:00 0
Rss:                 136 kB
Anonymous:             0 kB
Swap:                  0 kB
7f72b0000000-7f72b0001000 r--p 00000000 fe:00 397 /lib/other
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
7f72b0001000-7f72b0002000 r--p 00000000 fe:00 396 /opt/stack stream/collector
Rss:                   0 kB
Anonymous:             0 kB
Swap:                  4 kB
7f72b0002000-7f72b0003000 r--p 00000000 fe:00 396 /opt/stack stream/collector
Rss:                   4 kB
`
	for here, want := range map[uintptr][]mapped{
		0x500000:       {{0x400000, 0xe70000}, {0xe70000, 0x1a68000}},
		0x7f72b0000010: {{0x7f72b0000000, 0x7f72b0001000}},
		0x100:          nil,
	} {
		if got, err := unchanged(strings.NewReader(smaps), here); err != nil || !slices.Equal(got, want) {
			t.Errorf("from %x: %x, %v; want %x", here, got, err, want)
		}
	}
	if _, err := unchanged(strings.NewReader("zz-00e70000 r-xp 00000000 fe:00 396 /x\n"), 1); err == nil {
		t.Error("what is no address is taken for one")
	}
}

// The program goes on, and less of it is in memory.
func TestDropProgram(t *testing.T) {
	before := ownPages(t)
	if err := dropProgram(); err != nil {
		t.Fatal(err)
	}
	if after := ownPages(t); after >= before {
		t.Errorf("%d kB of the program are in memory, %d were before", after, before)
	}
}

// ownPages is how many kB of code and constants of this program are in memory.
func ownPages(t *testing.T) (kb int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	here, _, _, _ := runtime.Caller(0)
	parts, err := unchanged(strings.NewReader(string(smaps)), here)
	if err != nil || len(parts) == 0 {
		t.Fatalf("%d parts: %v", len(parts), err)
	}
	ours := false
	for lines := bufio.NewScanner(strings.NewReader(string(smaps))); lines.Scan(); {
		var from, to uintptr
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); err == nil {
			ours = slices.Contains(parts, mapped{from, to})
		} else if _, err := fmt.Sscanf(lines.Text(), "Rss: %d kB", &n); err == nil && ours {
			kb += n
		}
	}
	return kb
}
