package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin is the folder of the binaries: ours with the race detector, and nats-server.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stackstream-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		for _, args := range [][]string{
			{"-race", "-o", dir, "stackstream/cmd/collector", "stackstream/cmd/normalizer", "stackstream/cmd/stackstream"},
			{"-o", dir + string(filepath.Separator), "github.com/nats-io/nats-server/v2"},
		} {
			build := exec.Command("go", append([]string{"build"}, args...)...)
			build.Stderr = os.Stderr
			if err := build.Run(); err != nil {
				fmt.Fprintln(os.Stderr, "build the programs:", err)
				return 1
			}
		}
		bin = dir
		return m.Run()
	}())
}

// process is a running program of ours.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}
}

// start runs a program until the test ends or the test kills it.
func start(t testing.TB, program string, args ...string) *process {
	t.Helper()
	return startAt(t, filepath.Join(bin, program), args...)
}

// startAt is start for a binary that is somewhere else.
func startAt(t testing.TB, path string, args ...string) *process {
	t.Helper()
	p := &process{
		name: filepath.Base(path), cmd: exec.Command(path, args...),
		log: &lockedBuffer{}, done: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // so that a test that panics leaves none behind
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if strings.Contains(p.log.String(), "DATA RACE") {
			t.Errorf("%s has a data race", p.name)
		}
		if t.Failed() {
			t.Logf("%s printed:\n%s", p.name, tail(p.log.String(), 60))
		}
	})
	return p
}

// pause stops the process where it stands, as an overloaded or migrated machine does; it does not notice.
func (p *process) pause() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }

// resume lets it go on.
func (p *process) resume() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

// wait waits until the process has ended by itself, and says how it exited.
func (p *process) wait() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process as an operator does, and says how it exited.
func (p *process) stop(t testing.TB) int {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		t.Errorf("%s does not stop on SIGTERM", p.name)
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// eventually waits until check says true, and fails the test if it does not within limit, with what explain says then.
func eventually(t testing.TB, limit time.Duration, what string, check func() bool, explain ...func() string) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-deadline.C:
			for _, more := range explain {
				what += "\n" + more()
			}
			t.Fatalf("waited %v for: %s", limit, what)
		case <-tick.C:
		}
	}
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
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
