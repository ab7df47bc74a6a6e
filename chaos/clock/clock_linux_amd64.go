package clock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// limit is how long Jump tries to find the process stopped where its code can be replaced. A thread that waits for a disk stops
// only after that.
const limit = 10 * time.Second

// jumpSize is the length of the instruction that is put at the begin of a function: a jump, and how far.
const jumpSize = 5

// errBusy says that a thread stands amid the code that is to be replaced.
var errBusy = errors.New("a thread is reading the clock")

// Jump sets how far the wall clock of a process is ahead of the true time; 0 heals. It replaces what an earlier Jump has set. The
// process is stopped for a moment; nobody else may stop or continue it meanwhile. One that was stopped before stays stopped.
func Jump(pid int, offset time.Duration) error {
	if err := jump(pid, offset); err != nil {
		return fmt.Errorf("move the wall clock of process %d: %w", pid, err)
	}
	return nil
}

func jump(pid int, offset time.Duration) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		err := tryJump(pid, offset, tick, end)
		if !errors.Is(err, errBusy) || time.Now().After(end) {
			return err
		}
	}
}

func tryJump(pid int, offset time.Duration, tick *time.Ticker, end time.Time) (err error) {
	was, err := stopped(pid)
	if err != nil {
		return err
	}
	if !was {
		defer func() { err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)) }()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return fmt.Errorf("stop it: %w", err)
		}
	}
	for is := was; !is; {
		if is, err = stopped(pid); err != nil {
			return err
		}
		if !is && time.Now().After(end) {
			return fmt.Errorf("it did not stop within %s", limit)
		}
		if !is {
			<-tick.C
		}
	}
	return patch(pid, offset)
}

// stopped says whether all threads are. It is a lasting answer: threads that are stopped start no others.
func stopped(pid int) (bool, error) {
	threads, err := threadsOf(pid)
	if err != nil {
		return false, err
	}
	for _, dir := range threads {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			return false, nil // it has just ended
		}
		// The name, in brackets, may hold anything.
		_, state, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
		if !strings.ContainsAny(state[:1], "TtZX") {
			return false, nil
		}
	}
	return true, nil
}

func threadsOf(pid int) ([]string, error) {
	root := filepath.Join("/proc", strconv.Itoa(pid), "task")
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		dirs = append(dirs, filepath.Join(root, e.Name()))
	}
	return dirs, nil
}

// patch writes the offset into a process that is stopped, and before, unless that was done, the code that adds it.
func patch(pid int, offset time.Duration) error {
	start, end, err := vdso(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(filepath.Join("/proc", strconv.Itoa(pid), "mem"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	image := make([]byte, end-start)
	if _, err := mem.ReadAt(image, start); err != nil {
		return fmt.Errorf("read the vDSO: %w", err)
	}
	// The image ends somewhere in its last page; what is left of that is nobody's.
	at := (len(image) - stubSize) &^ 15
	room, code := image[at:], stub()
	binary.LittleEndian.PutUint64(code[atOffset:], uint64(offset))
	if bytes.Equal(room[:atOffset], code[:atOffset]) {
		return write(mem, code[atOffset:], start+int64(at)+atOffset)
	}
	if len(bytes.Trim(room, "\x00")) > 0 {
		return fmt.Errorf("%w: its vDSO has no room", ErrUnsupported)
	}
	functions, err := entries(image)
	if err != nil {
		return err
	}
	for from := range functions {
		if err := free(pid, mem, start+int64(from)); err != nil {
			return err
		}
	}
	if err := write(mem, code, start+int64(at)); err != nil {
		return err
	}
	for from, to := range functions {
		jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(at+to-(from+jumpSize)))
		if err := write(mem, jump, start+int64(from)); err != nil {
			return err
		}
	}
	return nil
}

func write(mem *os.File, code []byte, at int64) error {
	if _, err := mem.WriteAt(code, at); err != nil {
		return fmt.Errorf("write its code: %w", err)
	}
	return nil
}

// vdso is where the process has the code that the kernel lends it.
func vdso(pid int) (start, end int64, err error) {
	maps, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "maps"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
				return 0, 0, fmt.Errorf("read %q: %w", line, err)
			}
			return start, end, nil
		}
	}
	return 0, 0, fmt.Errorf("%w: it has no vDSO", ErrUnsupported)
}

// entries are where functions begin that tell the wall clock, and where in the stub those begin that stand in for them.
func entries(image []byte) (map[int]int, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	stubs := map[string]int{
		"__vdso_clock_gettime": atClockGettime, "__vdso_gettimeofday": atGettimeofday, "__vdso_time": atTime,
	}
	found := map[int]int{}
	for _, s := range symbols {
		if to, ok := stubs[s.Name]; ok && s.Size >= jumpSize && s.Value < uint64(len(image)) {
			found[int(s.Value)] = to
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: its vDSO has no clock", ErrUnsupported)
	}
	return found, nil
}

// free says errBusy when a thread stands amid the instructions where the jump will be, or will return there from a signal that
// has interrupted it. Further on in the function nothing changes, and at its very begin the jump is as good.
func free(pid int, mem *os.File, entry int64) error {
	threads, err := threadsOf(pid)
	if err != nil {
		return err
	}
	amid := func(pc uint64) bool { return pc > uint64(entry) && pc < uint64(entry)+jumpSize }
	stack := make([]byte, 64<<10)
	for _, dir := range threads {
		// "number args… sp pc", or "-1 sp pc" outside a system call; a thread that has ended has neither.
		line, err := os.ReadFile(filepath.Join(dir, "syscall"))
		if err != nil {
			return err
		}
		fields := strings.Fields(string(line))
		if len(fields) < 3 {
			return errBusy
		}
		sp, err1 := strconv.ParseInt(fields[len(fields)-2], 0, 64)
		pc, err2 := strconv.ParseUint(fields[len(fields)-1], 0, 64)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("read where a thread is: %w", err)
		}
		if amid(pc) {
			return errBusy
		}
		n, _ := mem.ReadAt(stack, sp) // as far as the stack goes
		for i := 0; i+8 <= n; i += 8 {
			if amid(binary.LittleEndian.Uint64(stack[i:])) {
				return errBusy
			}
		}
	}
	return nil
}
