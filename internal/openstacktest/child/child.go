// Package child runs programs as children of a test: each in a process group of its own, with its output in a file, ended
// with all its descendants when the test ends, and by the kernel when the test process is killed.
package child

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a running program.
type Process struct {
	Name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// Start runs cmd until the test ends or Kill. What it prints is appended to the file log; when the test fails, the end of
// it is shown. Programs that are given the same log one after the other share it.
func Start(tb testing.TB, name, log string, cmd *exec.Cmd) *Process {
	tb.Helper()
	p := &Process{Name: name, cmd: cmd, log: log, done: make(chan struct{})}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	// Setpgid, so that Kill reaches what the program starts; Pdeathsig, for the test process that dies without a word.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("%s printed at last:\n%s", name, p.Tail(30))
		}
	})
	return p
}

// Kill ends the program and its descendants with SIGKILL and returns when the program is gone. It may be called again.
func (p *Process) Kill() {
	// A negative pid is the group. Its leader may be gone while others of it live.
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		_ = p.cmd.Process.Kill()
	}
	<-p.done
}

// Stop ends the program as an operator does, with SIGTERM, and returns its exit code. It fails the test if the program
// takes longer than limit.
func (p *Process) Stop(tb testing.TB, limit time.Duration) int {
	tb.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
		tb.Errorf("%s does not end within %v of SIGTERM", p.Name, limit)
		p.Kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output is what the program and its descendants printed so far.
func (p *Process) Output() []byte {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Appendf(nil, "(%v)", err)
	}
	return b
}

// Tail is the end of the output.
func (p *Process) Tail(lines int) string {
	all := bytes.Split(bytes.TrimRight(p.Output(), "\n"), []byte("\n"))
	var b strings.Builder
	for _, line := range all[max(0, len(all)-lines):] {
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}
