package clock_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackstream/chaos/clock"
)

// TestMain is also the process whose clock jumps: for every line that it reads it writes the time of day as time.Now,
// gettimeofday and the monotonic clock have it.
func TestMain(m *testing.M) {
	if os.Getenv("CLOCK_TEST_LOAD") == "" {
		os.Exit(m.Run())
	}
	load, _ := strconv.Atoi(os.Getenv("CLOCK_TEST_LOAD"))
	for range load {
		go func() {
			for {
				var tv syscall.Timeval
				if time.Now().UnixNano() < 0 || syscall.Gettimeofday(&tv) != nil {
					panic("no time")
				}
			}
		}()
	}
	begin := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var tv syscall.Timeval
		_ = syscall.Gettimeofday(&tv)
		now := time.Now()
		fmt.Println(now.UnixNano(), tv.Nano(), int64(now.Sub(begin)))
	}
}

// process is one whose clock jumps.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func start(t *testing.T, load int) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("CLOCK_TEST_LOAD=%d", load))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &process{t, cmd, in, bufio.NewReader(out)}
}

// ahead is how far the wall clock is ahead of ours at least, by both ways to read it, and what the monotonic clock says.
func (p *process) ahead() (now, timeOfDay, monotonic time.Duration) {
	p.t.Helper()
	asked := time.Now().UnixNano()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		p.t.Fatalf("ask the time: %v", err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("read the time: %v", err)
	}
	var times [3]int64
	if _, err := fmt.Sscan(strings.TrimSpace(line), &times[0], &times[1], &times[2]); err != nil {
		p.t.Fatal(err)
	}
	return time.Duration(times[0] - asked), time.Duration(times[1] - asked), time.Duration(times[2])
}

func (p *process) jump(offset time.Duration) {
	p.t.Helper()
	if err := clock.Jump(p.cmd.Process.Pid, offset); err != nil {
		p.t.Fatal(err)
	}
}

// slack is more than it takes to ask the time.
const slack = time.Minute

func (p *process) is(offset time.Duration) {
	p.t.Helper()
	now, timeOfDay, _ := p.ahead()
	for _, got := range []time.Duration{now, timeOfDay} {
		if got < offset-time.Millisecond || got > offset+slack {
			p.t.Fatalf("the clock is %s ahead by time.Now, %s by gettimeofday, want %s", now, timeOfDay, offset)
		}
	}
}

func supported(t *testing.T) bool {
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return true
	}
	if err := clock.Jump(os.Getpid(), time.Hour); err == nil {
		t.Fatal("the clock of a process jumps where that is not supported")
	}
	return false
}

func TestJump(t *testing.T) {
	if !supported(t) {
		return
	}
	p := start(t, 0)
	begin := time.Now()
	_, _, first := p.ahead()
	p.is(0)
	for _, offset := range []time.Duration{time.Hour, -time.Hour, 1500 * time.Millisecond, 20 * 365 * 24 * time.Hour, 0} {
		p.jump(offset)
		p.is(offset)
	}
	_, _, last := p.ahead()
	if passed := last - first; passed < 0 || passed > time.Since(begin) {
		t.Fatalf("the monotonic clock has moved by %s in %s", passed, time.Since(begin))
	}
	start(t, 0).is(0) // no other process has jumped
}

func TestStoppedProcessStaysStopped(t *testing.T) {
	if !supported(t) {
		return
	}
	p := start(t, 0)
	p.is(0)
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(stat[strings.LastIndex(string(stat), ")")+2])
	}
	for state() != "T" {
		runtime.Gosched()
	}
	p.jump(time.Hour)
	if got := state(); got != "T" {
		t.Fatalf("the process that was stopped is in state %s", got)
	}
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.is(time.Hour)
}

func TestJumpUnderLoad(t *testing.T) {
	if !supported(t) {
		return
	}
	for range 5 {
		p := start(t, 16)
		for i := range 40 {
			offset := time.Duration(i%5-2) * time.Hour
			p.jump(offset)
			if i%8 == 0 {
				p.is(offset)
			}
		}
		p.jump(0)
		p.is(0)
	}
}

func TestNoSuchProcess(t *testing.T) {
	p := start(t, 0)
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	if err := clock.Jump(p.cmd.Process.Pid, time.Hour); err == nil {
		t.Fatal("the clock of a process that has ended has jumped")
	}
}
