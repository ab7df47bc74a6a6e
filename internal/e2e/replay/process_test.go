package replay

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin is the folder of the program.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stackstream-replay-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		// Without the race detector, which would take memory of its own.
		build := exec.Command("go", "build", "-o", dir, "stackstream/cmd/stackstream")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build the program:", err)
			return 1
		}
		bin = dir
		return m.Run()
	}())
}

// process is a running stackstream.
type process struct {
	cmd    *exec.Cmd
	output lockedBuffer
	done   chan struct{}
}

func start(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(filepath.Join(bin, "stackstream"), args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("stackstream %v printed:\n%s", args, p.output.String())
		}
	})
	return p
}

// run runs stackstream to its end, which has to be a good one, and returns what it printed.
func run(t testing.TB, args ...string) string {
	t.Helper()
	p := start(t, args...)
	<-p.done
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("stackstream %v ended with %d:\n%s", args, code, p.output.String())
	}
	return p.output.String()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process as an operator does.
func (p *process) stop(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		t.Fatal("stackstream does not end on SIGTERM")
	}
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// memory samples the resident memory of the process, in bytes, until it ends.
func (p *process) memory(t testing.TB) []int64 {
	t.Helper()
	var samples []int64
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if found := resident.FindSubmatch(status); err == nil && found != nil {
			kib, err := strconv.ParseInt(string(found[1]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			samples = append(samples, kib<<10)
		}
		select {
		case <-p.done:
			return samples
		case <-tick.C:
		}
	}
}

func eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for: %s", what)
		case <-tick.C:
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
