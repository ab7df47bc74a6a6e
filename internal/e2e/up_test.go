package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const seed = 20261123

// Everything in one process, on a store of its own, killed at moments nobody chose while a cloud hands out events: the
// streams and a durable subscriber have each event once and in order. A plain subscriber sees none twice and none
// that was not committed; what it missed while the server was down it can tell by the sequence numbers.
func TestUpSurvivesKill(t *testing.T) {
	t.Parallel()
	const events = 5000
	random := rand.New(rand.NewPCG(seed, 3))
	sky := newCloud(t, seed)
	addr := freeAddr(t)
	file := sky.configFile(t, "  embedded: {dir: "+filepath.Join(t.TempDir(), "store")+"}")
	up := func() *process { return start(t, "stackstream", "up", "-c", file, "--nats-listen", addr) }

	running := up()
	nc := connect(t, "nats://"+addr)
	plain := plainSubscriber(t, nc)
	durable := durableSubscriber(t, nc)

	emitted := make(chan struct{})
	go func() {
		defer close(emitted)
		sky.emit(t.Context(), events, 16*time.Second, seed)
	}()
	for range 5 {
		select {
		case <-time.After(time.Second + time.Duration(random.Int64N(int64(2*time.Second)))):
		case <-emitted:
		}
		running.kill()
		running = up()
	}
	<-emitted
	want := sky.ids()
	waitForAll(t, 2*time.Minute, nc, durable, len(want), running)
	expectReady(t, running)

	verify(t, sky, want, nc, plain, durable)
	if code := running.stop(t); code != 0 {
		t.Errorf("up exits with %d on SIGTERM", code)
	}
}

// checkGapsTold finds fault unless every event that a plain subscriber missed lies where Nats-Last-Sequence, the
// sequence of the event before, is not the one it saw last.
func checkGapsTold(committed, got []entry) error {
	at := make(map[uint64]int, len(committed))
	for i, e := range committed {
		at[e.stream] = i
	}
	var problems []error
	for i := 1; i < len(got); i++ {
		missed := at[got[i].stream] != at[got[i-1].stream]+1
		told := got[i].previous != got[i-1].stream
		if missed != told {
			problems = append(problems, fmt.Errorf("between %s and %s: missed some %v, told %v", got[i-1].id, got[i].id, missed, told))
		}
	}
	return summary(problems)
}

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	eventually(t, 30*time.Second, "a connection to "+url, nc.IsConnected)
	return nc
}
