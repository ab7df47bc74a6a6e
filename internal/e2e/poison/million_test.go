package poison

import (
	"flag"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

var (
	hostile = flag.Int("hostile", 10_000, "how many random and mutated notifications TestEveryNotificationComesOut hands over")
	seed    = flag.Uint64("seed", 20261123, "chooses what they are")
)

// Whatever a source hands over is in RAW once, in order and byte for byte, and comes out in the same order, either as a
// canonical event or as a dead letter with the same bytes and a reason. Nothing else is there.
func TestEveryNotificationComesOut(t *testing.T) {
	t.Logf("to do the same again: -hostile %d -seed %d", *hostile, *seed)
	client := openServer(t, int64(*hostile)*4096+256<<20)
	s := newSource(newMutator(t, *seed), *hostile)
	began := time.Now()
	stop := pipeline(t, client, s.candidate(), converters(t))
	awaitNormalized(t, client, s.wants)
	stop()
	t.Logf("%d handed over in %v, peak of memory %d MiB", s.mutator.made, time.Since(began).Round(time.Second), peak(t)>>20)
	if most := int64(2 << 30); peak(t) > most {
		t.Errorf("the memory grew to more than %d MiB", most>>20)
	}
	newLedger(t, client, s.mutator).check()
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that this process ever had, 0 where the system does not tell.
func peak(t testing.TB) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	found := highWater.FindSubmatch(status)
	if found == nil {
		t.Fatal("no VmHWM in /proc/self/status")
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
