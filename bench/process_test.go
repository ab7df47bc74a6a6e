//go:build bench

package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that is not measured, and how long what is measured may stand still.
const patience = 2 * time.Minute

// process is a program that runs, with its output in a file.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	in   io.Closer     // its standard input
	done chan struct{} // closed when it has ended
	// count is what it said last: how many events it has dealt with.
	count atomic.Int64
}

// start starts a program. It ends with the test, at the latest.
func (w *world) start(t testing.TB, name, path string, env []string, args ...string) *process {
	t.Helper()
	p := &process{name: name, log: filepath.Join(w.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // so that a run that panics leaves none behind
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.done)
		defer log.Close()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var word string
			var n int64
			if _, err := fmt.Sscan(lines.Text(), &word, &n); err == nil && (word == "begun" || word == "done") {
				p.count.Store(n)
				continue
			}
			fmt.Fprintln(log, lines.Text())
		}
		_ = p.cmd.Wait() // how it ended is in its state
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s printed at last:\n%s", name, tail(p.log, 8))
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// ended says why it ended by itself, nil while it runs.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %v\n%s", p.name, p.cmd.ProcessState, tail(p.log, 20))
	default:
		return nil
	}
}

// stop ends it as an operator does: with SIGTERM, or the end of its input, for which a ceiling waits.
func (p *process) stop(t testing.TB) {
	t.Helper()
	if err := p.ended(); err != nil {
		t.Fatal(err)
	}
	_ = p.in.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("%s does not end on SIGTERM", p.name)
	}
}

// build builds programs of this module, or of those it depends on: as they are released, or as whatever else was built here, which
// is quick.
func build(t testing.TB, dir string, released bool, packages ...string) {
	t.Helper()
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	cmd := exec.Command("go", append(args, packages...)...)
	if released {
		cmd = exec.Command("go", slices.Concat(args, []string{"-trimpath", "-ldflags=-s -w"}, packages)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", strings.Join(packages, " "), err, out)
	}
}

// tail is the end of a file.
func tail(name string, lines int) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
