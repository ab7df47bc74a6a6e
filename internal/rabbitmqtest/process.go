package rabbitmqtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watcher waits until its standard input ends, which the kernel sees to when the process of the test ends, however that
// was. Then it removes the directory $1, if there is one, and kills its process group, itself included.
const watcher = `read -r _
[ -z "$1" ] || { rm -rf "$1"; sleep 1; rm -rf "$1"; }
kill -KILL 0`

// process is a command in a process group that a watcher leads. As the leader is reaped by end only, the number of the
// group can't be another's when end kills it.
type process struct {
	cmd    *exec.Cmd
	leader *exec.Cmd
	alive  *os.File      // the end of the watcher's input that we hold
	exited chan struct{} // closed when cmd has ended
}

// command is a command that ends when it is ended, not with a context.
func command(name string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), name, args...)
}

// start starts cmd. When the process of the test is gone the watcher removes the directory remove, "" for none.
func start(cmd *exec.Cmd, remove string) (*process, error) {
	in, alive, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the watcher's pipe: %w", err)
	}
	p := &process{cmd: cmd, leader: command("sh", "-c", watcher, "watcher", remove), alive: alive, exited: make(chan struct{})}
	p.leader.Stdin = in
	p.leader.Dir = "/"
	p.leader.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = p.leader.Start()
	_ = in.Close()
	if err != nil {
		_ = alive.Close()
		return nil, fmt.Errorf("start the watcher: %w", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: p.leader.Process.Pid}
	if err := cmd.Start(); err != nil {
		close(p.exited)
		p.end()
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	go func() {
		_ = cmd.Wait() // how it ended does not matter; why is in its log
		close(p.exited)
	}()
	return p, nil
}

// end kills the group and waits until the command is gone. It may be called once.
func (p *process) end() {
	_ = syscall.Kill(-p.leader.Process.Pid, syscall.SIGKILL)
	<-p.exited
	_ = p.leader.Wait()
	_ = p.alive.Close()
}

// runs says whether the command has not ended.
func (p *process) runs() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// pause stops the command, but not its watcher, and waits until the kernel has stopped it.
func (p *process) pause() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if !poll(timeout, func() bool { return state(p.cmd.Process.Pid) == 'T' }) {
		return fmt.Errorf("process %d does not stop", p.cmd.Process.Pid)
	}
	return nil
}

func (p *process) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// state is the letter that the kernel shows for a process, 0 if there is no such process.
func state(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	if len(after) == 0 {
		return 0
	}
	return after[0]
}

// marked returns the processes that run and whose mark is a directory that matches. The Erlang runtime starts processes in
// sessions of their own, so that a process group does not have them all.
func marked(match func(dir string) bool) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended, or is another user's
		}
		for entry := range strings.SplitSeq(string(env), "\x00") {
			if dir, ok := strings.CutPrefix(entry, mark+"="); !ok || !match(dir) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// poll asks done again and again until it is true or the time is over.
func poll(within time.Duration, done func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return done()
		}
	}
	return true
}
