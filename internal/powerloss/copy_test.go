package powerloss

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"stackstream/event"
	"stackstream/jetstream"
	"stackstream/jetstream/embedded"
)

// serveIn names the environment variable that makes the test binary a server, in the directory that it says.
const serveIn = "POWERLOSS_SERVE_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveIn); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve runs the embedded server for others until it is told to end, and prints its URL.
func serve(dir string) error {
	s, err := embedded.Open(jetstream.EmbeddedConfig{Dir: dir, Listen: "127.0.0.1:0", MaxFile: 1 << 30}, zerolog.Nop())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println(s.ClientURL())
	<-ctx.Done()
	return s.Close()
}

// openProcess is open for a server in a process of its own, which is returned, too.
func openProcess(t *testing.T, dir string, layout jetstream.Layout) (*site, *os.Process) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveIn+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return cmd.Wait()
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server says nothing: %v, %v", err, stop())
	}
	cfg := jetstream.Config{URLs: []string{strings.TrimSpace(url)}}
	s, err := connect(t.Context(), cfg, stop, layout, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return s, cmd.Process
}

// The store of a server that is stopped in the middle of whatever it does is copied, as its disk would look to a snapshot of
// it, or to the next server after kill -9. This does without a file system of our own, and without cuts of the power.
func TestACopyOfALiveStoreHasWhatWasAcknowledged(t *testing.T) {
	s := newScene(*seed, 200, 1000, false)
	dir := filepath.Join(scratch(t), "store")
	site, server := openProcess(t, dir, roomy())
	defer func() {
		if err := site.close(); err != nil {
			t.Error(err)
		}
	}()
	var clock atomic.Int64 // moves on with every copy
	now := func() int { return int(clock.Load()) }
	r := &recording{scene: s, layout: roomy()}
	queues := map[event.Provider]*queue{}
	for i, p := range s.providers {
		queues[p] = newQueue(s.events[p], now, uint64(i))
	}
	r.runs = newPipeline(site.client, queues, now)
	ended := make(chan error, 1)
	go func() { ended <- r.runs.run(t.Context()) }()

	type snapshot struct {
		cut
		dir string
	}
	var copies []snapshot
	random := rand.New(rand.NewPCG(*seed, 6))
	for running := true; running && len(copies) <= *cuts/6; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		case <-time.After(time.Duration(random.Int64N(int64(100 * time.Millisecond)))):
		}
		c := snapshot{cut{moment: now(), goOn: len(copies)%4 == 0}, filepath.Join(scratch(t), "store")}
		_ = server.Signal(syscall.SIGSTOP)
		waitUntilStopped(t, server.Pid)
		err := os.CopyFS(c.dir, os.DirFS(dir))
		clock.Add(1) // what is acknowledged from now on need not be there
		_ = server.Signal(syscall.SIGCONT)
		if err != nil {
			t.Fatal(err)
		}
		copies = append(copies, c)
	}
	for _, c := range copies {
		if err := r.test(t.Context(), c.cut, c.dir); err != nil {
			t.Errorf("copy %d: %v", c.moment, err)
		}
		os.RemoveAll(c.dir)
	}
	t.Logf("%d copies", len(copies))
}

// waitUntilStopped waits until no thread of the process runs any more: a signal is not there at once.
func waitUntilStopped(t *testing.T, pid int) {
	t.Helper()
	for {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("the server is gone (%v)", err)
		}
		if !slices.ContainsFunc(threads, runs) {
			return
		}
		<-time.After(time.Millisecond)
	}
}

// runs tells whether a thread is anything but stopped, by its /proc/…/stat: pid (name) state …
func runs(stat string) bool {
	text, err := os.ReadFile(stat)
	_, state, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(state, "T")
}
