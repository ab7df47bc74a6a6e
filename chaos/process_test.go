//go:build chaos

package chaos

import (
	"bytes"
	"errors"
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

// process is a program that is started, killed and started again. Its output goes to one file over all its lives.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  string

	mu      sync.Mutex
	cmd     *exec.Cmd
	done    chan struct{}
	wanted  bool // it is to run: an end by itself is a fault of the program
	starved bool // its disk was filled: it may end by itself
	crashes []string
	exit    error // of its last life
	// revive starts it again when it ends though nobody here ended it: somebody outside did.
	revive bool
}

func (w *world) newProcess(name, path string, args ...string) *process {
	p := &process{name: name, path: path, args: args, log: filepath.Join(w.dir, name+".log")}
	w.t.Cleanup(func() {
		p.kill()
		if _, err := os.Stat(p.log); err == nil && w.t.Failed() {
			w.t.Logf("%s printed at last:\n%s", name, tail(p.log, 8))
		}
	})
	return p
}

// start starts it, unless it runs.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return nil
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // so that a run that panics leaves none behind
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.wanted = cmd, done, true
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.exit = err
		switch {
		case p.wanted && p.revive:
			time.AfterFunc(time.Second, p.again)
		case p.wanted && !p.starved:
			p.crashes = append(p.crashes, fmt.Sprintf("%s ended by itself at %s: %v", p.name, time.Now().Format("15:04:05"), err))
		}
		if p.cmd == cmd {
			p.cmd = nil
		}
		close(done)
	}()
	return nil
}

// again starts it after somebody outside has ended it, unless it was ended here since.
func (p *process) again() {
	p.mu.Lock()
	wanted := p.wanted
	p.mu.Unlock()
	if wanted {
		_ = p.start() // one that can't be started is missed by the checks
	}
}

// pid is 0 while it does not run.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *process) signal(s syscall.Signal) (ended <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		c := make(chan struct{})
		close(c)
		return c
	}
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		p.wanted = false
	}
	_ = p.cmd.Process.Signal(s) // it may have ended just now
	return p.done
}

// kill ends it with SIGKILL and waits until it is gone.
func (p *process) kill() { <-p.signal(syscall.SIGKILL) }

// stop ends it as an operator does; one that does not end within limit is killed, and that is an error.
func (p *process) stop(limit time.Duration) error {
	done := p.signal(syscall.SIGTERM)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return p.failed()
	case <-timer.C:
		p.kill()
		return fmt.Errorf("%s did not end on SIGTERM within %v", p.name, limit)
	}
}

// failed says how it ended, if that was not in order.
func (p *process) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var exit *exec.ExitError
	if errors.As(p.exit, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM {
		return nil // it had just been started, and did not listen yet
	}
	if p.exit != nil {
		return fmt.Errorf("%s ended on SIGTERM with: %w", p.name, p.exit)
	}
	return nil
}

// broke finds what a program prints when it is broken.
func (p *process) broke() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return "" // it never ran
	}
	for _, sign := range []string{"DATA RACE", "panic: ", "fatal error: "} {
		if at := bytes.Index(text, []byte(sign)); at >= 0 {
			return string(text[at:min(len(text), at+2000)])
		}
	}
	return ""
}

// pause stops it where it stands; it does not notice. resume lets it go on.
func (p *process) pause()  { p.signal(syscall.SIGSTOP) }
func (p *process) resume() { p.signal(syscall.SIGCONT) }

// starve says whether it has what it needs to run.
func (p *process) starve(is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starved = is
}

// ended are the times when it ended though nobody ended it.
func (p *process) ended() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.crashes...)
}

// build builds programs of this module, or of those it depends on.
func build(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-o", dir + string(filepath.Separator)}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", strings.Join(args, " "), err, out)
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
