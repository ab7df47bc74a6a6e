package e2e

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var diskRounds = flag.Int("disk-rounds", 1, "how often TestUpSurvivesAFullDisk fills the disk")

// diskSize is enough for the smallest streams.
const diskSize = 192 << 20

// The disk under the embedded server becomes full while events flow, several times and in several ways. Readiness says which
// disk it is; once there is space again everything goes on, without anybody restarting anything, and each event is there
// once and in order.
func TestUpSurvivesAFullDisk(t *testing.T) {
	t.Parallel()
	sky := newCloud(t, seed+40)
	disk := newDisk(t, diskSize)
	addr := freeAddr(t)
	file := sky.configFile(t, "  embedded: {dir: "+disk.store()+"}")
	up := start(t, "stackstream", "up", "-c", file, "--nats-listen", addr)
	nc := connect(t, "nats://"+addr)
	plain := plainSubscriber(t, nc)
	durable := durableSubscriber(t, nc)
	eventually(t, time.Minute, "the streams", func() bool { return up.ask("/readyz") == "200 ready\n" },
		func() string { return up.ask("/readyz") })

	full := fmt.Sprintf("store: backoff: the disk of %s is full: ", disk.store())
	leaves := []int64{100_000, 0, 200_000, 30_000}
	for round := range *diskRounds {
		leave := leaves[round%len(leaves)]
		emitting := make(chan struct{})
		go func() {
			defer close(emitting)
			sky.emit(t.Context(), 600, 4*time.Second, seed+40+uint64(round))
		}()
		before := durable.len()
		eventually(t, time.Minute, "events to flow", func() bool { return durable.len() > before },
			func() string { return whereabouts(nc, durable, []*process{up}) })
		disk.fill(leave)
		<-emitting
		said := ""
		eventually(t, time.Minute, "readiness to name the disk", func() bool {
			said = up.ask("/readyz")
			if leave == 0 { // nothing could be begun, so that nothing has to be mended
				return strings.Contains(said, "the disk of "+disk.store()+" is full: 0 bytes are free")
			}
			return strings.Contains(said, full)
		}, func() string { return said })
		t.Logf("round %d: %s", round, said)
		if got := up.ask("/healthz"); got != "200 ok\n" {
			t.Errorf("waiting is taken for being stuck: %s", got)
		}
		disk.clear()
		expectReady(t, up)
		waitForAll(t, time.Minute, nc, durable, len(sky.ids()), up)
	}
	if n := metric(up, "stackstream_embedded_restarts_total"); n < 1 {
		t.Errorf("the server was restarted %d times", n)
	}

	// A process that is started on a full disk waits.
	if code := up.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
	disk.fill(0)
	up = start(t, "stackstream", "up", "-c", file, "--nats-listen", addr)
	eventually(t, time.Minute, "readiness to name the disk", func() bool { return strings.Contains(up.ask("/readyz"), full) },
		func() string { return up.ask("/readyz") })
	sky.emit(t.Context(), 100, time.Second, seed+50)
	disk.clear()
	expectReady(t, up)
	waitForAll(t, time.Minute, nc, durable, len(sky.ids()), up)
	verify(t, sky, sky.ids(), nc, plain, durable)
	if code := up.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
}
